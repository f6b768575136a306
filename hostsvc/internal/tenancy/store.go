// Package tenancy decides who may do what and how much, and manages vmgroups:
// their names, members, access rows and default datastores. The decision,
// Check, is a pure function of facts that the caller reads in the same
// transaction in which it acts.
//
// The rules and the texts of refusals are those of the vSphere Docker Volume
// Service; a refusal begins with the old text, our detail follows after a
// colon.
package tenancy

import (
	"context"

	"mooring.dev/mooring/pkg/volspec"
)

// Store is the catalog as this package sees it; View and Update behave as in
// package volume.
type Store interface {
	View(ctx context.Context, fn func(Tx) error) error
	Update(ctx context.Context, fn func(Tx) error) error
}

// Tx is one transaction. Absent things are errkind.NotFound.
type Tx interface {
	Groups() ([]volspec.VMGroup, error) // by name
	GroupByName(name string) (volspec.VMGroup, error)
	PutGroup(g volspec.VMGroup) error // another group of that name: errkind.Exists
	// DeleteGroup removes a group, its members and rows; volumes must be gone.
	DeleteGroup(id volspec.VMGroupID) error

	Members(g volspec.VMGroupID) ([]volspec.Member, error) // by name
	Member(vm volspec.VMID) (volspec.Member, error)
	PutMember(m volspec.Member) error
	DeleteMember(vm volspec.VMID) error

	AccessRows(g volspec.VMGroupID) ([]volspec.Access, error) // by datastore
	PutAccess(a volspec.Access) error
	DeleteAccess(g volspec.VMGroupID, datastore string) error

	Usage(g volspec.VMGroupID, datastore string) (volspec.Usage, error)
	// VolumeCount counts the group's volumes in every state.
	VolumeCount(g volspec.VMGroupID) (int, error)
	// HeldBy counts the volumes attached to a VM.
	HeldBy(vm volspec.VMID) (int, error)
	// Setting and PutSetting keep small facts of the installation.
	Setting(key string) (string, error) // "" when never put
	PutSetting(key, value string) error
}
