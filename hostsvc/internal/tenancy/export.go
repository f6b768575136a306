package tenancy

import (
	"context"
	"strings"

	"github.com/BurntSushi/toml"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// The keys of a vmgroup in a configuration file.
type (
	exported struct {
		Groups []exportedGroup `toml:"vmgroup"`
	}
	exportedGroup struct {
		Name             string           `toml:"name"`
		Description      string           `toml:"description,omitempty"`
		DefaultDatastore string           `toml:"default_datastore,omitempty"`
		VMs              []string         `toml:"vms,omitempty"`
		Folders          []volspec.Folder `toml:"vm_folders,omitempty"`
		Email            string           `toml:"email,omitempty"`
		Phone            string           `toml:"phone,omitempty"`
		Website          string           `toml:"website,omitempty"`
		Address          string           `toml:"address,omitempty"`
		Labels           []string         `toml:"labels,omitempty"`
		State            string           `toml:"state,omitempty"`
		GuestAccess      bool             `toml:"guest_access,omitempty"`
		GuestFiles       bool             `toml:"guest_files,omitempty"`
		Transporters     []string         `toml:"transporters"`
		BackupTotalSize  volspec.Size     `toml:"backup_totalsize,omitzero"`
		Allowance        *exportedAmounts `toml:"allowance,omitempty"`
		Access           []exportedAccess `toml:"access,omitempty"`
	}
	exportedAmounts struct {
		Sockets *int64 `toml:"sockets,omitempty"`
		VMs     *int64 `toml:"vms,omitempty"`
		Volumes *int64 `toml:"volumes,omitempty"`
	}
	exportedAccess struct {
		Datastore   string       `toml:"datastore"`
		AllowCreate bool         `toml:"allow_create"`
		MaxSize     volspec.Size `toml:"volume_maxsize,omitzero"`
		TotalSize   volspec.Size `toml:"volume_totalsize,omitzero"`
	}
)

// Export is a vmgroup as a configuration file declares it.
func (s *Service) Export(ctx context.Context, name string) (string, error) {
	v, err := s.Get(ctx, name)
	if err != nil {
		return "", err
	}
	t, err := s.Tenant(ctx, name)
	if err != nil {
		return "", err
	}
	g := exportedGroup{
		Name: v.Name, Description: v.Description, DefaultDatastore: v.DefaultDatastore, Folders: v.Folders,
		Email: t.Profile.Email, Phone: t.Profile.Phone, Website: t.Profile.Website, Address: t.Profile.Address, Labels: t.Profile.Labels,
		GuestAccess: t.GuestAccess, GuestFiles: t.GuestFiles,
	}
	if t.State != wire.TenantEnabled {
		g.State = wire.TenantDisabled
	}
	for _, vm := range v.VMs {
		g.VMs = append(g.VMs, vm.Name)
	}
	for _, a := range v.Access {
		g.Access = append(g.Access, exportedAccess{a.Datastore, a.AllowCreate, a.MaxSize, a.TotalSize})
	}
	if err := s.exportDelegated(ctx, name, &g); err != nil {
		return "", err
	}
	var b strings.Builder
	if err := toml.NewEncoder(&b).Encode(exported{[]exportedGroup{g}}); err != nil {
		return "", errkind.Wrap(errkind.Internal, err, "export vmgroup %s", name)
	}
	return b.String(), nil
}

// exportDelegated adds the transporters and the allowance. One without any bound
// is left out.
func (s *Service) exportDelegated(ctx context.Context, name string, out *exportedGroup) error {
	return s.o.Store.View(ctx, func(tx Tx) error {
		g, err := find(tx, name)
		if err != nil {
			return err
		}
		bound, err := tx.Bound(g.ID)
		if err != nil {
			return err
		}
		all, err := tx.Allowances(g.ID)
		if err != nil {
			return err
		}
		a := volspec.Delegated(all, g.ID)
		out.Transporters = append([]string{}, bound...) // none is not the same as not named
		out.BackupTotalSize = volspec.Size(max(a.Storage, 0))
		a.Storage = volspec.Unbounded
		if a == volspec.NoBounds {
			return nil
		}
		amount := func(n int64) *int64 {
			if n == volspec.Unbounded {
				return nil
			}
			return &n
		}
		out.Allowance = &exportedAmounts{Sockets: amount(a.Sockets), VMs: amount(a.VMs), Volumes: amount(a.Volumes)}
		return nil
	})
}
