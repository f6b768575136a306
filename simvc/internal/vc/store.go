package vc

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
	"golang.org/x/sys/unix"

	"mooring.dev/mooring/simvc/internal/vmfile"
)

// store is a datastore: a directory of the host that counts what is in it.
type store struct {
	name     string
	dir      string
	ref      types.ManagedObjectReference
	capacity int64

	mu      sync.Mutex
	state   string
	thick   map[string]int64 // host path of a flat: what it holds reserved
	used    int64
	counted time.Time
	due     bool // it is published soon
}

// ownSize is how large the filesystem is that dir is the root of; a directory
// that shares one with others has no end of its own.
func ownSize(dir string) int64 {
	var own, above unix.Stat_t
	var whole unix.Statfs_t
	if unix.Stat(dir, &own) != nil || unix.Stat(filepath.Dir(dir), &above) != nil || own.Dev == above.Dev || unix.Statfs(dir, &whole) != nil {
		return math.MaxInt64
	}
	return int64(whole.Blocks) * whole.Frsize //nolint:gosec // no filesystem is larger
}

func (s *Server) store(name string) *store {
	for _, st := range s.stores {
		if st.name == name {
			return st
		}
	}
	return nil
}

func (s *Server) storeOf(ref types.ManagedObjectReference) *store {
	for _, st := range s.stores {
		if st.ref == ref {
			return st
		}
	}
	return nil
}

// resolve finds the host path of "[ds] a/b".
func (s *Server) resolve(name string) (*store, string, types.BaseMethodFault) {
	var p object.DatastorePath
	if !p.FromString(name) {
		return nil, "", &types.InvalidDatastorePath{DatastorePath: name}
	}
	st := s.store(p.Datastore)
	if st == nil {
		return nil, "", &types.InvalidDatastorePath{DatastorePath: name}
	}
	clean := path.Clean("/" + p.Path)
	if strings.Contains(p.Path, "..") || clean == "/" {
		return nil, "", &types.InvalidDatastorePath{DatastorePath: name}
	}
	return st, filepath.Join(st.dir, clean), nil
}

// States of a datastore.
const (
	online   = "online"
	readOnly = "read-only"
	offline  = "offline"
)

func (st *store) is() string {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.state == "" {
		return online
	}
	return st.state
}

// reachable finds the host path of a file whose datastore can be reached.
func (s *Server) reachable(name string) (*store, string, types.BaseMethodFault) {
	st, p, fault := s.resolve(name)
	if fault != nil {
		return nil, "", fault
	}
	if st.is() == offline {
		return nil, "", &types.InaccessibleDatastore{
			InvalidDatastore: types.InvalidDatastore{Datastore: &st.ref, Name: st.name},
			Detail:           "the datastore is not accessible",
		}
	}
	return st, p, nil
}

// writable finds the host path of a file whose datastore can be written.
func (s *Server) writable(name string) (*store, string, types.BaseMethodFault) {
	st, p, fault := s.reachable(name)
	if fault != nil {
		return nil, "", fault
	}
	if st.is() == readOnly {
		return nil, "", &types.CannotAccessFile{FileFault: types.FileFault{File: name}}
	}
	return st, p, nil
}

// SetDatastore changes what can be done with a datastore.
func (s *Server) SetDatastore(name, state string) error {
	st := s.store(name)
	if st == nil {
		return fmt.Errorf("there is no datastore %q", name)
	}
	if state != online && state != readOnly && state != offline {
		return fmt.Errorf("%q is no state of a datastore", state)
	}
	st.mu.Lock()
	st.state = state
	st.mu.Unlock()
	ctx := s.ctx()
	ds := ctx.Map.Get(st.ref).(*simulator.Datastore)
	ctx.WithLock(ds, func() {
		mode := types.HostMountModeReadWrite
		if state == readOnly {
			mode = types.HostMountModeReadOnly
		}
		hosts := slices.Clone(ds.Host)
		for i := range hosts {
			hosts[i].MountInfo.AccessMode = string(mode)
			hosts[i].MountInfo.Accessible = types.NewBool(state != offline)
		}
		ctx.Update(ds, []types.PropertyChange{
			{Name: "summary.accessible", Val: state != offline},
			{Name: "host", Val: hosts},
		})
	})
	return nil
}

// recount is how old what was counted of a store may be.
const recount = time.Second

// free is what is left, counted at most every second: thick disks in full,
// everything else as much as it takes.
func (st *store) free() int64 {
	st.mu.Lock()
	defer st.mu.Unlock()
	if time.Since(st.counted) > recount {
		st.used = 0
		_ = filepath.WalkDir(st.dir, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return nil //nolint:nilerr // files come and go
			}
			if n, ok := st.thick[p]; ok {
				st.used += n
			} else {
				st.used += vmfile.Used(p)
			}
			return nil
		})
		st.counted = time.Now()
	}
	return st.capacity - st.used
}

// blocks is what any file takes at least.
const blocks = 1 << 20

// reserve takes room for a disk, or finds that there is none: all of it for a
// thick one, one block for a thin one.
func (st *store) reserve(flat string, size int64, thin bool) types.BaseMethodFault {
	free := st.free()
	st.mu.Lock()
	defer st.mu.Unlock()
	more := size - st.thick[flat]
	if thin {
		more = blocks
	}
	if more > free {
		return &types.NoDiskSpace{Datastore: st.name, FileFault: types.FileFault{File: filepath.Base(flat)}}
	}
	if thin {
		return nil
	}
	st.thick[flat] = size
	st.used += more
	return nil
}

func (st *store) release(flat string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.used -= st.thick[flat]
	delete(st.thick, flat)
}

// publishSoon has a store published when what was counted of it is out of date:
// what was done since would not show before the next deed.
func (s *Server) publishSoon(st *store) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.due {
		return
	}
	st.due = true
	time.AfterFunc(recount+recount/10, func() {
		st.mu.Lock()
		st.due = false
		st.mu.Unlock()
		s.publishStore(s.ctx(), st)
	})
}

func (s *Server) publishAllSoon() {
	for _, st := range s.stores {
		s.publishSoon(st)
	}
}

// publishStore shows capacity and free space in the inventory.
func (s *Server) publishStore(ctx *simulator.Context, st *store) {
	ds := ctx.Map.Get(st.ref).(*simulator.Datastore)
	free := st.free()
	ctx.WithLock(ds, func() {
		if ds.Summary.FreeSpace == free && ds.Summary.Capacity == st.capacity {
			return
		}
		ds.Info.GetDatastoreInfo().FreeSpace = free
		changes := []types.PropertyChange{{Name: "summary.freeSpace", Val: free}}
		if ds.Summary.Capacity != st.capacity {
			changes = append(changes,
				types.PropertyChange{Name: "summary.capacity", Val: st.capacity},
				types.PropertyChange{Name: "summary.type", Val: string(types.HostFileSystemVolumeFileSystemTypeVMFS)},
				types.PropertyChange{Name: "summary.multipleHostAccess", Val: true})
		}
		ctx.Update(ds, changes)
	})
}

// fileFault says which of the vCenter's faults an error of the file system is.
func fileFault(name string, err error) types.BaseMethodFault {
	f := types.FileFault{File: name}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &types.FileNotFound{FileFault: f}
	case errors.Is(err, fs.ErrExist):
		return &types.FileAlreadyExists{FileFault: f}
	case errors.Is(err, vmfile.ErrFormat):
		return &types.FileFault{File: name}
	default:
		return &types.CannotAccessFile{FileFault: f}
	}
}
