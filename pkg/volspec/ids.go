package volspec

import "strings"

// The identifiers are UUIDs in their canonical 8-4-4-4-12 lower-case form. They
// are types so that they are not confused.
type (
	// VolumeID is of one volume, for life.
	VolumeID string
	// VMGroupID is of one vmgroup, for life.
	VMGroupID string
	// VMID is the hypervisor's instance UUID of one VM.
	VMID string
	// SnapshotID is of one snapshot of one volume.
	SnapshotID string
)

// DefaultGroup is the name of the vmgroup for VMs that belong to no other,
// and DefaultGroupID its fixed identifier.
const (
	DefaultGroup   = "_DEFAULT"
	DefaultGroupID = VMGroupID("11111111-1111-1111-1111-111111111111")
)

// Serial is the disk serial under which a guest finds volume id: its first
// twenty hexadecimal digits. Twenty is the limit of virtio-blk (virtio 1.2,
// 5.2.6, VIRTIO_BLK_T_GET_ID).
func Serial(id VolumeID) string {
	s := strings.ReplaceAll(string(id), "-", "")
	if len(s) > 20 {
		s = s[:20]
	}
	return s
}
