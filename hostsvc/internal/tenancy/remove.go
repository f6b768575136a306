package tenancy

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// removal is what Remove learns before it acts.
type removal struct {
	group   volspec.VMGroup
	volumes map[volspec.State]int
	begun   bool // by an earlier Remove
}

// Remove deletes a vmgroup. Its VMs must be gone, or force drops them; its
// volumes must be gone, or removeVolumes deletes them for good. A volume in
// use stops it before anything has happened. Interrupted while volumes go, the
// group remains, unusable for its VMs, until Remove is repeated and ends.
func (s *Service) Remove(ctx context.Context, c volspec.Caller, name string, force, removeVolumes bool) error {
	audit := line(ctx, c, name, "vmgroup rm", name)
	var r removal
	err := s.o.Store.Update(ctx, func(tx Tx) (err error) {
		if r, err = beginRemoval(tx, name, force, removeVolumes); err != nil || len(r.volumes) == 0 {
			return err
		}
		marked := r.group
		marked.Removing = true
		return tx.PutGroup(marked)
	})
	if err != nil {
		return s.refused(ctx, audit, err)
	}
	crashpoint.Here("tenancy.remove.marked")
	if len(r.volumes) > 0 {
		if err := s.o.RemoveVolumes(ctx, c, r.group.ID); err != nil {
			return s.refused(ctx, audit, s.stopped(ctx, r, err))
		}
	}
	crashpoint.Here("tenancy.remove.volumes")
	return s.verb(ctx, audit, nil, func(tx Tx) error {
		again, err := beginRemoval(tx, name, force, removeVolumes)
		if err != nil {
			return err
		}
		if len(again.volumes) > 0 || again.group.ID != r.group.ID {
			return errkind.New(errkind.Unavailable, "Vmgroup %s changed while it was being removed: repeat the command", name)
		}
		return tx.DeleteGroup(r.group.ID)
	})
}

func beginRemoval(tx Tx, name string, force, removeVolumes bool) (r removal, err error) {
	if r.group, err = find(tx, name); err != nil {
		return r, err
	}
	r.begun = r.group.Removing
	if err := declared(r.group); err != nil {
		return r, err
	}
	members, err := tx.Members(r.group.ID)
	if err != nil {
		return r, err
	}
	if len(members) > 0 && !force {
		return r, errkind.New(errkind.InUse, "Cannot delete non-empty vmgroup %s. Remove VMs from the vmgroup before deleting it.", name)
	}
	if r.volumes, err = tx.VolumeStates(r.group.ID); err != nil {
		return r, err
	}
	if len(r.volumes) > 0 && !removeVolumes {
		return r, hasVolumes(r.volumes)
	}
	repos, err := tx.RepositoryNames(r.group.ID)
	if err == nil && len(repos) > 0 {
		err = errkind.New(errkind.InUse, "Vmgroup %s has repositories (%s): detach them first with 'mooring repository detach', which leaves their data where they are",
			name, strings.Join(repos, ", "))
	}
	return r, err
}

func hasVolumes(states map[volspec.State]int) error {
	n, trash := 0, states[volspec.Trashed]+states[volspec.Deleting]
	for _, count := range states {
		n += count
	}
	detail := ""
	if trash > 0 {
		detail = fmt.Sprintf(", %d of them in the trash", trash)
	}
	return errkind.New(errkind.InUse, "The vmgroup has volumes in it, these must be removed/migrated before deleting the vmgroup. "+
		"It has %d%s; --remove-volumes deletes them all", n, detail)
}

// stopped is the error of a removal whose volumes did not all go. If none did,
// the group is as it was; else it stays marked, so that nobody uses half of
// it.
func (s *Service) stopped(ctx context.Context, r removal, cause error) error {
	untouched := false
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditLimit)
	defer cancel()
	err := s.o.Store.Update(ctx, func(tx Tx) error {
		left, err := tx.VolumeStates(r.group.ID)
		if err != nil {
			return err
		}
		untouched = !r.begun && maps.Equal(left, r.volumes)
		if !untouched {
			return nil
		}
		return tx.PutGroup(r.group)
	})
	if err == nil && untouched {
		return cause
	}
	return errkind.Wrap(errkind.Of(cause), cause,
		"The removal of vmgroup %s has begun and must be ended: repeat 'mooring vmgroup rm --name=%s --remove-volumes --force'", r.group.Name, r.group.Name)
}
