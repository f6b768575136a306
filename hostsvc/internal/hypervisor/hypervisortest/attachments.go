package hypervisortest

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

var attachments = []sentence{
	{"Attach", "Attach plugs a disk into a VM, where it appears under its serial.", attachPlugs},
	{"Attach", "Read-only holds below the guest.", attachReadOnly},
	{"Attach", "Repeated for the same VM and mode: the same device.", attachRepeated},
	{"Attach", "Attached to another VM, or in the other mode: in-use.", attachElsewhere},
	{"Attach", "A VM that is off: unavailable.", attachOff},
	{"Attach", "No such disk: not-found.", attachAbsent},
	{"Detach", "Detach unplugs a disk.", detachUnplugs},
	{"Detach", "Not attached: nil.", detachNotAttached},
	{"Detach", "While anything in the guest has it mounted or open: in-use, with nothing changed; a hypervisor that cannot look into its guests relies on them to have let go.", detachMounted},
	{"Detach", "From a VM that is off it is always unplugged.", detachOff},
	{"Fence", "Fence cuts a VM off a disk without asking the guest: after nil nothing that VM does reaches the disk, and the disk can be attached elsewhere.", fenceCuts},
	{"Fence", "Not attached: nil.", fenceNotAttached},
	{"Attached", "Attached lists all attachments on all VMs: the truth.", attachedTruth},
}

func attachPlugs(t *testing.T, e *env) {
	r := e.disk(t)
	dev := e.attach(t, 0, r, false)
	require.Regexp(t, "^[a-z0-9]{8,64}$", dev.Serial)
	assert.Equal(t, hypervisor.Device{Ref: r, VM: e.VMs[0].ID, Serial: dev.Serial, Size: size}, dev)
	seen, err := e.Guest.Size(dev)
	require.NoError(t, err)
	assert.Equal(t, size, seen)
	require.NoError(t, e.Guest.Write(dev, 4096, []byte("data")))
	b, err := e.Guest.Read(dev, 4096, 4)
	require.NoError(t, err)
	assert.Equal(t, "data", string(b))
	e.detach(t, 0, r)
	// what was written through one VM is what the next one reads, by the same serial
	again := e.attach(t, 1, r, false)
	assert.Equal(t, dev.Serial, again.Serial)
	e.detach(t, 1, r)
	assert.Equal(t, "data", e.content(t, r, 4100)[4096:])
}

func attachReadOnly(t *testing.T, e *env) {
	r := e.disk(t)
	e.write(t, r, "before")
	dev := e.attach(t, 0, r, true)
	assert.True(t, dev.ReadOnly)
	b, err := e.Guest.Read(dev, 0, 6)
	require.NoError(t, err)
	assert.Equal(t, "before", string(b))
	require.Error(t, e.Guest.Write(dev, 0, []byte("after!")))
	e.detach(t, 0, r)
	assert.Equal(t, "before", e.content(t, r, 6))
}

func attachRepeated(t *testing.T, e *env) {
	for _, readOnly := range []bool{false, true} {
		r := e.disk(t)
		dev := e.attach(t, 0, r, readOnly)
		assert.Equal(t, dev, e.attach(t, 0, r, readOnly))
		all, err := e.h.Attached(e.ctx)
		require.NoError(t, err)
		assert.Len(t, all, 1)
		e.detach(t, 0, r)
	}
}

func attachElsewhere(t *testing.T, e *env) {
	for _, readOnly := range []bool{false, true} {
		r := e.disk(t)
		dev := e.attach(t, 0, r, readOnly)
		_, err := e.h.Attach(e.ctx, e.VMs[0].ID, r, !readOnly)
		requireKind(t, errkind.InUse, err)
		for _, mode := range []bool{false, true} {
			_, err = e.h.Attach(e.ctx, e.VMs[1].ID, r, mode)
			requireKind(t, errkind.InUse, err)
			assert.Contains(t, errkind.Text(err), e.VMs[0].Name, "the sentence names who has it")
		}
		require.NoError(t, e.h.Detach(e.ctx, e.VMs[1].ID, r), "not attached there")
		require.NoError(t, e.h.Fence(e.ctx, e.VMs[1].ID, r), "not attached there")
		all, err := e.h.Attached(e.ctx)
		require.NoError(t, err)
		assert.Equal(t, []hypervisor.Device{dev}, all)
		e.detach(t, 0, r)
		e.attach(t, 1, r, !readOnly)
		e.detach(t, 1, r)
	}
}

func attachOff(t *testing.T, e *env) {
	r := e.disk(t)
	e.SetPower(t, e.VMs[0].ID, false)
	_, err := e.h.Attach(e.ctx, e.VMs[0].ID, r, false)
	requireKind(t, errkind.Unavailable, err)
	assert.Contains(t, errkind.Text(err), e.VMs[0].Name)
	e.attach(t, 1, r, false)
	e.detach(t, 1, r)
	e.SetPower(t, e.VMs[0].ID, true)
	e.attach(t, 0, r, false)
	e.detach(t, 0, r)
}

func attachAbsent(t *testing.T, e *env) {
	for _, readOnly := range []bool{false, true} {
		_, err := e.h.Attach(e.ctx, e.VMs[0].ID, e.ref(), readOnly)
		requireKind(t, errkind.NotFound, err)
	}
}

func detachUnplugs(t *testing.T, e *env) {
	r := e.disk(t)
	dev := e.attach(t, 0, r, false)
	e.detach(t, 0, r)
	_, err := e.Guest.Read(dev, 0, 512)
	require.Error(t, err, "the guest has no such device any more")
	all, err := e.h.Attached(e.ctx)
	require.NoError(t, err)
	assert.Empty(t, all)
	e.detach(t, 0, r)
}

func detachNotAttached(t *testing.T, e *env) {
	e.detach(t, 0, e.disk(t))
	e.detach(t, 0, e.ref())
}

func detachMounted(t *testing.T, e *env) {
	r := e.disk(t)
	dev := e.attach(t, 0, r, false)
	unmount := e.Guest.Mount(t, dev)
	if e.Blind {
		unmount()
		e.detach(t, 0, r)
		return
	}
	err := e.h.Detach(e.ctx, e.VMs[0].ID, r)
	requireKind(t, errkind.InUse, err)
	assert.Contains(t, errkind.Text(err), e.VMs[0].Name)
	_, err = e.Guest.Read(dev, 0, 512)
	require.NoError(t, err, "nothing changed")
	all, err := e.h.Attached(e.ctx)
	require.NoError(t, err)
	assert.Equal(t, []hypervisor.Device{dev}, all)
	unmount()
	e.detach(t, 0, r)
}

func detachOff(t *testing.T, e *env) {
	r := e.disk(t)
	dev := e.attach(t, 0, r, false)
	e.Guest.Mount(t, dev)
	e.SetPower(t, e.VMs[0].ID, false)
	all, err := e.h.Attached(e.ctx)
	require.NoError(t, err)
	assert.Equal(t, []hypervisor.Device{dev}, all, "until somebody unplugs it")
	e.detach(t, 0, r)
	e.attach(t, 1, r, false)
	e.detach(t, 1, r)
}

func fenceCuts(t *testing.T, e *env) {
	// nobody uses it
	r := e.disk(t)
	dev := e.attach(t, 0, r, false)
	require.NoError(t, e.Guest.Write(dev, 0, []byte("before")))
	require.NoError(t, e.h.Fence(e.ctx, e.VMs[0].ID, r))
	require.Error(t, e.Guest.Write(dev, 0, []byte("after!")))
	assert.Equal(t, "before", e.content(t, r, 6))

	// somebody has it mounted
	r = e.disk(t)
	dev = e.attach(t, 0, r, false)
	unmount := e.Guest.Mount(t, dev)
	require.NoError(t, e.h.Fence(e.ctx, e.VMs[0].ID, r))
	require.NoError(t, e.h.Fence(e.ctx, e.VMs[0].ID, r), "repeated")
	all, err := e.h.Attached(e.ctx)
	require.NoError(t, err)
	assert.Empty(t, all)
	taken := e.attach(t, 1, r, false)
	require.NoError(t, e.Guest.Write(taken, 0, []byte("taken")))
	require.Error(t, e.Guest.Write(dev, 0, []byte("after")))
	unmount()
	b, err := e.Guest.Read(taken, 0, 5)
	require.NoError(t, err)
	assert.Equal(t, "taken", string(b))
	e.detach(t, 1, r)
	require.NoError(t, e.h.Delete(e.ctx, r))
}

func fenceNotAttached(t *testing.T, e *env) {
	require.NoError(t, e.h.Fence(e.ctx, e.VMs[0].ID, e.disk(t)))
	require.NoError(t, e.h.Fence(e.ctx, e.VMs[0].ID, e.ref()))
}

func attachedTruth(t *testing.T, e *env) {
	all, err := e.h.Attached(e.ctx)
	require.NoError(t, err)
	require.Empty(t, all)
	var want []hypervisor.Device
	far := e.refOn(e.Other)
	require.NoError(t, e.h.Create(e.ctx, far, size, volspec.Thin))
	for i, r := range []hypervisor.Ref{e.disk(t), e.disk(t), far} {
		want = append(want, e.attach(t, i%2, r, i == 1))
	}
	all, err = e.h.Attached(e.ctx)
	require.NoError(t, err)
	assert.ElementsMatch(t, want, all)
	for i, d := range want {
		e.detach(t, i%2, d.Ref)
	}
	all, err = e.h.Attached(e.ctx)
	require.NoError(t, err)
	assert.Empty(t, all)
}
