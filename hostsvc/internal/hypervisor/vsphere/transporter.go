package vsphere

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/keylock"
	"mooring.dev/mooring/pkg/log"
)

const (
	// transporting begins the settings of the transporter that tell the places of
	// the disks that are plugged in for their content; an id follows. The change
	// that plugs a disk in makes the setting, and that which takes it out removes
	// it: vSphere makes all of a change or nothing. No other disk is ever touched.
	transporting = "mooring.transport."
	// takingOut is how long taking a disk out may take.
	takingOut = 2 * time.Minute
	// blindness is how long nothing is plugged in after a disk was not seen here.
	blindness = 10 * time.Minute
)

// transporter is what is remembered of the VM through which disks move.
type transporter struct {
	mu    sync.Mutex      // guards the rest
	inUse map[string]bool // ids of disks that are plugged in by this process
	swept bool            // nothing else is plugged in for its content
	blind error           // why disks are not seen here, until then
	until time.Time

	sweeping keylock.Map[struct{}] // held by who sweeps
}

func (t *transporter) begin(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.inUse == nil {
		t.inUse = map[string]bool{}
	}
	t.inUse[id] = true
}

// end lets an id go. What is still plugged in then is swept later.
func (t *transporter) end(id string, out bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.inUse, id)
	t.swept = t.swept && out
}

func (t *transporter) has(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.inUse[id]
}

func (t *transporter) clean() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.swept
}

func (t *transporter) cleaned() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.swept = true
}

// unseen remembers that a disk was not seen here: waiting for each of many would
// take longer than any other way.
func (t *transporter) unseen(why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.blind, t.until = why, time.Now().Add(blindness)
}

// seen is why disks are not seen here, nil when they may be.
func (t *transporter) seen() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Now().After(t.until) {
		return nil
	}
	return t.blind
}

// isTransporter reports whether m is the VM that is set.
func (v *VSphere) isTransporter(m vcenter.VM) bool {
	t := v.o.Transporter
	return t != "" && (m.Name == t || m.ID == strings.ToLower(t))
}

// findTransporter finds the VM. None, or several: unsupported.
func (v *VSphere) findTransporter(ctx context.Context) (vcenter.VM, error) {
	vms, err := v.inv.VMs(ctx)
	if err != nil {
		return vcenter.VM{}, err
	}
	vms = slices.DeleteFunc(vms, func(m vcenter.VM) bool { return !v.isTransporter(m) })
	switch len(vms) {
	case 0:
		return vcenter.VM{}, errkind.New(errkind.Unsupported, "vCenter shows no VM %q, which is to be the transporter: correct vsphere.transporter, or the permissions of the user", v.o.Transporter)
	case 1:
		return vms[0], nil
	}
	return vcenter.VM{}, errkind.New(errkind.Unsupported, "there are %d VMs %q: name the transporter by its instance UUID", len(vms), v.o.Transporter)
}

// CheckTransporter tells whether the transporter that is set can be used, and
// what it is called. Not set: "".
func (v *VSphere) CheckTransporter(ctx context.Context) (string, error) {
	if v.o.Transporter == "" {
		return "", nil
	}
	m, err := v.findTransporter(ctx)
	if err != nil {
		return v.o.Transporter, err
	}
	now, err := v.now(ctx, "looking at transporter VM "+m.Name, m)
	if err != nil {
		return m.Name, err
	}
	return m.Name, cmp.Or(now.unfit(m), v.transporter.seen())
}

// unfit is unsupported with the reason why a VM is no transporter now.
func (now machineNow) unfit(m vcenter.VM) error {
	p := power(m)
	switch {
	case p != hypervisor.On:
		return errkind.New(errkind.Unsupported, "transporter VM %s is %s: mooringd has to run in it", m.Name, inWords(m, p))
	case !now.shows():
		return errkind.New(errkind.Unsupported, "transporter VM %s does not tell its guest the serials of its disks: set %s = TRUE, and power it off and on", m.Name, enableUUID)
	case len(now.snapshots) > 0:
		return errkind.New(errkind.Unsupported, "transporter VM %s has snapshot %s, which would hold on to disks: remove it, and make none of this VM", m.Name, strings.Join(now.snapshots, ", "))
	}
	return nil
}

// left are the ids of what is plugged in by nobody: a process that was killed
// has left it.
func (now machineNow) left(t *transporter) (ids []string) {
	for key, text := range now.extra {
		id, ok := strings.CutPrefix(key, transporting)
		if _, is := parsePlace(text); ok && is && !t.has(id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// sweptThen changes the transporter, after what is left in it is taken out.
func (v *VSphere) sweptThen(ctx context.Context, what string, m vcenter.VM, prepare func(machineNow) (*types.VirtualMachineConfigSpec, error)) error {
	for swept := false; ; {
		err := v.change(ctx, what, m, func(now machineNow) (*types.VirtualMachineConfigSpec, error) {
			if ids := now.left(&v.transporter); len(ids) > 0 {
				return now.takeOut(ids...), nil
			}
			swept = true
			return prepare(now)
		})
		if err != nil || swept {
			return err
		}
	}
}

// sweepTransporter takes out what a process that was killed has left in the
// transporter, before something is done that it could hinder. What it cannot do
// it tries the next time.
func (v *VSphere) sweepTransporter(ctx context.Context) {
	if v.o.Transporter == "" || v.transporter.clean() {
		return
	}
	unlock, err := v.transporter.sweeping.Lock(ctx, struct{}{})
	if err != nil {
		return
	}
	defer unlock()
	if v.transporter.clean() {
		return
	}
	m, err := v.findTransporter(ctx)
	if err == nil {
		// Who holds the lock of the VM may be who sweeps: the version of the VM is
		// enough to make no change twice.
		err = v.sweptThen(ctx, "sweeping transporter VM "+m.Name, m, func(machineNow) (*types.VirtualMachineConfigSpec, error) { return nil, nil })
	}
	switch {
	case err == nil || errkind.Is(err, errkind.Unsupported): // there is no such VM: the doctor says so
		v.transporter.cleaned()
	case ctx.Err() == nil:
		log.G(ctx).WithField(log.VM, cmp.Or(m.Name, v.o.Transporter)).WithField(log.Err, err.Error()).Warn("what may be left in the transporter is not taken out")
	}
}
