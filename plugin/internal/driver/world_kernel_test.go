package driver

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
)

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
