package disk

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A frozen filesystem must thaw whatever becomes of the plugin, so it is held
// by a process of its own: the guard, the plugin's program with GuardWord as
// its first argument. It thaws when it is told to, when the pipe it is told
// by closes, which is the plugin's death, and at the end of the lease. When
// the guard dies the plugin thaws; when both die, the next plugin does, see
// Recover.

// GuardWord makes the plugin's program a guard.
const GuardWord = "freeze-guard"

// File descriptors of a guard. Its standard input is the pipe that holds it.
const (
	guardDir    = 3 // root of the filesystem
	guardRecord = 4 // locked for as long as the guard lives
	guardReport = 5 // what the guard has to say, one guardWord a line
)

// From linux/fs.h.
const (
	fiFreeze = 0xc0045877
	fiThaw   = 0xc0045878
)

// How a filesystem is prepared, while writers go on: what is dirty is written
// until that takes only a moment, since writers wait for the rest.
const (
	settledSync = 500 * time.Millisecond
	settleTime  = 4 * time.Second
)

// guardWord is one report: freezing, frozen, failed or thawed.
type guardWord struct {
	Event string        `json:"event"`
	Why   string        `json:"why,omitempty"`   // of failed and thawed
	Left  time.Duration `json:"left,omitempty"`  // of frozen: of the lease
	Held  bool          `json:"held,omitempty"`  // of thawed: frozen until it was told
	Stall time.Duration `json:"stall,omitempty"` // of thawed
}

// RunGuard is the whole life of a guard; args are those after GuardWord, and
// the result is for the end of the process.
func RunGuard(args []string) int {
	if len(args) != 1 {
		return 2
	}
	ms, err := strconv.Atoi(args[0])
	if err != nil || ms <= 0 {
		return 2
	}
	signal.Ignore(syscall.SIGPIPE) // the one who listens may be dead
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT)
	told := make(chan struct{})
	go func() { // ends with the process
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(told)
	}()
	out := json.NewEncoder(os.NewFile(guardReport, "report"))
	say := func(w guardWord) { _ = out.Encode(w) } // nobody may be there to hear it

	lease := time.Duration(ms) * time.Millisecond
	if err := writeBack(guardDir, lease); err != nil {
		say(guardWord{Event: "failed", Why: err.Error()})
		return 1
	}
	select {
	case <-told:
		say(guardWord{Event: "failed", Why: "it was given up"})
		return 1
	default:
	}
	say(guardWord{Event: "freezing"})
	begin := time.Now()
	over := time.NewTimer(lease)
	if err := ioctl(guardDir, fiFreeze, nil); err != nil {
		say(guardWord{Event: "failed", Why: freezeWords(err)})
		return 1
	}
	say(guardWord{Event: "frozen", Left: lease - time.Since(begin)})
	why := ""
	select {
	case <-told:
	case <-over.C:
		why = "the lease was over"
	case s := <-stop:
		why = "its guard was told to stop by signal " + s.String()
	}
	err = ioctl(guardDir, fiThaw, nil)
	w := guardWord{Event: "thawed", Why: why, Held: err == nil && why == "", Stall: time.Since(begin)}
	switch {
	case errors.Is(err, unix.EINVAL):
		w.Why = "somebody else thawed it"
	case err != nil: // the plugin tries again
		return 1
	}
	say(w)
	return 0
}

// writeBack writes what is dirty. A filesystem that takes in more than its disk
// can write would be frozen for too long.
func writeBack(dir int, lease time.Duration) error {
	for begin := time.Now(); ; {
		start := time.Now()
		if err := unix.Syncfs(dir); err != nil {
			return errors.New("what is dirty cannot be written: " + err.Error())
		}
		took := time.Since(start)
		switch {
		case took <= settledSync:
			return nil
		case time.Since(begin) < settleTime:
		case took > lease/2:
			return errors.New("it is written to faster than its disk can take it")
		default:
			return nil
		}
	}
}

// freezeWords says what FIFREEZE's answer means.
func freezeWords(err error) string {
	switch {
	case errors.Is(err, unix.EBUSY):
		return "it is frozen already, by somebody else"
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOTTY):
		return "its filesystem cannot be frozen"
	case errors.Is(err, unix.EPERM):
		return "the plugin lacks CAP_SYS_ADMIN"
	}
	return err.Error()
}
