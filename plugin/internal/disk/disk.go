// Package disk finds, checks, formats, mounts and grows the guest's block
// devices. It is the driver's Disks, Mounts and Freezer on a real kernel.
//
// Disks are found by serial, never by names such as sdb, and verified before
// use. Mounting is done by system call; the only programs that run are the
// filesystems' own tools, through one wrapper that has no shell. All methods
// are safe for concurrent use; callers serialise calls about one disk.
package disk

import (
	"path/filepath"

	"mooring.dev/mooring/plugin/internal/driver"
)

// Options say where things are. Empty fields have their usual places.
type Options struct {
	Root string // mount root, absolute; volumes are mounted directly below
	Dev  string // /dev
	Sys  string // /sys
	// Freezes is the folder for records of freezes in progress, made when it is
	// needed: Root/.state/freezes.
	Freezes string
}

// Guest is the disks of this guest.
type Guest struct {
	root, dev, sys, freezes string
}

var (
	_ driver.Disks   = (*Guest)(nil)
	_ driver.Mounts  = (*Guest)(nil)
	_ driver.Freezer = (*Guest)(nil)
)

// New returns the disks of this guest.
func New(o Options) *Guest {
	g := &Guest{root: filepath.Clean(o.Root), dev: o.Dev, sys: o.Sys, freezes: o.Freezes}
	if g.dev == "" {
		g.dev = "/dev"
	}
	if g.sys == "" {
		g.sys = "/sys"
	}
	if g.freezes == "" {
		g.freezes = filepath.Join(g.root, ".state", "freezes")
	}
	return g
}
