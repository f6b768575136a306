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

// Place is a group on a datastore.
type Place struct {
	Group     volspec.VMGroupID
	Datastore string
}

// Tx is one transaction. Absent things are errkind.NotFound.
type Tx interface {
	AllowanceTx
	TenantTx

	Groups() ([]volspec.VMGroup, error) // by name
	GroupByName(name string) (volspec.VMGroup, error)
	// PutGroup inserts or replaces by ID. A new one is bound to the built-in
	// transporter. Another group of that name: errkind.Exists.
	PutGroup(g volspec.VMGroup) error
	// DeleteGroup removes a group, its members, rows, folders, backup policies and
	// limits. Absent: nil. While it has volumes or repositories: in-use, with
	// nothing changed.
	DeleteGroup(id volspec.VMGroupID) error

	// Members lists a group's, or with "" those of all groups, by name.
	Members(g volspec.VMGroupID) ([]volspec.Member, error)
	Member(vm volspec.VMID) (volspec.Member, error)
	// PutMember inserts or replaces by VM: a VM is in one group at most.
	PutMember(m volspec.Member) error
	DeleteMember(vm volspec.VMID) error // absent: nil

	// AccessRows lists a group's, or with "" those of all groups, by datastore.
	AccessRows(g volspec.VMGroupID) ([]volspec.Access, error)
	PutAccess(a volspec.Access) error                         // inserts or replaces by group and datastore
	DeleteAccess(g volspec.VMGroupID, datastore string) error // absent: nil

	// Folders lists the folders granted to a group, or with "" to all, by path.
	Folders(g volspec.VMGroupID) ([]volspec.FolderGrant, error)
	PutFolder(f volspec.FolderGrant) error                         // inserts or replaces by folder
	DeleteFolder(g volspec.VMGroupID, folder volspec.Folder) error // absent: nil

	Usage(g volspec.VMGroupID, datastore string) (volspec.Usage, error)
	// Usages lists the usage of every group on every datastore where it has
	// volumes.
	Usages() (map[Place]volspec.Usage, error)
	// VolumeStates counts the group's volumes by state.
	VolumeStates(g volspec.VMGroupID) (map[volspec.State]int, error)
	// RepositoryNames lists the group's repositories.
	RepositoryNames(g volspec.VMGroupID) ([]string, error)
	// StaleMeta notes that the records beside the group's disks are out of
	// date: they carry its name.
	StaleMeta(g volspec.VMGroupID) error
	// HeldBy counts the volumes attached to a VM or on their way to it.
	HeldBy(vm volspec.VMID) (int, error)
	// Setting and PutSetting keep small facts of the installation.
	Setting(key string) (string, error) // "" when never put
	PutSetting(key, value string) error

	AddAudit(a volspec.Audit) error
}
