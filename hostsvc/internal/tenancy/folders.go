package tenancy

import (
	"context"
	"slices"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// AddFolder grants a folder of VMs to a vmgroup: it may protect the VMs in it
// and below that are members of no vmgroup. It gives no right to volumes. A
// folder that holds one of another vmgroup, or lies in one, is exists.
func (s *Service) AddFolder(ctx context.Context, c volspec.Caller, group, folder string) error {
	var f volspec.Folder
	prepare := func() (err error) {
		if err := listable(group); err != nil {
			return err
		}
		f, err = s.findFolder(ctx, folder)
		return err
	}
	return s.verb(ctx, line(ctx, c, group, "vmgroup folder add", folder), prepare, func(tx Tx) error {
		g, err := changeable(tx, group)
		if err != nil {
			return err
		}
		return grant(tx, g, f)
	})
}

// RemoveFolder takes a granted folder away again. Recovery points of its VMs
// stay. One that is not there any more goes by the path it had.
func (s *Service) RemoveFolder(ctx context.Context, c volspec.Caller, group, folder string) error {
	var f volspec.Folder
	prepare := func() (err error) {
		if err := listable(group); err != nil {
			return err
		}
		if f, err = volspec.ParseFolder(folder); err != nil {
			return err
		}
		if found, err := s.findFolder(ctx, folder); err == nil {
			f = found
		}
		return nil
	}
	return s.verb(ctx, line(ctx, c, group, "vmgroup folder rm", folder), prepare, func(tx Tx) error {
		g, err := changeable(tx, group)
		if err != nil {
			return err
		}
		granted, err := tx.Folders(g.ID)
		if err != nil {
			return err
		}
		same := calledFolder(granted, f)
		switch len(same) {
		case 0:
			return errkind.New(errkind.NotFound, "Folder %s has not been granted to vmgroup %s: see 'mooring vmgroup folder ls'", f, g.Name)
		case 1:
			return tx.DeleteFolder(g.ID, same[0])
		}
		return errkind.New(errkind.Invalid, "Folder %s is ambiguous: write the whole path, one of %s", f, joined(same))
	})
}

// Folders describes the folders granted to a vmgroup, by path.
func (s *Service) Folders(ctx context.Context, group string) ([]wire.Folder, error) {
	var granted []volspec.FolderGrant
	err := s.o.Store.View(ctx, func(tx Tx) error {
		g, err := find(tx, group)
		if err == nil {
			granted, err = tx.Folders(g.ID)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	protected, away := s.Protected(ctx)
	all := []wire.Folder{}
	for _, f := range granted {
		w := wire.Folder{Folder: f.Folder, State: "unknown", VMs: []wire.VM{}}
		switch _, err := s.findFolder(ctx, string(f.Folder)); {
		case away != nil:
		case err == nil:
			w.State = "there"
		case errkind.Is(err, errkind.NotFound):
			w.State = "missing"
		}
		for _, p := range protected {
			if p.Granted && p.Group.ID == f.Group && f.Folder.Holds(p.VM.Folder) {
				w.VMs = append(w.VMs, wire.VM{ID: p.VM.ID, Name: p.VM.Name, Datastore: p.VM.Datastore, Power: string(p.VM.Power)})
			}
		}
		all = append(all, w)
	}
	return all, nil
}

// findFolder is the absolute path of a folder that is there now.
func (s *Service) findFolder(ctx context.Context, folder string) (volspec.Folder, error) {
	f, err := volspec.ParseFolder(folder)
	if err != nil {
		return "", err
	}
	if s.o.Folders == nil {
		return "", errkind.New(errkind.Unsupported, "Folder %s cannot be granted: this hypervisor has no folders of VMs; add the VMs themselves with 'mooring vmgroup vm add'", f)
	}
	return s.o.Folders.FindFolder(ctx, f)
}

// calledFolder are the folders that a person can mean by f. Where those of the
// inventory begin is not known of one that is gone.
func calledFolder(granted []volspec.FolderGrant, f volspec.Folder) (same []volspec.Folder) {
	for _, g := range granted {
		if g.Folder == f {
			return []volspec.Folder{f}
		}
		if !f.IsAbs() && strings.HasSuffix(string(g.Folder), "/"+string(f)) {
			same = append(same, g.Folder)
		}
	}
	return same
}

// grant gives a vmgroup a folder.
func grant(tx Tx, g volspec.VMGroup, f volspec.Folder) error {
	all, err := tx.Folders("")
	if err != nil {
		return err
	}
	if err := grantable(g, f, all, func(id volspec.VMGroupID) string { return groupName(tx, id) }); err != nil {
		return err
	}
	return tx.PutFolder(volspec.FolderGrant{Group: g.ID, Folder: f})
}

// grantable refuses a folder that the vmgroup has, or that shares VMs with one
// of another's. Within a vmgroup folders may hold each other.
func grantable(g volspec.VMGroup, f volspec.Folder, granted []volspec.FolderGrant, name func(volspec.VMGroupID) string) error {
	for _, have := range granted {
		switch {
		case have.Group != g.ID && have.Folder.Overlaps(f):
			return errkind.New(errkind.Exists, "Folder %s cannot be granted to vmgroup %s: folder %s has been granted to vmgroup %s, and a VM is in the scope of one vmgroup only; choose another, or take that one away with 'mooring vmgroup folder rm'",
				f, g.Name, have.Folder, name(have.Group))
		case have.Folder == f:
			return errkind.New(errkind.Exists, "Folder %s has already been granted to vmgroup %s", f, g.Name)
		}
	}
	return nil
}

func joined(list []volspec.Folder) string {
	var words []string
	for _, f := range slices.Sorted(slices.Values(list)) {
		words = append(words, string(f))
	}
	return strings.Join(words, ", ")
}
