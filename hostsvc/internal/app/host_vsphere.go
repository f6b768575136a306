package app

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// vsphereHost is a vCenter, or an ESXi without one.
type vsphereHost struct {
	*vsphere.VSphere
	vsphereWords
	where  config.VSphereConfig
	stores []config.Datastore
}

var _ host = vsphereHost{}

// newVSphereHost checks what cfg says of vSphere. It connects to nobody: a
// vCenter that is away keeps volumes from their users, not the service from
// saying so.
func newVSphereHost(cfg config.Config, version string) (host, error) {
	o := vsphere.Options{
		Options: vcenter.Options{
			URL: cfg.VSphere.URL, User: cfg.VSphere.User, Password: cfg.VSphere.Password,
			CAFile: cfg.VSphere.CAFile, Thumbprint: cfg.VSphere.Thumbprint, Datacenter: cfg.VSphere.Datacenter,
			UserAgent: "mooringd/" + version,
		},
		Disk: cfg.VSphere.Disk, Scratch: filepath.Join(cfg.StateDir, "scratch"), Transporter: cfg.VSphere.Transporter,
	}
	for _, d := range cfg.Datastores {
		o.Datastores = append(o.Datastores, d.Name)
	}
	if err := os.MkdirAll(o.Scratch, 0o700); err != nil {
		return nil, errkind.Wrap(errkind.Unavailable, err, "the folder for content on its way to a datastore cannot be made")
	}
	v, err := vsphere.New(o)
	if err != nil {
		return nil, err
	}
	return vsphereHost{VSphere: v, where: cfg.VSphere, stores: cfg.Datastores}, nil
}

func (h vsphereHost) check(cfg config.Config) error {
	if !reflect.DeepEqual(cfg.Datastores, h.stores) {
		return errkind.New(errkind.Unsupported, "datastores of vSphere cannot change while mooringd runs: restart it")
	}
	return nil
}

func (h vsphereHost) configure(_ context.Context, cfg config.Config) error { return h.check(cfg) }

// id is for VMs of the configuration, and vSphere has none there.
func (h vsphereHost) id(string) volspec.VMID { return "" }

func (h vsphereHost) close(ctx context.Context) error { return h.Close(ctx) }

// findings tell whether vCenter answers, and which privileges are missing.
func (h vsphereHost) findings(ctx context.Context) ([]wire.Finding, error) {
	lacking, err := h.CheckPrivileges(ctx)
	if err != nil {
		return []wire.Finding{{Level: levelError, Check: "vSphere", Detail: errkind.Text(err), Remedy: "remove that obstacle; the session is renewed by itself"}}, nil
	}
	found := h.transporterFindings(ctx)
	if len(lacking) == 0 {
		return append(found, wire.Finding{Level: levelOK, Check: "vSphere", Detail: fmt.Sprintf("%s answers, and %s has every privilege it needs", h.where.URL, h.where.User)}), nil
	}
	for _, l := range lacking {
		found = append(found, wire.Finding{
			Level: levelError, Check: "privilege " + l.ID,
			Detail: fmt.Sprintf("%s lacks it on %s: it is needed for %s", h.where.User, someOf(l.On), l.For),
			Remedy: "add it to the role of that user in vSphere; see docs/vsphere.md",
		})
	}
	return found, nil
}

// transporterFindings judge the transporter; none where none is set.
func (h vsphereHost) transporterFindings(ctx context.Context) []wire.Finding {
	name, err := h.CheckTransporter(ctx)
	switch {
	case err != nil:
		return []wire.Finding{{
			Level: levelWarning, Check: "transporter " + name, Detail: errkind.Text(err),
			Remedy: "see docs/vsphere.md; until then disks are read and written without it, more slowly, and on some datastores not at all",
		}}
	case name != "":
		return []wire.Finding{{Level: levelOK, Check: "transporter " + name, Detail: "disks can be plugged into it"}}
	}
	return nil
}

// someOf names a few and counts the others.
func someOf(names []string) string {
	const few = 3
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
}
