package app

import (
	"context"
	"os"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// adminMode lets root and the group of the socket in; who really may is
// decided by the peer's credentials, see api.AdminPeers.
const adminMode os.FileMode = 0o660

// doors are the listeners that cfg asks for: one for the admin, one for each
// VM of this machine, and perhaps one for VMs with certificates, one for people
// and one for metrics.
func (d *daemon) doors(cfg config.Config) ([]*door, error) {
	gid, err := adminGroup(cfg)
	if err != nil {
		return nil, err
	}
	doors := []*door{{
		name: "admin",
		key:  doorKey{network: "unix", address: cfg.Admin.Socket, mode: adminMode, gid: gid},
		id:   d.gate.before(api.AdminPeers(gid)),
	}}
	for _, vm := range cfg.VMs {
		id := d.host.id(vm.Name)
		doors = append(doors, &door{
			name: "VM " + vm.Name,
			key:  doorKey{network: "unix", address: vm.Socket, mode: os.FileMode(vm.SocketMode), gid: -1, vm: vm.Name},
			id:   d.gate.before(api.GuestPeers(func(ctx context.Context) (volspec.Caller, error) { return guest(ctx, d.host, id) })),
		})
	}
	doors = append(doors, d.guestDoors(cfg)...)
	doors = append(doors, d.webDoors(cfg)...)
	if cfg.Metrics.Listen != "" {
		doors = append(doors, &door{name: "metrics", key: doorKey{network: "tcp", address: cfg.Metrics.Listen}})
	}
	return doors, nil
}

// bind opens the listeners of the first configuration.
func (d *daemon) bind(ctx context.Context) error {
	doors, err := d.doors(d.config())
	if err != nil {
		return err
	}
	if err := listenAll(ctx, doors); err != nil {
		return err
	}
	d.listeners.initial = doors
	d.set(d.config(), doors)
	return nil
}

// guest is the caller on the channel of one VM, as the hypervisor knows it at
// this moment.
func guest(ctx context.Context, m hypervisor.Machines, id volspec.VMID) (volspec.Caller, error) {
	vm, err := m.VM(ctx, id)
	if errkind.Is(err, errkind.NotFound) {
		return volspec.Caller{}, errkind.New(errkind.Denied, "this VM is not known to mooringd any more: look for it in its hypervisor, or declare it with [[vm]] in the configuration")
	}
	if err != nil {
		return volspec.Caller{}, err
	}
	return volspec.Caller{VM: vm.ID, VMName: vm.Name, VMDatastore: vm.Datastore, Actor: "vm:" + vm.Name}, nil
}
