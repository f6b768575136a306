package driver

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// world is a host service, a kernel and an engine in memory. Every call of
// the driver goes through step, where faults are injected; what must never
// happen is noted in wrongs.
type world struct {
	mu      sync.Mutex
	volumes map[string]*simVolume // by full name
	serials map[string]*simVolume
	mounts  map[string]*simDisk // path → disk, in the plugin's namespace
	wrongs  []string

	containers map[string]*simContainer
	engineDown bool

	calls    int
	failAt   int  // the call that fails, 0: none
	after    bool // it fails after its effect
	crash    bool // it and all later ones fail: the plugin is dead
	dead     bool
	onDeath  func()
	failWith errkind.Kind
	log      []string

	host Host // what the driver is given instead of the world itself, when not nil

	orders  Orders // nil: nobody freezes anything
	freezer Freezer

	// Hooks for single tests; nil: nothing.
	onGet, onAttach, onList, onDetach func() error
	checkBlank                        func(n int) error
	blankChecks                       int
}

type simVolume struct {
	wire.Volume
	disk       *simDisk
	attached   bool
	attachedRO bool
}

type simDisk struct {
	name     string
	content  string // "", "partial", "fs", "data"
	mkfs     int
	gone     bool
	size, fs int64
}

type simContainer struct {
	name, volume, id, mountID string
	disk                      *simDisk // what its bind shows
}

func newWorld() *world {
	return &world{
		volumes: map[string]*simVolume{}, serials: map[string]*simVolume{}, mounts: map[string]*simDisk{},
		containers: map[string]*simContainer{}, failWith: errkind.Unavailable,
	}
}

// add makes a volume behind the driver's back.
func (w *world) add(name string, spec volspec.Spec) *simVolume {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.insert(name, spec)
}

func (w *world) insert(name string, spec volspec.Spec) *simVolume {
	spec = spec.Defaulted()
	id := volspec.VolumeID(uuid.NewString())
	vol, ds, _ := strings.Cut(name, "@")
	v := &simVolume{Volume: wire.Volume{
		ID: id, Name: name, Volume: vol, Datastore: ds, VMGroup: "g", State: volspec.Ready, Format: volspec.Blank,
		SizeBytes: int64(spec.Size), Spec: spec, Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), CreatedBy: "vm1",
		// A serial of the hypervisor's own, which does not follow from the id.
		AttachState: "detached", Serial: "6000c29" + strings.ReplaceAll(string(id), "-", "")[7:], Health: "ok",
	}}
	v.disk = &simDisk{name: name + "#1", size: v.SizeBytes}
	w.volumes[name], w.serials[v.Serial] = v, v
	return v
}

// step counts a call, applies its effect and decides whether it fails.
func (w *world) step(what string, effect func() error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	fault := errkind.New(w.failWith, "injected at %s", what)
	if w.dead {
		return fault
	}
	w.calls++
	w.log = append(w.log, what)
	if w.calls != w.failAt {
		return effect()
	}
	if w.crash {
		w.dead = true
		if w.after {
			_ = effect()
		}
		if w.onDeath != nil {
			w.onDeath()
		}
		return fault
	}
	if w.after {
		_ = effect()
	}
	return fault
}

func (w *world) wrong(format string, args ...any) {
	w.wrongs = append(w.wrongs, fmt.Sprintf(format, args...))
}

// find resolves short names to datastore ds1.
func (w *world) find(name string) (*simVolume, error) {
	if v, ok := w.volumes[name]; ok {
		return v, nil
	}
	if v, ok := w.volumes[name+"@ds1"]; ok {
		return v, nil
	}
	return nil, errkind.New(errkind.NotFound, "Volume %s not found", name)
}

// live reports whether anybody in this kernel has the disk mounted.
func (w *world) live(d *simDisk) bool {
	for _, m := range w.mounts {
		if m == d {
			return true
		}
	}
	for _, c := range w.containers {
		if c.disk == d {
			return true
		}
	}
	return false
}

// set changes the world behind the driver's back.
func (w *world) set(fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn()
}

func (w *world) hooked(hook *func() error) error {
	w.mu.Lock()
	fn := *hook
	w.mu.Unlock()
	if fn == nil {
		return nil
	}
	return fn()
}

// Host.

func (w *world) Create(_ context.Context, r wire.CreateVolume) (v wire.Volume, err error) {
	err = w.step("host.create", func() error {
		full := r.Name
		if !strings.Contains(full, "@") {
			full += "@ds1"
		}
		if _, ok := w.volumes[full]; !ok {
			w.insert(full, volspec.Spec{})
		}
		v = w.volumes[full].Volume
		return nil
	})
	return v, err
}

func (w *world) Remove(_ context.Context, name string) error {
	return w.step("host.remove", func() error {
		v, err := w.find(name)
		if err != nil {
			return err
		}
		if v.attached {
			return errkind.New(errkind.InUse, "volume %s is attached", name)
		}
		delete(w.volumes, v.Name)
		delete(w.serials, v.Serial)
		return nil
	})
}

func (w *world) Get(_ context.Context, name string) (v wire.Volume, err error) {
	if err := w.hooked(&w.onGet); err != nil {
		return v, err
	}
	err = w.step("host.get", func() error {
		s, err := w.find(name)
		if err == nil {
			v = s.Volume
		}
		return err
	})
	return v, err
}

func (w *world) List(context.Context) (all []wire.Volume, err error) {
	if err := w.hooked(&w.onList); err != nil {
		return nil, err
	}
	err = w.step("host.list", func() error {
		for _, n := range slices.Sorted(maps.Keys(w.volumes)) {
			all = append(all, w.volumes[n].Volume)
		}
		return nil
	})
	return all, err
}

func (w *world) Attach(_ context.Context, name string, _ wire.Attach) (a wire.Attachment, err error) {
	if err := w.hooked(&w.onAttach); err != nil {
		return a, err
	}
	err = w.step("host.attach", func() error {
		v, err := w.find(name)
		if err != nil {
			return err
		}
		if v.Format == volspec.Formatting { // as hostsvc/internal/volume: vacate, reset
			if w.live(v.disk) {
				return errkind.New(errkind.InUse, "disk is in use")
			}
			v.attached = false
			v.disk.gone = true
			if v.disk.content == "data" {
				w.wrong("disk with data was replaced by a blank one")
			}
			v.disk = &simDisk{name: v.disk.name + "'", size: v.SizeBytes}
			v.Format = volspec.Blank
		}
		if !v.attached {
			v.attached, v.Epoch = true, v.Epoch+1
			v.attachedRO = v.Spec.Access == volspec.ReadOnly && v.Format == volspec.Formatted
		}
		v.AttachedTo, v.AttachState = "vm1", "attached"
		a = w.attachment(v)
		return nil
	})
	return a, err
}

func (w *world) attachment(v *simVolume) wire.Attachment {
	return wire.Attachment{
		ID: v.ID, Name: v.Name, Epoch: v.Epoch, Serial: v.Serial, Size: v.SizeBytes, ReadOnly: v.attachedRO,
		Format: v.Format, FSUUID: "u", Spec: v.Spec,
	}
}

func (w *world) Detach(_ context.Context, name string, r wire.Detach) error {
	if err := w.hooked(&w.onDetach); err != nil {
		return err
	}
	return w.step("host.detach", func() error {
		v, err := w.find(name)
		if errkind.Is(err, errkind.NotFound) || !v.attached || r.Epoch != 0 && r.Epoch != v.Epoch {
			return nil
		}
		if w.live(v.disk) {
			w.wrong("detach of %s asked for while it is mounted", name)
			return errkind.New(errkind.InUse, "disk is in use")
		}
		v.attached, v.AttachedTo, v.AttachState = false, "", "detached"
		return nil
	})
}

func (w *world) SetFormat(_ context.Context, name string, r wire.SetFormat) error {
	return w.step("host.setformat."+string(r.State), func() error {
		v, err := w.find(name)
		switch {
		case err != nil:
			return err
		case !v.attached || v.Epoch != r.Epoch:
			return errkind.New(errkind.InUse, "attachment has ended")
		case r.State == volspec.Formatting && v.Format == volspec.Blank && !v.attachedRO,
			r.State == volspec.Formatted && v.Format != volspec.Blank,
			r.State == volspec.Blank && v.Format == volspec.Formatting:
			v.Format = r.State
			return nil
		}
		return errkind.New(errkind.InUse, "not granted: %s to %s", v.Format, r.State)
	})
}

func (w *world) Heartbeat(context.Context, wire.Heartbeat) (r wire.HeartbeatReply, err error) {
	err = w.step("host.heartbeat", func() error {
		for _, v := range w.volumes {
			if v.attached {
				r.Attachments = append(r.Attachments, w.attachment(v))
			}
		}
		return nil
	})
	return r, err
}
