package local

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

var _ hypervisor.Hosts = (*Local)(nil)

// packages are the files in which the kernel says in which socket each of its
// processors is.
const packages = "/sys/devices/system/cpu/cpu[0-9]*/topology/physical_package_id"

// VMHosts implements hypervisor.Hosts: all VMs run on this machine.
func (l *Local) VMHosts(ctx context.Context) (map[volspec.VMID]hypervisor.Host, error) {
	if err := ended(ctx, "counting the sockets of this machine"); err != nil {
		return nil, err
	}
	name, err := os.Hostname()
	if err != nil {
		return nil, errkind.Wrap(errkind.Unavailable, err, "this machine has no name")
	}
	n, err := sockets(packages)
	if err != nil {
		return nil, err
	}
	on := map[volspec.VMID]hypervisor.Host{}
	for id := range l.conf.Load().vms {
		on[id] = hypervisor.Host{ID: name, Name: name, Sockets: n}
	}
	return on, nil
}

// sockets counts the different numbers in files; a machine has one at least.
func sockets(pattern string) (int, error) {
	files, err := filepath.Glob(pattern)
	if err != nil {
		return 0, errkind.Wrap(errkind.Internal, err, "the pattern of the files about processors")
	}
	seen := map[string]bool{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return 0, errkind.Wrap(errkind.Unavailable, err, "the sockets of this machine cannot be counted")
		}
		seen[strings.TrimSpace(string(b))] = true
	}
	return max(len(seen), 1), nil
}
