package cli

import (
	"cmp"
	"strconv"
	"time"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

const (
	notAvailable = "N/A"
	detached     = "detached"
)

// date is a moment as the volume tables print it: the old form, in UTC.
func date(at time.Time) string {
	if at.IsZero() {
		return notAvailable
	}
	return at.UTC().Format(time.ANSIC)
}

// moment is a time in the newer tables.
func moment(at time.Time) string {
	if at.IsZero() {
		return "never"
	}
	return at.UTC().Format(time.RFC3339)
}

// capacity is a number of bytes as the volume tables print it; a disk of no
// size is one that is not there.
func capacity(v wire.Volume, bytes int64) string {
	if v.SizeBytes == 0 {
		return notAvailable
	}
	return volspec.Size(bytes).Short()
}

type volumeColumn = column[wire.Volume]

// The columns of the volume tables. Those with a key are the old script's, in
// its order.
var (
	colVolume    = volumeColumn{key: "volume", header: "Volume", value: func(v wire.Volume) string { return v.Volume }}
	colDatastore = volumeColumn{key: "datastore", header: "Datastore", value: func(v wire.Volume) string { return v.Datastore }}
	colGroup     = volumeColumn{key: "vmgroup", header: "VMGroup", value: func(v wire.Volume) string { return cmp.Or(v.VMGroup, notAvailable) }}
	colCapacity  = volumeColumn{key: "capacity", header: "Capacity", value: func(v wire.Volume) string { return capacity(v, v.SizeBytes) }}
	colUsed      = volumeColumn{key: "used", header: "Used", value: func(v wire.Volume) string { return capacity(v, v.UsedBytes) }}
	colAttached  = volumeColumn{key: "attached-to", header: "Attached-to", value: func(v wire.Volume) string { return cmp.Or(v.AttachedTo, detached) }}
	colID        = volumeColumn{header: "Uuid", value: func(v wire.Volume) string { return string(v.ID) }}

	volumeColumns = []volumeColumn{
		colVolume, colDatastore, colGroup, colCapacity, colUsed,
		{key: "fstype", header: "Filesystem", value: func(v wire.Volume) string { return cmp.Or(v.Spec.FSType, notAvailable) }},
		{key: "policy", header: "Policy", value: func(v wire.Volume) string { return cmp.Or(v.Spec.StoragePolicy, notAvailable) }},
		{key: "disk-format", header: "Disk Format", value: func(v wire.Volume) string { return v.Spec.DiskFormat }},
		colAttached,
		{key: "access", header: "Access", value: func(v wire.Volume) string { return v.Spec.Access }},
		{key: "attach-as", header: "Attach-as", value: func(v wire.Volume) string { return v.Spec.AttachAs }},
		{key: "created-by", header: "Created By", value: func(v wire.Volume) string { return v.CreatedBy }},
		{key: "created", header: "Created Date", value: func(v wire.Volume) string { return date(v.Created) }},
		{header: "State", wide: true, value: func(v wire.Volume) string { return string(v.State) }},
		{header: "Health", wide: true, value: func(v wire.Volume) string { return cmp.Or(v.Health, "ok") }},
		{header: "Protected", wide: true, value: func(v wire.Volume) string { return strconv.FormatBool(v.Spec.Protect) }},
		{header: "Uuid", wide: true, value: colID.value},
	}

	removalColumns = []volumeColumn{
		colVolume, colDatastore, colGroup, colCapacity, colUsed, colAttached,
		{header: "State", value: func(v wire.Volume) string { return string(v.State) }},
	}

	trashColumns = []volumeColumn{
		colVolume, colDatastore, colGroup, colCapacity, colUsed,
		{header: "Removed", value: func(v wire.Volume) string { return date(v.TrashedAt) }},
		{header: "Kept Until", value: func(v wire.Volume) string { return date(v.PurgeAfter) }},
		colID,
	}
)
