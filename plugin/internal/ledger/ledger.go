// Package ledger counts how often each (volume, mount ID) is in use and
// remembers which disks this guest was given, durably, so that a restarted
// plugin knows what the one before it knew.
//
// It is a claim, not the truth: the engine, the mount table, the host service
// and the kernel have the last word, and package driver reconciles. A lost or
// damaged file is therefore survivable: Open starts empty and says so.
package ledger

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"mooring.dev/mooring/pkg/durable"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

const (
	fileName = "ledger.json"
	version  = 1
)

// Attached is what this guest was told about a disk it holds.
type Attached struct {
	Name     string `json:"name"` // volume@datastore
	Serial   string `json:"serial"`
	Epoch    int64  `json:"epoch"`
	Size     int64  `json:"size"`
	ReadOnly bool   `json:"read_only,omitempty"`
	FSBytes  int64  `json:"fs_bytes,omitempty"`
	FSNote   string `json:"fs_note,omitempty"`
}

// Use is how often one mount ID is in use. Evident uses were not asked for by
// the engine through this plugin, but found among its running containers.
type Use struct {
	Count   int       `json:"count"`
	Last    time.Time `json:"last"` // when Count last changed
	Evident bool      `json:"evident,omitempty"`
}

// Volume is one volume that this guest holds or uses.
type Volume struct {
	Attached
	Uses map[string]Use `json:"uses,omitempty"`
}

// Count is the number of uses of all mount IDs.
func (v Volume) Count() (n int) {
	for _, u := range v.Uses {
		n += u.Count
	}
	return n
}

// Ledger is safe for concurrent use. Every change is written before the call
// returns; when that fails the change stands in memory, the call returns the
// error, and the next change or Flush writes it too.
type Ledger struct {
	path string

	mu      sync.Mutex // guards what follows
	volumes map[volspec.VolumeID]Volume
	changes uint64

	write   sync.Mutex // one writer; taken before mu, guards written
	written uint64
}

type file struct {
	Version int                          `json:"version"`
	Volumes map[volspec.VolumeID]*Volume `json:"volumes"`
}

// Open reads the ledger in dir, which must exist. A missing file is an empty
// ledger. A file that cannot be understood is put aside with the suffix
// .damaged, the ledger is empty and usable, and the error, of kind corrupt,
// says so.
func Open(dir string) (*Ledger, error) {
	l := &Ledger{path: filepath.Join(dir, fileName), volumes: map[volspec.VolumeID]Volume{}}
	data, err := os.ReadFile(l.path)
	if errors.Is(err, os.ErrNotExist) {
		return l, nil
	}
	if err == nil {
		l.volumes, err = decode(data)
	}
	if err == nil {
		return l, nil
	}
	l.volumes = map[volspec.VolumeID]Volume{}
	err = errkind.Wrap(errkind.Corrupt, err, "the ledger %s cannot be read, uses are counted again from evidence", l.path)
	return l, errors.Join(err, os.Rename(l.path, l.path+".damaged"))
}

func decode(data []byte) (map[volspec.VolumeID]Volume, error) {
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, err
	}
	if f.Version < 1 {
		return nil, errors.New("it has no version")
	}
	all := map[volspec.VolumeID]Volume{}
	for id, v := range f.Volumes {
		if v == nil {
			continue
		}
		for m, u := range v.Uses {
			if u.Count <= 0 {
				delete(v.Uses, m)
			}
		}
		all[id] = *v
	}
	return all, nil
}

// SetAttached records the disk of a volume; its uses stay.
func (l *Ledger) SetAttached(id volspec.VolumeID, a Attached) error {
	return l.change(func() bool {
		v, known := l.volumes[id]
		if known && v.Attached == a {
			return false
		}
		v.Attached = a
		l.volumes[id] = v
		return true
	})
}

// Add counts one more use of id by mount.
func (l *Ledger) Add(id volspec.VolumeID, mount string, evident bool, now time.Time) error {
	return l.change(func() bool {
		v := l.volumes[id]
		uses := maps.Clone(v.Uses)
		if uses == nil {
			uses = map[string]Use{}
		}
		uses[mount] = Use{Count: uses[mount].Count + 1, Last: now, Evident: evident}
		v.Uses = uses
		l.volumes[id] = v
		return true
	})
}

// Done counts one use less. known is false, and nothing changes, when the
// ledger has no such use.
func (l *Ledger) Done(id volspec.VolumeID, mount string, now time.Time) (known bool, err error) {
	err = l.change(func() bool {
		v := l.volumes[id]
		u, ok := v.Uses[mount]
		if known = ok; !ok {
			return false
		}
		uses := maps.Clone(v.Uses)
		if u.Count--; u.Count <= 0 {
			delete(uses, mount)
		} else {
			u.Last = now
			uses[mount] = u
		}
		v.Uses = uses
		l.volumes[id] = v
		return true
	})
	return known, err
}

// Drop forgets a mount ID with all its counts, if it has not changed since
// last.
func (l *Ledger) Drop(id volspec.VolumeID, mount string, last time.Time) error {
	return l.change(func() bool {
		v := l.volumes[id]
		if u, ok := v.Uses[mount]; !ok || !u.Last.Equal(last) {
			return false
		}
		v.Uses = maps.Clone(v.Uses)
		delete(v.Uses, mount)
		l.volumes[id] = v
		return true
	})
}

// Forget removes a volume that is no longer attached.
func (l *Ledger) Forget(id volspec.VolumeID) error {
	return l.change(func() bool {
		_, ok := l.volumes[id]
		delete(l.volumes, id)
		return ok
	})
}

// Volume returns what is known of one volume. Its maps must not be changed.
func (l *Ledger) Volume(id volspec.VolumeID) (Volume, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v, ok := l.volumes[id]
	return v, ok
}

// All returns everything. The maps in the volumes must not be changed.
func (l *Ledger) All() map[volspec.VolumeID]Volume {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.volumes)
}

// UsedBy lists the volumes that mount uses, in order of id.
func (l *Ledger) UsedBy(mount string) []volspec.VolumeID {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ids []volspec.VolumeID
	for id, v := range l.volumes {
		if _, ok := v.Uses[mount]; ok {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Flush writes what an earlier failure kept from being written.
func (l *Ledger) Flush() error { return l.save() }

func (l *Ledger) change(fn func() bool) error {
	l.mu.Lock()
	changed := fn()
	if changed {
		l.changes++
	}
	l.mu.Unlock()
	if !changed {
		return nil
	}
	return l.save()
}

// save writes the newest state; a change that another save has already
// written costs nothing.
func (l *Ledger) save() error {
	l.write.Lock()
	defer l.write.Unlock()
	l.mu.Lock()
	target := l.changes
	if target == l.written {
		l.mu.Unlock()
		return nil
	}
	f := file{Version: version, Volumes: map[volspec.VolumeID]*Volume{}}
	for id, v := range l.volumes {
		f.Volumes[id] = &v
	}
	l.mu.Unlock()
	data, err := json.MarshalIndent(f, "", " ")
	if err == nil {
		err = durable.WriteFile(l.path, data, 0o600)
	}
	if err != nil {
		return errkind.Wrap(errkind.Unavailable, err, "write the ledger %s", l.path)
	}
	l.written = target
	return nil
}
