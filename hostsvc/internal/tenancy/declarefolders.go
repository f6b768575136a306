package tenancy

import (
	"context"
	"errors"
	"slices"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// known is what a vmgroup has already.
type known struct {
	members []volspec.Member
	folders []volspec.FolderGrant
}

// whatIsKnown is what the vmgroups have, by name: a VM or folder that the
// hypervisor has forgotten may stay where it is.
func (s *Service) whatIsKnown(ctx context.Context) (map[string]known, error) {
	all := map[string]known{}
	err := s.o.Store.View(ctx, func(tx Tx) error {
		groups, err := tx.Groups()
		if err != nil {
			return err
		}
		for _, g := range groups {
			var k known
			if k.members, err = tx.Members(g.ID); err != nil {
				return err
			}
			if k.folders, err = tx.Folders(g.ID); err != nil {
				return err
			}
			all[g.Name] = k
		}
		return nil
	})
	return all, err
}

// findFolders are the folders of a declared vmgroup. One that it has already may
// be gone.
func (s *Service) findFolders(ctx context.Context, g Declared, have []volspec.FolderGrant) (all []volspec.Folder, err error) {
	if len(g.Folders) > 0 {
		if err := listable(g.Name); err != nil {
			return nil, err
		}
	}
	var problems []error
	for _, folder := range g.Folders {
		f, err := s.findFolder(ctx, folder)
		if errkind.Is(err, errkind.NotFound) {
			if same := calledFolder(have, volspec.Folder(folder)); len(same) == 1 {
				f, err = same[0], nil
			}
		}
		if err != nil {
			problems = append(problems, err)
			continue
		}
		all = append(all, f)
	}
	return all, errors.Join(problems...)
}

func (p applier) dropFolders(d declaration) error {
	g := p.groups[d.Name]
	have, err := p.tx.Folders(g.ID)
	if err != nil {
		return err
	}
	for _, f := range have {
		if slices.Contains(d.folders, f.Folder) {
			continue
		}
		p.changed[d.Name] = d.Source
		if err := p.tx.DeleteFolder(g.ID, f.Folder); err != nil {
			return err
		}
	}
	return nil
}

func (p applier) addFolders(d declaration) error {
	g := p.groups[d.Name]
	have, err := p.tx.Folders(g.ID)
	if err != nil {
		return err
	}
	for _, f := range d.folders {
		if slices.Contains(have, volspec.FolderGrant{Group: g.ID, Folder: f}) {
			continue
		}
		p.changed[d.Name] = d.Source
		if err := grant(p.tx, g, f); err != nil {
			return err
		}
	}
	return nil
}
