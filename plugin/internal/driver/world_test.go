package driver

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
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
		AttachState: "detached", Serial: volspec.Serial(id), Health: "ok",
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
			r.State == volspec.Formatted && v.Format != volspec.Blank:
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

// Disks. A device is "/dev/" and the serial.

func (w *world) Find(_ context.Context, d Disk) (string, error) { return w.Lookup(d) }

func (w *world) Lookup(d Disk) (dev string, err error) {
	err = w.step("disk.lookup", func() error {
		v, ok := w.serials[d.Serial]
		if !ok || !v.attached {
			return errkind.New(errkind.NotFound, "no disk %s", d.Serial)
		}
		if d.Size != 0 && d.Size != v.disk.size {
			return errkind.New(errkind.Corrupt, "size")
		}
		dev = "/dev/" + d.Serial
		return nil
	})
	return dev, err
}

func (w *world) disk(dev string) *simDisk { return w.serials[strings.TrimPrefix(dev, "/dev/")].disk }

func (w *world) Busy(dev string) (busy bool, err error) {
	err = w.step("disk.busy", func() error { busy = w.live(w.disk(dev)); return nil })
	return busy, err
}

func (w *world) CheckBlank(_ context.Context, dev string) error {
	return w.step("disk.checkblank", func() error {
		w.blankChecks++
		if w.checkBlank != nil {
			if err := w.checkBlank(w.blankChecks); err != nil {
				return err
			}
		}
		if c := w.disk(dev).content; c != "" {
			return errkind.New(errkind.Corrupt, "has %s", c)
		}
		return nil
	})
}

func (w *world) Format(_ context.Context, dev string, _ Filesystem) error {
	w.mu.Lock()
	failing := !w.dead && w.calls+1 == w.failAt && !w.after
	if failing {
		w.mkfs(w.disk(dev), "partial") // mkfs dies half-way
	}
	w.mu.Unlock()
	return w.step("disk.format", func() error { w.mkfs(w.disk(dev), "fs"); return nil })
}

func (w *world) mkfs(d *simDisk, content string) {
	if d.mkfs++; d.mkfs > 1 {
		w.wrong("mkfs twice on %s", d.name)
	}
	if d.content != "" {
		w.wrong("mkfs on %s which has %q", d.name, d.content)
	}
	if w.live(d) {
		w.wrong("mkfs on %s which is mounted", d.name)
	}
	d.content, d.fs = content, d.size
}

func (w *world) Ready(_ context.Context, dev string, _ Filesystem) error {
	return w.step("disk.ready", func() error {
		d := w.disk(dev)
		if w.live(d) {
			w.wrong("repair of %s which is mounted", d.name)
		}
		if d.content != "fs" && d.content != "data" {
			return errkind.New(errkind.Corrupt, "no filesystem")
		}
		return nil
	})
}

// Mounts.

func (w *world) Mount(_ context.Context, dev, path string, _ Filesystem) error {
	return w.step("disk.mount", func() error {
		d := w.disk(dev)
		if d.content != "fs" && d.content != "data" {
			w.wrong("mount of %s which has %q", d.name, d.content)
		}
		for p, m := range w.mounts {
			if m == d && p != path {
				w.wrong("%s mounted at %s and %s", d.name, p, path)
			}
		}
		w.mounts[path] = d
		return nil
	})
}

func (w *world) Unmount(_ context.Context, path string) error {
	return w.step("disk.unmount", func() error { delete(w.mounts, path); return nil })
}

func (w *world) Mounted() (map[string]Mounted, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[string]Mounted{}
	for p, d := range w.mounts {
		all[p] = Mounted{Path: p, Stale: d.gone}
	}
	return all, nil
}

func (w *world) Grow(_ context.Context, path, dev string, _ bool) (s Space, err error) {
	err = w.step("disk.grow", func() error {
		d := w.disk(dev)
		d.fs = d.size
		s.Bytes = d.fs
		return nil
	})
	return s, err
}

// Engine.

func (w *world) Uses(context.Context) ([]EngineUse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.engineDown {
		return nil, errkind.New(errkind.Unavailable, "engine is down")
	}
	var all []EngineUse
	for _, c := range w.containers {
		v, err := w.find(c.volume)
		if err != nil {
			continue
		}
		all = append(all, EngineUse{Container: c.id, Volume: c.volume, Source: "/x/" + string(v.ID), Driver: "vsphere:latest", Running: true})
	}
	return all, nil
}

// state copies the plugin's state folder: what survives its death.
func copyState(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, e.Name()), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}
