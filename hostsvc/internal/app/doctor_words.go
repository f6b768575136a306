package app

import (
	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/wire"
)

// localWords are what the doctor says about datastores that are directories.
type localWords struct{}

func (localWords) noDatastores() (detail, remedy string) {
	return "none is configured", "declare one with [[datastore]] and reload"
}

func (localWords) storeRemedy(d wire.Datastore) string {
	if d.State == string(hypervisor.ReadOnlyStore) {
		return "look for storage errors in the kernel's log, then mount it writable"
	}
	return "mount it at " + d.Path + "; volumes on it come back by themselves"
}

// vsphereWords are what it says about those of vSphere: nobody mounts them here.
type vsphereWords struct{}

func (vsphereWords) noDatastores() (detail, remedy string) {
	return "vCenter shows none", "give the account its role on a datastore in vSphere; see docs/vsphere.md"
}

func (vsphereWords) storeRemedy(d wire.Datastore) string {
	if d.State == string(hypervisor.ReadOnlyStore) {
		return "end its maintenance mode in vSphere, or let the hosts write to it"
	}
	return "look at it in vSphere: that it has this name, the account its role on it, and the hosts a way to its storage; volumes on it come back by themselves"
}
