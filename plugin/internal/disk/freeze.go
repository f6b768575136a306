package disk

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
	"mooring.dev/mooring/plugin/internal/driver"
)

const (
	// overdue is how long after its time a guard that does not thaw is killed.
	overdue = time.Second
	// beginTime bounds everything before a filesystem is frozen.
	beginTime = settleTime + 2*time.Second
)

// ownProgram is this program, also after its file was replaced.
const ownProgram = "/proc/self/exe"

// freeze is one filesystem held by a guard.
type freeze struct {
	dir    *os.File // its root
	record *os.File // see newRecord
	guard  *exec.Cmd
	hold   *os.File // the guard thaws when this closes

	tell   func()        // closes hold, once
	told   chan struct{} // closed by tell
	frozen chan struct{} // closed when it is frozen; left is set before
	done   chan struct{} // closed when all is over; what follows is set before

	left  time.Time // when the guard thaws by itself
	last  guardWord // what the guard said at last
	began time.Time // when writers began to wait
}

// Freeze freezes a mounted filesystem, see driver.Freezer.
func (g *Guest) Freeze(ctx context.Context, device, path string, lease time.Duration) (driver.Frozen, error) {
	if lease <= 0 || lease > wire.MaxFreezeLease {
		return nil, errkind.New(errkind.Invalid, "a lease of %s is not given: it is at most %s", lease, wire.MaxFreezeLease)
	}
	dir, err := g.openMount(device, path)
	if err != nil {
		return nil, err
	}
	f := &freeze{dir: dir, told: make(chan struct{}), frozen: make(chan struct{}), done: make(chan struct{})}
	if f.record, err = g.newRecord(filepath.Base(path)); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	if err := f.start(ctx, lease); err != nil {
		return nil, errors.Join(err, f.end())
	}
	select {
	case <-f.frozen:
		return f, nil
	case <-f.done:
	case <-ctx.Done():
		f.tell()
		<-f.done
		return nil, errkind.Wrap(errkind.Unavailable, context.Cause(ctx), "freeze %s", path)
	}
	select {
	case <-f.frozen: // and thawed at once
		return f, nil
	default:
		return nil, errkind.New(errkind.Unavailable, "%s", cmp.Or(f.last.Why, "its guard died"))
	}
}

// start starts the guard and the one who watches it.
func (f *freeze) start(ctx context.Context, lease time.Duration) error {
	in, hold, err := os.Pipe()
	if err != nil {
		return errkind.Wrap(errkind.Unavailable, err, "make a pipe")
	}
	reports, out, err := os.Pipe()
	if err != nil {
		return errors.Join(errkind.Wrap(errkind.Unavailable, err, "make a pipe"), in.Close(), hold.Close())
	}
	f.hold, f.tell = hold, sync.OnceFunc(func() { close(f.told); _ = hold.Close() })
	f.guard = exec.CommandContext(context.WithoutCancel(ctx), ownProgram, GuardWord, strconv.FormatInt(lease.Milliseconds(), 10))
	f.guard.Env = []string{}
	f.guard.Stdin = in
	f.guard.ExtraFiles = []*os.File{f.dir, f.record, out}     // guardDir, guardRecord, guardReport
	f.guard.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a signal to the plugin is not for its guards
	err = f.guard.Start()
	_ = errors.Join(in.Close(), out.Close()) // the guard has its own
	if err != nil {
		return errors.Join(errkind.Wrap(errkind.Unavailable, err, "start the guard of a freeze"), hold.Close(), reports.Close())
	}
	go f.watch(context.WithoutCancel(ctx), reports, lease) // ends with the guard; Thaw waits for it
	return nil
}

// watch listens to the guard until it is dead, and sees to it that it dies in
// time and leaves nothing frozen.
func (f *freeze) watch(ctx context.Context, reports *os.File, lease time.Duration) {
	defer close(f.done)
	words := make(chan guardWord)
	go func() { // ends when the guard is dead, before watch does
		defer close(words)
		for in := json.NewDecoder(reports); ; {
			var w guardWord
			if in.Decode(&w) != nil {
				return
			}
			words <- w
		}
	}()
	kill := time.NewTimer(beginTime)
	defer kill.Stop()
	told := f.told
	for alive := true; alive; {
		select {
		case w, ok := <-words:
			if alive = ok; !ok {
				break
			}
			f.last = w
			switch w.Event {
			case "freezing":
				f.began = time.Now()
				kill.Reset(lease + overdue)
			case "frozen":
				f.left = time.Now().Add(w.Left)
				close(f.frozen)
			}
		case <-told:
			told = nil // once
			kill.Reset(overdue)
		case <-kill.C:
			log.G(ctx).WithField("pid", f.guard.Process.Pid).Warn("guard of a frozen filesystem does not thaw it in time and is killed")
			_ = f.guard.Process.Kill()
		}
	}
	_ = f.guard.Wait() // what it said is what counts
	_ = reports.Close()
	f.tell()
	if f.last.Event == "freezing" || f.last.Event == "frozen" { // it died
		thawed, err := thaw(f.dir)
		f.last = guardWord{Event: "thawed", Why: "its guard died", Stall: time.Since(f.began)}
		log.G(ctx).WithField("thawed", thawed).Warn("guard of a frozen filesystem died, the filesystem goes on")
		if err != nil { // the record stays: the next start tries again
			log.G(ctx).WithField(log.Err, err.Error()).Error("filesystem cannot be thawed: its writers wait, run fsfreeze -u")
			_ = errors.Join(f.dir.Close(), f.record.Close())
			return
		}
	}
	if err := f.end(); err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Warn("record of a freeze that is over stays")
	}
}

// end removes the record and closes what was open.
func (f *freeze) end() error {
	return errors.Join(os.Remove(f.record.Name()), f.record.Close(), f.dir.Close())
}

// Left is how much of the lease is left.
func (f *freeze) Left() time.Duration { return max(0, time.Until(f.left)) }

// Ended is closed when the filesystem has thawed, for whatever reason.
func (f *freeze) Ended() <-chan struct{} { return f.done }

// Thaw lets writers go on, see driver.Frozen.
func (f *freeze) Thaw() driver.Thawed {
	f.tell()
	<-f.done
	return driver.Thawed{Held: f.last.Held, Stall: f.last.Stall, Why: f.last.Why}
}

// openMount opens the root of what is mounted at path and makes sure that it
// is the filesystem of device and nothing else: a freeze goes to whatever
// filesystem a file belongs to.
func (g *Guest) openMount(device, path string) (*os.File, error) {
	if err := g.below(path); err != nil {
		return nil, err
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, errkind.Wrap(errkind.Unavailable, err, "open %s", path)
	}
	dir := os.NewFile(uintptr(fd), path)
	if err := isMountOf(fd, device, path); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return dir, nil
}

func isMountOf(fd int, device, path string) error {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st); err != nil {
		return errkind.Wrap(errkind.Unavailable, err, "look at %s", path)
	}
	var dev unix.Stat_t
	if err := unix.Stat(device, &dev); err != nil {
		return errkind.Wrap(errkind.Unavailable, err, "look at %s", device)
	}
	table, err := mountTable()
	if err != nil {
		return err
	}
	for _, e := range table {
		if uint64(e.ID) != st.Mnt_id || e.Point != path {
			continue
		}
		has := unix.Mkdev(e.Major, e.Minor)
		if e.FSType == volspec.Btrfs { // shows a number of its own
			var source unix.Stat_t
			if err := unix.Stat(e.Source, &source); err != nil {
				return errkind.Wrap(errkind.Unavailable, err, "look at %s", e.Source)
			}
			has = source.Rdev
		}
		if dev.Mode&unix.S_IFMT == unix.S_IFBLK && has == dev.Rdev {
			return nil
		}
	}
	return errkind.New(errkind.Corrupt, "what is mounted at %s is not the filesystem of %s: it is not frozen", path, device)
}
