package driver

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/keylock"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/plugin/internal/ledger"
)

// Options are what a Driver works with. All fields are required except those
// that say what their zero value means.
type Options struct {
	Host   Host
	Disks  Disks
	Mounts Mounts
	Engine Engine
	Ledger *ledger.Ledger
	Cache  *Cache

	// Orders and Freezer let the host service freeze volumes. Both nil: it
	// cannot.
	Orders  Orders
	Freezer Freezer

	Root    string // mount root; a volume is mounted at Root/<volume id>
	BootID  string // of this boot of the guest
	Version string // of the plugin

	// Interval is the time between two reconciliations, and how long something
	// must look unused before it is given back. 0: a minute.
	Interval time.Duration
	// Beat is the time between two heartbeats. 0: ten seconds.
	Beat time.Duration
	// FindDisk bounds the wait for a disk to appear. 0: twenty seconds.
	FindDisk time.Duration
	// Now is the clock. nil: time.Now.
	Now func() time.Time
}

// Driver serves Docker's volume calls. Its methods are safe for concurrent
// use and idempotent where Docker may repeat them. Nothing happens before Run.
type Driver struct {
	o     Options
	locks keylock.Map[volspec.VolumeID]
	works *works
	host  health

	ready     chan struct{} // closed after the first reconciliation
	readyOnce sync.Once
	wake      chan struct{} // capacity one: reconcile soon

	looks lookups

	mu        sync.Mutex                     // guards what follows; never held across I/O
	attaching map[string]int                 // volume part of a name → Attach calls in flight
	idle      map[volspec.VolumeID]idleSince // since when something looks unused
	alarmed   map[volspec.VolumeID]struct{}  // volumes whose shadowing was reported
}

// New makes a driver; it starts nothing.
func New(o Options) *Driver {
	if o.Interval <= 0 {
		o.Interval = time.Minute
	}
	if o.Beat <= 0 {
		o.Beat = 10 * time.Second
	}
	if o.FindDisk <= 0 {
		o.FindDisk = 20 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	d := &Driver{
		o: o, works: newWorks(), ready: make(chan struct{}), wake: make(chan struct{}, 1),
		attaching: map[string]int{}, idle: map[volspec.VolumeID]idleSince{},
		alarmed: map[volspec.VolumeID]struct{}{},
	}
	d.looks.slots = make(chan struct{}, maxLookups)
	return d
}

// path is where a volume is mounted. Ids come from the host service; one that
// is no UUID could name any folder.
func (d *Driver) path(id volspec.VolumeID) (string, error) {
	if u, err := uuid.Parse(string(id)); err != nil || u.String() != string(id) {
		return "", errkind.New(errkind.Corrupt, "the host service answered with volume id %q, which is not valid: are plugin and service of compatible versions?", id)
	}
	return filepath.Join(d.o.Root, string(id)), nil
}

// waitReady waits until the first reconciliation has been made. Calls that
// change uses wait for it, each within its own deadline.
func (d *Driver) waitReady(ctx context.Context) error {
	select {
	case <-d.ready:
		return nil
	case <-ctx.Done():
		return errkind.Wrap(errkind.Unavailable, context.Cause(ctx), "the plugin is still starting: repeat the command")
	}
}

// poke asks for a reconciliation soon.
func (d *Driver) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}
