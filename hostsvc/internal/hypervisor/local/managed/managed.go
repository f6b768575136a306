// Package managed keeps datastores that mooringd makes itself, for machines
// whose own file system shares no blocks: an xfs with reflinks in a sparse
// file, mounted at the datastore's path.
//
// Of a datastore at PATH:
//
//	PATH           the mount point: a folder of its own, empty
//	PATH.xfs       the image, on the file system that PATH lies on
//	PATH.xfs.tmp   an image being made; nothing of worth is in it
//
// and in the state folder one record for each image, which says that it was
// made. It is made once. An image that was made and is missing is a disk that
// is not mounted, or a loss: the datastore is offline then, and stays so until
// it is back. Nothing here ever removes or shrinks an image.
//
// The mount and its loop device outlive the process, and are found again by
// what the kernel says of them. When the mount goes, as at the end of a mount
// namespace, the kernel frees the loop device, unless disks in it are attached:
// they keep the file system, and the next mount shows the same one.
package managed

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/keylock"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

// MinSize is the smallest file system that xfs makes, with some room.
const MinSize = 512 * volspec.MiB

// Store is a managed datastore as it is configured.
type Store struct {
	Name, Path string
	Size       volspec.Size
}

// Image is the path of the file that a store at path lies in.
func Image(path string) string { return filepath.Clean(path) + ".xfs" }

func (s Store) image() string { return Image(s.Path) }

// Keeper brings managed datastores to their paths. It is safe for concurrent
// use.
type Keeper struct {
	dir   string        // of the records
	again time.Duration // after a failure a store is left alone that long
	work  keylock.Map[string]

	mu     sync.Mutex // guards what follows
	stores map[string]Store
	failed map[string]failure
}

// failure is the last try that failed.
type failure struct {
	err error
	at  time.Time
}

// New is a keeper of no datastores; its records are in the folder dir, which
// is made when needed.
func New(dir string) *Keeper {
	return &Keeper{dir: dir, again: 5 * time.Second, stores: map[string]Store{}, failed: map[string]failure{}}
}

// Start sets the datastores that are kept and brings each to its path. What
// cannot be brought is logged, told by Reports, and tried again by Ready.
func (k *Keeper) Start(ctx context.Context, stores []Store) {
	k.set(stores)
	_ = k.bringAll(ctx, stores, nil)
}

// Apply is Start for a running service: if a datastore that is new or was
// changed cannot be brought, that is the error, and those from before are
// kept. A size below that of the image is none: it is ignored, see Check.
func (k *Keeper) Apply(ctx context.Context, stores []Store) error {
	before := k.Stores()
	k.set(stores)
	err := k.bringAll(ctx, stores, before)
	if err != nil {
		k.set(before)
	}
	return err
}

// Stores are the datastores that are kept.
func (k *Keeper) Stores() []Store {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Collect(maps.Values(k.stores))
}

func (k *Keeper) set(stores []Store) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stores, k.failed = map[string]Store{}, map[string]failure{}
	for _, s := range stores {
		k.stores[s.Name] = s
	}
}

// bringAll is the error of the first that cannot be brought and was not the
// same before.
func (k *Keeper) bringAll(ctx context.Context, stores, before []Store) error {
	var first error
	for _, s := range stores {
		err := k.bring(ctx, s)
		if err == nil {
			continue
		}
		log.G(ctx).WithField(log.Datastore, s.Name).WithField(log.Err, err.Error()).Error("managed datastore is not as configured")
		if first == nil && !slices.Contains(before, s) && !errkind.Is(err, errkind.Invalid) {
			first = err
		}
	}
	return first
}

// Ready brings the datastore of that name to its path, if it is a managed one
// and away. The error says why it cannot be had.
func (k *Keeper) Ready(ctx context.Context, name string) error {
	k.mu.Lock()
	s, ok := k.stores[name]
	last := k.failed[name]
	k.mu.Unlock()
	if !ok {
		return nil
	}
	if last.err != nil && !errkind.Is(last.err, errkind.Invalid) && time.Since(last.at) < k.again {
		return last.err
	}
	err := k.bring(ctx, s)
	if errkind.Is(err, errkind.Invalid) {
		return nil // it is there, and larger than configured
	}
	return err
}

func (k *Keeper) bring(ctx context.Context, s Store) error {
	unlock, err := k.work.Lock(ctx, s.image())
	if err == nil {
		err = k.ensure(ctx, s)
		unlock()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.failed, s.Name)
	if err != nil && k.stores[s.Name] == s {
		k.failed[s.Name] = failure{err, time.Now()}
	}
	return err
}
