// Package kopia keeps recovery points in repositories of kopia's format,
// through kopia's own packages: what it writes, the standard kopia program
// lists, verifies and restores.
//
// A point is a kopia snapshot of a folder with two files: disk.img, the
// content of the disk, and point.json. disk.img is an indirect object made
// here: an index of segments, each an index of blocks, so that a backup
// writes the segments that changed and refers to the others. See index.go.
//
// Beside kopia's blobs lies one of ours, the identity; nothing is written to
// a place that does not show it. See identity.go and guard.go.
package kopia

import (
	"time"

	"github.com/kopia/kopia/repo/blob"

	"mooring.dev/mooring/pkg/image"

	"mooring.dev/mooring/hostsvc/internal/netguard"
	"mooring.dev/mooring/hostsvc/internal/repository"
)

// Options of an opener.
type Options struct {
	// Dir is a folder of this program on a local disk, mode 0700: locks and
	// copies of the repositories' indexes. It holds no secret.
	Dir string
	// Owner names this installation in the repositories it makes: only the owner
	// maintains a repository.
	Owner string
	// Checkpoint is how much may be stored, and for how long, until a running
	// backup makes sure that a crash loses no more of it. 0: 256 MiB and 30 s.
	Checkpoint      int64
	CheckpointEvery time.Duration
	// Upload and Download bound the bytes per second of all repositories
	// together; 0: no limit.
	Upload, Download int64
	// Guard judges the connections of places that are outside.
	Guard netguard.Guard
	// Now is the clock; nil: the machine's.
	Now func() time.Time
	// Wrap, if not nil, is put around the storage of every repository: tests
	// inject faults with it.
	Wrap func(blob.Storage) blob.Storage
}

type opener struct {
	Options
	up, down image.Pace
}

// New makes an opener. It starts nothing and touches nothing.
func New(o Options) repository.Opener {
	if o.Checkpoint == 0 {
		o.Checkpoint = 256 << 20
	}
	if o.CheckpointEvery == 0 {
		o.CheckpointEvery = 30 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &opener{Options: o, up: image.Pace{Rate: o.Upload}, down: image.Pace{Rate: o.Download}}
}
