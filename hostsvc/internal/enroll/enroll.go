// Package enroll gives virtual machines their identity on TLS channels: an
// authority of this installation issues each a client certificate that names
// the hypervisor's id of the VM, and every request asks here whether that
// certificate still counts.
//
// A VM enrols with a one-time code that an administrator carries to it, or
// that its hypervisor places in it. Each enrolment begins a new generation of
// the VM and ends all certificates of the ones before. Within a generation a
// VM renews its certificate over the channel itself; the first use of a new
// certificate replaces the ones before. One that was replaced and is shown
// again on a new connection comes from a copy of the VM, or from a VM that was
// set back to an earlier state: it is refused, and the VM marked until it is
// enrolled anew.
package enroll

import (
	"cmp"
	"context"
	"time"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/ratelimit"
	"mooring.dev/mooring/pkg/volspec"
)

// CodeLife is how long a one-time code can be used.
const CodeLife = 10 * time.Minute

// Limits of what a VM or a stranger can ask for.
const (
	maxAttempts  = 5                   // wrong proofs for one code
	maxPerMinute = 20                  // requests to enrol or renew from one address or VM
	keepExpired  = 30 * 24 * time.Hour // so that old certificates are still recognised
	minLife      = time.Minute
)

// Machines is what this package wants of the hypervisor.
type Machines interface {
	VMs(ctx context.Context) ([]hypervisor.VM, error)
	VM(ctx context.Context, id volspec.VMID) (hypervisor.VM, error)
}

// Options are the parts and settings of a Service.
type Options struct {
	Store     Store
	Machines  Machines
	GuestInfo hypervisor.GuestInfo // nil: the hypervisor cannot place anything in a VM
	Authority *Authority
	URL       func() string    // of the channel, as VMs reach it; "" while there is none
	Auto      func() bool      // whether VMs of vmgroups are invited by themselves
	Life      time.Duration    // of a certificate; 0: 7 days
	Now       func() time.Time // nil: time.Now
}

// Service enrols VMs. It is safe for concurrent use.
type Service struct {
	o       Options
	limiter *ratelimit.Limiter
	placed  map[volspec.VMID]placement // of Run alone
}

var errTooMany = errkind.New(errkind.Unavailable, "too many requests for certificates: wait a minute and repeat")

// New makes a service. It starts nothing.
func New(o Options) *Service {
	o.Life = max(cmp.Or(o.Life, 7*24*time.Hour), minLife)
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Service{o: o, limiter: ratelimit.New(maxPerMinute, o.Now, errTooMany), placed: map[volspec.VMID]placement{}}
}

// audit is one line about a VM.
func (s *Service) audit(ctx context.Context, tx Tx, c volspec.Caller, action string, vm volspec.VMID, name, outcome, detail string) error {
	group, err := tx.GroupOfVM(vm)
	if err != nil && !absent(err) {
		return err
	}
	a := c.Audited()
	a.Time, a.VMGroup, a.Action, a.Object = s.o.Now().UTC(), group.Name, action, name
	a.Outcome, a.Detail, a.Request = outcome, detail, log.Request(ctx)
	return tx.AddAudit(a)
}
