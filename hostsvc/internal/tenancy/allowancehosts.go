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

// How long a look at the hosts counts, and how long one may take.
const (
	placesKept  = 30 * time.Second
	placesLimit = 20 * time.Second
)

// placesCache holds the newest look at the hosts.
type placesCache struct {
	mu   sync.Mutex // guards the rest
	last placement
	at   time.Time
}

// known is the newest placement without a look.
func (s *Service) known() placement {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	if s.cache.at.IsZero() && s.o.Hosts != nil {
		return placement{err: errkind.New(errkind.Unavailable, "the hosts of the VMs are not known yet: repeat the command in a minute")}
	}
	return s.cache.last
}

// places is where VMs run. While the hypervisor does not answer, what it said
// last counts; where it does not tell, no VM uses sockets.
func (s *Service) places(ctx context.Context) placement {
	if s.o.Hosts == nil {
		return placement{}
	}
	s.cache.mu.Lock()
	last, at := s.cache.last, s.cache.at
	s.cache.mu.Unlock()
	if !at.IsZero() && time.Since(at) < placesKept {
		return last
	}
	ctx, cancel := context.WithTimeout(ctx, placesLimit)
	defer cancel()
	hosts, err := s.o.Hosts.VMHosts(ctx)
	if err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Warn("the hosts of the VMs are not known")
		if at.IsZero() {
			last.err = errkind.Wrap(errkind.Unavailable, err, "the sockets of the hosts of the VMs are not known: repeat the command when the hypervisor answers")
		}
		return last
	}
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	s.cache.last, s.cache.at = placement{hosts: hosts}, time.Now()
	return s.cache.last
}
