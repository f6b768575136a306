package app

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/local"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/local/managed"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// localHost is the hypervisor that is this machine.
type localHost struct {
	*local.Local
	localWords
	managed *managed.Keeper
}

var _ host = localHost{}

// newLocalHost makes it. A managed datastore that cannot be had is offline; it
// does not keep the others from their users.
func newLocalHost(ctx context.Context, cfg config.Config) (host, error) {
	k := managed.New(filepath.Join(cfg.StateDir, "managed"))
	l, err := local.New(localOptions(cfg, k))
	if err != nil {
		return nil, err
	}
	k.Start(ctx, managedStores(cfg))
	return localHost{Local: l, managed: k}, nil
}

func (h localHost) check(cfg config.Config) error { return managed.Check(managedStores(cfg)) }

func (h localHost) configure(ctx context.Context, cfg config.Config) error {
	before := h.managed.Stores()
	if err := h.managed.Apply(ctx, managedStores(cfg)); err != nil {
		return err
	}
	if err := h.Reload(localOptions(cfg, h.managed)); err != nil {
		return errors.Join(err, h.managed.Apply(ctx, before))
	}
	return nil
}

func (h localHost) close(context.Context) error { return nil }

func (h localHost) id(name string) volspec.VMID { return local.VMID(name) }

func (h localHost) findings(context.Context) ([]wire.Finding, error) {
	n, err := freeLoop()
	found := []wire.Finding{loopFinding(n, err)}
	for _, r := range h.managed.Reports() {
		found = append(found, managedFinding(r))
	}
	return found, nil
}

// managedFinding judges a managed datastore and the room below it.
func managedFinding(r managed.Report) wire.Finding {
	f := wire.Finding{Level: levelOK, Check: "managed datastore " + r.Name}
	f.Detail = fmt.Sprintf("%s takes %s of %s, %s free below it", r.Image, r.Taken.Short(), r.Provided.Short(), r.Below.Short())
	switch {
	case errkind.Is(r.Problem, errkind.Invalid):
		f.Level, f.Detail, f.Remedy = levelWarning, r.Problem.Error(), "correct its size in the configuration and reload"
	case r.Problem != nil:
		f.Level, f.Detail, f.Remedy = levelError, r.Problem.Error(), "remove that obstacle; it is tried again by itself"
	case r.Short() > 0:
		f.Level, f.Remedy = levelWarning, fmt.Sprintf("make %s of room below, before writes of volumes fail", r.Short())
		if r.Below < noFree {
			f.Level = levelError
		}
	}
	return f
}

func localOptions(cfg config.Config, k *managed.Keeper) local.Options {
	o := local.Options{Ready: k.Ready}
	for _, d := range cfg.Datastores {
		o.Datastores = append(o.Datastores, local.Datastore{Name: d.Name, Path: d.Path})
	}
	// Recovery points that volumes show are disks of a datastore of their own.
	o.Datastores = append(o.Datastores, local.Datastore{Name: volspec.PointsDatastore, Path: filepath.Join(viewsDir(cfg), "store")})
	for _, v := range cfg.VMs {
		o.VMs = append(o.VMs, local.VM{Name: v.Name, Datastore: v.Datastore, DevDir: v.Dev, InitPIDFile: v.InitPIDFile, Socket: v.Socket})
	}
	return o
}

func managedStores(cfg config.Config) (all []managed.Store) {
	for _, d := range cfg.Datastores {
		if d.Size > 0 {
			all = append(all, managed.Store{Name: d.Name, Path: filepath.Clean(d.Path), Size: d.Size})
		}
	}
	return all
}
