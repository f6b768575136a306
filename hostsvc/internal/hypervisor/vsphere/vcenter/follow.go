package vcenter

import (
	"context"
	"time"

	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/pkg/log"
)

const (
	// quiet is how long one request waits for a change: shorter than what is
	// between us and vCenter forgets an idle connection.
	quiet    = 30 * time.Second
	reopened = time.Second
)

// Follow tells see of every VM that changes, until ctx ends, which is no error.
// before is nil for one that is new, after for one that is gone. It begins with
// what was last read of the inventory, and after a lost connection it goes on
// with what has changed meanwhile.
func (i *Inventory) Follow(ctx context.Context, see func(before, after *VM)) error {
	i.mu.Lock()
	known := i.has.copy().vms
	i.mu.Unlock()
	for _, v := range known {
		see(nil, v)
	}
	for wait := reopened; ; wait = min(2*wait, time.Minute) {
		began := time.Now()
		err := i.c.in(ctx, "following the VMs", func(ctx context.Context, s *conn) error { return follow(ctx, s, known, see) })
		if time.Since(began) > quiet {
			wait = reopened
		}
		select {
		case <-ctx.Done():
			return nil
		default:
			log.G(ctx).WithField(log.Err, err.Error()).Warn("vCenter cannot be followed: it is tried again")
		}
		if !pause(ctx, wait) {
			return nil
		}
	}
}

func follow(ctx context.Context, s *conn, known machines, see func(before, after *VM)) error {
	st, err := openStream(ctx, s, ofVMs)
	if err != nil {
		return err
	}
	defer st.abandon(ctx)
	there := map[types.ManagedObjectReference]bool{}
	step := func(u types.ObjectUpdate) {
		before := known[u.Obj]
		known.apply(u)
		there[u.Obj] = true
		if after := known[u.Obj]; before != nil || after != nil {
			see(before, after)
		}
	}
	if err := st.changes(ctx, 0, step); err != nil {
		return err
	}
	for ref, gone := range known {
		if !there[ref] {
			delete(known, ref)
			see(gone, nil)
		}
	}
	for {
		if err := st.changes(ctx, quiet, step); err != nil {
			return err
		}
	}
}
