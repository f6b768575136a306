package memory

import (
	"context"
	"strings"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// AllVMs is the folder that holds all VMs. A VM that does not say where it is
// lies in it.
const AllVMs volspec.Folder = "/memory/vm"

var _ hypervisor.Folders = (*Memory)(nil)

// FindFolder implements hypervisor.Folders.
func (m *Memory) FindFolder(ctx context.Context, f volspec.Folder) (volspec.Folder, error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	f = absolute(f)
	switch {
	case f == AllVMs:
		return "", errkind.New(errkind.Invalid, "%s is the folder of all VMs: name one below it", f)
	case !m.folders[f]:
		return "", errkind.New(errkind.NotFound, "no folder %s: see the inventory", f)
	}
	return f, nil
}

func absolute(f volspec.Folder) volspec.Folder {
	if f.IsAbs() {
		return f
	}
	return AllVMs + "/" + f
}

// MakeFolder makes a folder, and those above it.
func (m *Memory) MakeFolder(f volspec.Folder) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for f = absolute(f); f != AllVMs; f = f[:strings.LastIndexByte(string(f), '/')] {
		m.folders[f] = true
	}
}

// MoveFolder gives a folder another path, with all that is in it; "" removes
// it, and its VMs go to the folder of all VMs.
func (m *Memory) MoveFolder(from, to volspec.Folder) {
	m.mu.Lock()
	defer m.mu.Unlock()
	from = absolute(from)
	moved := func(f volspec.Folder) volspec.Folder {
		if to == "" {
			return AllVMs
		}
		return absolute(to) + f[len(from):]
	}
	folders := map[volspec.Folder]bool{}
	for f := range m.folders {
		if from.Holds(f) {
			f = moved(f)
		}
		if f != AllVMs {
			folders[f] = true
		}
	}
	m.folders = folders
	for _, v := range m.vms {
		if from.Holds(v.Folder) {
			v.Folder = moved(v.Folder)
		}
	}
}

// MoveVM puts a VM into a folder, "" into the one of all VMs.
func (m *Memory) MoveVM(id volspec.VMID, to volspec.Folder) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.vms[id].Folder = AllVMs
	if to != "" {
		m.vms[id].Folder = absolute(to)
	}
}
