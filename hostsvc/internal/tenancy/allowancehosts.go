package tenancy

import (
	"context"
	"sync"
	"time"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

// placement says where VMs run; err why that is not known.
type placement struct {
	hosts map[volspec.VMID]hypervisor.Host
	err   error
}

// sockets are those of the hosts that run these VMs, each host counted once. A
// VM that is gone runs nowhere.
func (p placement) sockets(vms []volspec.VMID) (n int64) {
	seen := map[string]bool{}
	for _, id := range vms {
		if h, ok := p.hosts[id]; ok && !seen[h.ID] {
			seen[h.ID] = true
			n += int64(h.Sockets)
		}
	}
	return n
}

// How long a look at the hosts counts, one that failed counts, and how long one
// may take.
const (
	placesKept  = 30 * time.Second
	placesAway  = 10 * time.Second
	placesLimit = 20 * time.Second
)

// placesCache holds the newest look at the hosts.
type placesCache struct {
	mu    sync.Mutex // guards the rest
	last  placement
	until time.Time // no other look is needed
}

// newPlacesCache is where nobody looked yet.
func newPlacesCache(h Hosts) *placesCache {
	c := &placesCache{}
	if h != nil {
		c.last.err = errkind.New(errkind.Unavailable, "the hosts of the VMs are not known yet: repeat the command in a minute")
	}
	return c
}

// get returns the newest look, and whether it does. If not, the caller looks;
// meanwhile it does for all others, if there was a good one.
func (c *placesCache) get() (last placement, fresh bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fresh = time.Now().Before(c.until)
	if !fresh && c.last.err == nil {
		c.until = time.Now().Add(placesLimit)
	}
	return c.last, fresh
}

// known is the newest placement without a look.
func (s *Service) known() placement {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	return s.cache.last
}

// places is where VMs run. While the hypervisor does not answer, what it said
// last counts, and not every call waits for it; where it does not tell, no VM
// uses sockets.
func (s *Service) places(ctx context.Context) placement {
	if s.o.Hosts == nil {
		return placement{}
	}
	last, fresh := s.cache.get()
	if fresh {
		return last
	}
	look, cancel := context.WithTimeout(ctx, placesLimit)
	defer cancel()
	hosts, err := s.o.Hosts.VMHosts(look)
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	if err == nil {
		s.cache.last, s.cache.until = placement{hosts: hosts}, time.Now().Add(placesKept)
		return s.cache.last
	}
	s.cache.until = time.Time{}
	if ctx.Err() != nil { // the caller left: that says nothing of the hypervisor
		return s.cache.last
	}
	log.G(ctx).WithField(log.Err, err.Error()).Warn("the hosts of the VMs are not known")
	if s.cache.last.err != nil {
		s.cache.last.err = errkind.Wrap(errkind.Unavailable, err, "the sockets of the hosts of the VMs are not known: repeat the command when the hypervisor answers")
	}
	s.cache.until = time.Now().Add(placesAway)
	return s.cache.last
}
