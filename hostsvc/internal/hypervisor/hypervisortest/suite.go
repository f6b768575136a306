// Package hypervisortest is the suite that every implementation of the
// hypervisor contract passes, and every decorator of one. Its subtests bear
// the sentences of the contract as names; a test of this package sees to it
// that none is forgotten when the contract changes.
package hypervisortest

import (
	"context"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// Fixture is a world to test in. Each subtest gets its own, empty of disks.
type Fixture struct {
	Hypervisor hypervisor.Hypervisor
	Datastore  string           // online, with room for 200 MiB
	Other      string           // another of the same kind
	VMs        [2]hypervisor.VM // two that are on
	Guest      Guest            // what programs in those VMs do
	Blind      bool             // it cannot tell whether a guest uses a disk
	Reopen     func(*testing.T) hypervisor.Hypervisor
	// Corrupt makes an unreadable entry where the disk r is or would be.
	Corrupt func(t *testing.T, r hypervisor.Ref)
	// SetPower switches a VM off, or on again with a new boot.
	SetPower func(t *testing.T, vm volspec.VMID, on bool)
	// SetState makes a datastore offline or read-only.
	SetState func(t *testing.T, datastore string, s hypervisor.DatastoreState)
	// Machines makes VMs with disks of their own; nil where there are no images
	// of VMs.
	Machines WholeMachines
	// Tree changes folders of VMs; nil where none can be made.
	Tree FolderTree
}

// Guest does what programs inside a VM do with a device they were given.
type Guest interface {
	// Write writes through to the disk. Read-only must show as an error of
	// opening or of writing.
	Write(dev hypervisor.Device, off int64, data []byte) error
	Read(dev hypervisor.Device, off int64, n int) ([]byte, error)
	Size(dev hypervisor.Device) (volspec.Size, error)
	// Mount puts a filesystem on the device and mounts it; or does what else
	// counts as having it mounted.
	Mount(t *testing.T, dev hypervisor.Device) (unmount func())
}

type sentence struct {
	in    string // the method or declaration whose comment says it
	text  string // word for word
	check func(*testing.T, *env)
}

// Run tests that what fixture makes keeps the contract.
func Run(t *testing.T, fixture func(t *testing.T) Fixture) { run(t, fixture, sentences()) }

// RunContent tests only what is about the content of disks, for another way on which
// it moves.
func RunContent(t *testing.T, fixture func(t *testing.T) Fixture) {
	run(t, fixture, slices.Concat(images, builds, machineImages, machineBuilds))
}

func run(t *testing.T, fixture func(t *testing.T) Fixture, all []sentence) {
	for _, s := range all {
		t.Run(s.in+": "+s.text, func(t *testing.T) {
			f := fixture(t)
			s.check(t, &env{Fixture: f, h: f.Hypervisor, ctx: t.Context(), group: volspec.VMGroupID(uuid.NewString())})
		})
	}
}

func sentences() (all []sentence) {
	for _, part := range [][]sentence{general, disks, clones, snapshots, images, moments, builds, machines, attachments, datastores, watching, guestInfo, machineImages, machineBuilds, folders} {
		all = append(all, part...)
	}
	return all
}

// env is a fixture with the shorthands of the checks.
type env struct {
	Fixture
	h     hypervisor.Hypervisor
	ctx   context.Context
	group volspec.VMGroupID
}

const size = 16 * volspec.MiB

// ref names a disk that does not exist yet.
func (e *env) ref() hypervisor.Ref { return e.refOn(e.Datastore) }

func (e *env) refOn(datastore string) hypervisor.Ref {
	return hypervisor.Ref{Datastore: datastore, Group: e.group, Volume: volspec.VolumeID(uuid.NewString())}
}

// disk makes a thin disk.
func (e *env) disk(t *testing.T) hypervisor.Ref {
	r := e.ref()
	require.NoError(t, e.h.Create(e.ctx, r, size, volspec.Thin))
	return r
}

func (e *env) attach(t *testing.T, vm int, r hypervisor.Ref, readOnly bool) hypervisor.Device {
	dev, err := e.h.Attach(e.ctx, e.VMs[vm].ID, r, readOnly)
	require.NoError(t, err)
	return dev
}

func (e *env) detach(t *testing.T, vm int, r hypervisor.Ref) {
	require.NoError(t, e.h.Detach(e.ctx, e.VMs[vm].ID, r))
}

// write puts data at the beginning of a disk that is not attached.
func (e *env) write(t *testing.T, r hypervisor.Ref, data string) {
	dev := e.attach(t, 0, r, false)
	require.NoError(t, e.Guest.Write(dev, 0, []byte(data)))
	e.detach(t, 0, r)
}

// content is the beginning of a disk that is not attached.
func (e *env) content(t *testing.T, r hypervisor.Ref, n int) string {
	dev := e.attach(t, 1, r, true)
	b, err := e.Guest.Read(dev, 0, n)
	require.NoError(t, err)
	e.detach(t, 1, r)
	return string(b)
}

func (e *env) snapshotter(t *testing.T) hypervisor.Snapshotter {
	s, ok := hypervisor.As[hypervisor.Snapshotter](e.h)
	require.True(t, ok, "the implementation under test has no snapshots")
	return s
}

func (e *env) store(t *testing.T, name string) hypervisor.Datastore {
	all, err := e.h.Datastores(e.ctx)
	require.NoError(t, err)
	for _, d := range all {
		if d.Name == name {
			return d
		}
	}
	require.Fail(t, "datastore not listed", name)
	return hypervisor.Datastore{}
}

// list is the disks of a datastore by reference, and the errors met.
func (e *env) list(datastore string) (found map[hypervisor.Ref]hypervisor.Disk, errs []error) {
	found = map[hypervisor.Ref]hypervisor.Disk{}
	for d, err := range e.h.List(e.ctx, datastore) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		found[d.Ref] = d
	}
	return found, errs
}

// absent checks that nothing is left of r.
func (e *env) absent(t *testing.T, r hypervisor.Ref) {
	t.Helper()
	_, err := e.h.Stat(e.ctx, r)
	requireKind(t, errkind.NotFound, err)
	found, errs := e.list(r.Datastore)
	require.Empty(t, errs)
	require.NotContains(t, found, r)
}

// requireKind checks an error's kind, and that there is a sentence to show.
func requireKind(t *testing.T, want errkind.Kind, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, want, errkind.Of(err), "%v", err)
	require.NotEmpty(t, errkind.Text(err))
}
