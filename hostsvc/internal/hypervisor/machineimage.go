package hypervisor

import (
	"context"
	"time"

	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// MachineDisk is one disk of a VM.
type MachineDisk struct {
	Key       string // stays with the disk while the VM has it; made of letters, digits and dashes
	Label     string // as people know it, "Hard disk 1"
	Size      volspec.Size
	Datastore string
	// Volume is set when the disk is a volume's: it is backed up as that.
	Volume volspec.VolumeID
	// Refusal says why there is no image of the disk, and what to do; "" when
	// there is. An independent disk is left out of every snapshot.
	Refusal string
	// Change names this moment of the disk for a later Changed; "" where changes
	// are not tracked. Only a snapshot has it.
	Change string
}

// MachineSnapshot is one moment of a VM.
type MachineSnapshot struct {
	At       time.Time
	Quiesced bool   // by the guest's tools; otherwise as after a power failure
	Note     string // why it is not quiesced although asked for
	// Config is what BuildMachine makes the VM of: hardware, networks, tags and
	// settings, without anything that is secret or an identity. JSON, the
	// implementation's own, at most 1 MiB.
	Config []byte
	Disks  []MachineDisk
}

// MachineSnapshotRef names a snapshot that Mooring made.
type MachineSnapshotRef struct {
	VM volspec.VMID
	ID volspec.SnapshotID
}

// MachineBuild is a VM to be made.
type MachineBuild struct {
	ID        string         // of the deed: repeated, it makes no second VM
	Name      string         // of the new VM; taken: exists
	Config    []byte         // of a MachineSnapshot
	Datastore string         // "": each disk where it was
	Host      string         // "": the hypervisor chooses
	Folder    volspec.Folder // absolute; "": where new VMs are put
	Disks     []MachineDisk
}

// MachineImager is optional; ask with As: whole VMs, for backup and restore.
type MachineImager interface {
	// MachineDisks lists the disks of a VM, in the order of its slots.
	MachineDisks(ctx context.Context, vm volspec.VMID) ([]MachineDisk, error)
	// SnapshotMachine freezes the disks of a VM under id, all at one moment. With
	// quiesce the guest's tools are asked to write everything first; where they
	// are not there the snapshot is taken all the same, with a Note. Repeated: the
	// same snapshot. It pins the volumes that are attached until it is deleted, so
	// it is kept no longer than its disks are read.
	SnapshotMachine(ctx context.Context, vm volspec.VMID, id volspec.SnapshotID, quiesce bool) (MachineSnapshot, error)
	// DeleteMachineSnapshot removes one. Absent, or the VM is gone: nil.
	DeleteMachineSnapshot(ctx context.Context, vm volspec.VMID, id volspec.SnapshotID) error
	// MachineSnapshots lists those that SnapshotMachine made on all VMs, and no
	// others. Other services may use the same hypervisor: the caller knows its own
	// by their ids.
	MachineSnapshots(ctx context.Context) ([]MachineSnapshotRef, error)
	// OpenMachineDisk opens a disk of a snapshot for reading. The caller keeps the
	// snapshot until it has closed the image. No such snapshot or disk: not-found.
	// One with a Refusal: unsupported with the reason.
	OpenMachineDisk(ctx context.Context, vm volspec.VMID, id volspec.SnapshotID, key string) (image.Image, error)
	// ChangedMachineDisk yields the ranges in which a disk of snapshot id may
	// differ from the moment that since (a Change) names: perhaps too much, never
	// too little. It works after the snapshot of that moment is gone. Where
	// changes were not tracked all the time, or since is of another disk:
	// unsupported with the reason, as the only element.
	ChangedMachineDisk(ctx context.Context, vm volspec.VMID, id volspec.SnapshotID, key, since string) image.Extents
	// BuildMachine makes a new VM, powered off, with an identity of its own, and
	// its disks with the content that fill writes. Where the VM of that Name was
	// made under that ID already, it is that. A disk of the Config that Disks
	// leaves out is left out of the VM. Until it returns nil there is no such VM,
	// and after an error nothing is left. A Config that is none: invalid. No room:
	// quota. No such folder: not-found.
	BuildMachine(ctx context.Context, b MachineBuild, fill func(ctx context.Context, key string, to image.Target) error) (volspec.VMID, error)
	// BuildMachineDisk replaces the content of one disk of a VM that is off; on:
	// in-use. The old content stays as a file on the same datastore, which kept
	// names. Until it returns nil, and after an error, everything is as it was.
	// A snapshot on the VM: in-use, with its name.
	BuildMachineDisk(ctx context.Context, vm volspec.VMID, key string, size volspec.Size, fill func(ctx context.Context, to image.Target) error) (kept string, err error)
}
