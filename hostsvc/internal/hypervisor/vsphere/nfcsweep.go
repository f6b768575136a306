package vsphere

import (
	"context"
	"strings"
	"sync"
	"time"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
)

// carriers are those of this process: in use, or left because they could not be
// removed.
type carriers struct {
	first sync.Once // the sweep at the start
	mu    sync.Mutex
	left  map[string]bool // guarded by mu
}

func (c *carriers) begin(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left == nil {
		c.left = map[string]bool{}
	}
	c.left[id] = false
}

// end lets an id go; what is not gone then is left.
func (c *carriers) end(id string, gone bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if gone {
		delete(c.left, id)
		return
	}
	c.left[id] = true
}

// of reports whether an id is one of this process, and whether it is left.
func (c *carriers) of(id string) (left, ours bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	left, ours = c.left[id]
	return left, ours
}

// isCarrier reports whether a VM can be a carrier, and its id.
func isCarrier(name string) (id string, ok bool) {
	id, ok = strings.CutPrefix(name, carrierPrefix)
	return id, ok && len(id) == 36 && hypervisor.ValidID(id)
}

// carriersThere are the VMs that can be carriers.
func (v *VSphere) carriersThere(ctx context.Context) (found []vcenter.VM, err error) {
	vms, err := v.inv.VMs(ctx)
	for _, m := range vms {
		if _, ok := isCarrier(m.Name); ok {
			found = append(found, m)
		}
	}
	return found, err
}

// sweepAtStart is sweepCarriers for the first time, as far as it can.
func (v *VSphere) sweepAtStart(ctx context.Context) {
	v.carriers.first.Do(func() { _ = v.sweepCarriers(ctx) })
}

// sweepCarriers removes carriers that nobody goes on with: those that this process
// could not remove, and old ones. The disks that were given to them stay.
func (v *VSphere) sweepCarriers(ctx context.Context) error {
	all, err := v.carriersThere(ctx)
	if err != nil {
		return err
	}
	for _, m := range all {
		id, _ := isCarrier(m.Name)
		left, ours := v.carriers.of(id)
		if ours && !left {
			continue
		}
		c := &carrier{v: v, id: id, what: "removing VM " + m.Name + ", which is left of moving a disk", m: m}
		if !ours {
			now, err := v.now(ctx, c.what, m)
			if errkind.Is(err, errkind.NotFound) {
				continue
			}
			if err != nil {
				return err
			}
			_, text, _ := strings.Cut(now.extra[carrying], " ")
			begun, err := time.Parse(time.RFC3339, text)
			if err != nil || time.Since(begun) < abandoned {
				continue
			}
		}
		if err := c.remove(ctx); err != nil {
			log.G(ctx).WithField(log.VM, m.Name).WithField(log.Err, err.Error()).Warn("a VM that was made to move a disk cannot be removed: it is tried again")
		}
	}
	return nil
}
