package backup

import (
	"fmt"
	"slices"
	"time"

	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// facts are what the plan of a backup is made of. A volume or a disk of a VM
// is backed up.
type facts struct {
	full    bool // asked for
	size    volspec.Size
	base    *Base                // of this volume or disk in this repository
	parents []Point              // good points of it in this repository, newest first
	kept    []volspec.SnapshotID // snapshots that the volume still has
}

// decision is how a backup finds what changed: since a snapshot, or since a
// moment that the hypervisor calls change. A parent with neither is a full read
// that stores only what differs.
type decision struct {
	parent volspec.PointID
	base   volspec.SnapshotID
	change string
	why    string // in words, for people
}

func (d decision) full() bool { return d.base == "" && d.change == "" }

// reading is the decision to read everything after all.
func (d decision) reading(why string) decision {
	return decision{parent: d.parent, why: "full read: " + why}
}

// plan decides. It is pure, and believes in a base only if the point that was
// made of it is there and good, the snapshot is unless the base names a moment,
// and the disk has not shrunk. What a hypervisor tells of changes since a moment
// is not believed either of a disk that has grown.
func plan(f facts) decision {
	var newest volspec.PointID
	if len(f.parents) > 0 {
		newest = f.parents[0].ID
	}
	fullRead := func(format string, args ...any) decision {
		return decision{parent: newest, why: "full read: " + fmt.Sprintf(format, args...)}
	}
	switch {
	case f.full:
		return fullRead("it was asked for")
	case newest == "":
		return fullRead("this is the first backup of it in this repository")
	case f.base == nil:
		return fullRead("no earlier backup has left anything to start from")
	}
	i := slices.IndexFunc(f.parents, func(p Point) bool { return p.ID == f.base.Point })
	switch {
	case i < 0:
		return fullRead("the point that the last snapshot was for is gone or damaged")
	case f.base.Change != "" && f.size > f.base.Size:
		return fullRead("the disk has grown since the last backup")
	case f.base.Change == "" && !slices.Contains(f.kept, f.base.Snapshot):
		return fullRead("the snapshot of the last backup is gone")
	case f.size < f.base.Size:
		return fullRead("the disk is smaller than at the last backup")
	}
	p := f.parents[i]
	return decision{
		parent: p.ID, base: f.base.Snapshot, change: f.base.Change,
		why: "changed extents since " + p.Created.UTC().Format(time.RFC3339),
	}
}

// peek finds out whether extents can be had at all: their first error.
func peek(in image.Extents) error {
	for _, err := range in {
		return err
	}
	return nil
}
