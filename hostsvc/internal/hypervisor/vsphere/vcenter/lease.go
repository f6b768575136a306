package vcenter

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/pkg/errkind"
)

// Lease is the right to transfer whole disks of one VM. As long as it is held
// vSphere neither powers nor moves the VM. It ends with Complete or with Abort; what
// neither reaches ends by itself, after minutes without a sign of life.
type Lease struct {
	c    *Client
	what string
	ref  types.ManagedObjectReference

	VM    types.ManagedObjectReference
	Disks []LeaseDisk
	alive time.Duration // within which it must give a sign of life
	over  bool          // it was completed
}

// LeaseDisk is one disk of a lease.
type LeaseDisk struct {
	Key        string // tells its place in the VM, after the last slash: "ParaVirtualSCSIController0:0"
	url        string
	thumbprint string // of the certificate of the host that has it; "" when it is vCenter's
	size       int64  // about as much is to come, 0 when vSphere does not say
}

// Lease begins a lease with start and waits until it is ready. While the VM is busy
// with something else the start is repeated.
func (c *Client) Lease(ctx context.Context, what string, start func(ctx context.Context, vc *vim25.Client) (types.ManagedObjectReference, error)) (*Lease, error) {
	l := &Lease{c: c, what: what}
	for wait := busyWait; ; wait = min(2*wait, 5*time.Second) {
		err := c.Do(ctx, what, func(ctx context.Context, vc *vim25.Client) (err error) {
			l.ref, err = start(ctx, vc)
			return err
		})
		if err == nil {
			break
		}
		if !Is[*types.TaskInProgress](err) || !pause(ctx, wait) {
			return nil, err
		}
	}
	if err := l.ready(ctx); err != nil {
		l.Abort(ctx)
		return nil, err
	}
	return l, nil
}

func (l *Lease) ready(ctx context.Context) error {
	for wait := firstLook; ; wait = min(2*wait, lastLook) {
		var now mo.HttpNfcLease
		err := l.c.Read(ctx, l.what, func(ctx context.Context, vc *vim25.Client) error {
			return property.DefaultCollector(vc).RetrieveOne(ctx, l.ref, []string{"state", "info", "error"}, &now)
		})
		switch {
		case err != nil:
			return err
		case now.State == types.HttpNfcLeaseStateReady && now.Info != nil:
			l.take(*now.Info)
			return nil
		case now.State == types.HttpNfcLeaseStateError:
			return Translate(soap.WrapVimFault(taskFault(now.Error)), l.what)
		case now.State == types.HttpNfcLeaseStateDone:
			return errkind.New(errkind.Unavailable, "%s: the lease ended before it was used; repeat it", l.what)
		}
		if !pause(ctx, wait) {
			return Translate(context.Cause(ctx), l.what)
		}
	}
}

func (l *Lease) take(info types.HttpNfcLeaseInfo) {
	l.VM, l.alive = info.Entity, time.Duration(info.LeaseTimeout)*time.Second
	for _, d := range info.DeviceUrl {
		if d.Disk != nil && *d.Disk {
			l.Disks = append(l.Disks, LeaseDisk{d.Key, d.Url, d.SslThumbprint, d.FileSize})
		}
	}
}

// Download hands over the stream of a disk. A stream that breaks off is lost, as
// Lost tells, or ends too early.
func (l *Lease) Download(ctx context.Context, d LeaseDisk, take func(io.Reader) error) error {
	return l.held(ctx, d.size, func(ctx context.Context, moved *atomic.Int64) error {
		body, err := l.get(ctx, d)
		if err != nil {
			return err
		}
		defer body.Close()
		return take(counted{body, moved})
	})
}

// Upload gives a disk the content of a stream of that length.
func (l *Lease) Upload(ctx context.Context, d LeaseDisk, r io.Reader, length int64) error {
	return l.held(ctx, length, func(ctx context.Context, moved *atomic.Int64) error {
		return l.post(ctx, d, counted{r, moved}, length)
	})
}

type counted struct {
	io.Reader
	n *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// Complete ends the lease after everything was transferred. It is an error when the
// lease had ended already: what was transferred is not to be trusted then.
func (l *Lease) Complete(ctx context.Context) error {
	err := l.c.Do(ctx, l.what, func(ctx context.Context, vc *vim25.Client) error {
		_, err := methods.HttpNfcLeaseComplete(ctx, vc, &types.HttpNfcLeaseComplete{This: l.ref})
		return l.ended(err)
	})
	l.over = err == nil
	return err
}

// Abort gives the lease up, whatever has become of ctx; an import leaves no VM then.
// After Complete nothing happens.
func (l *Lease) Abort(ctx context.Context) {
	if l.over {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortion)
	defer cancel()
	_ = l.c.Do(ctx, l.what, func(ctx context.Context, vc *vim25.Client) error {
		_, err := methods.HttpNfcLeaseAbort(ctx, vc, &types.HttpNfcLeaseAbort{This: l.ref})
		return err
	})
}

// abortion is how long giving up a lease may take.
const abortion = 30 * time.Second

// errEnded is a lease that vSphere has ended.
type errEnded struct{ err error }

func (e *errEnded) Error() string { return e.err.Error() }
func (e *errEnded) Unwrap() error { return e.err }

// ended tells a lease that is over from other errors.
func (l *Lease) ended(err error) error {
	if Is[*types.InvalidState](err) || Is[*types.ManagedObjectNotFound](err) || Is[*types.Timedout](err) {
		return errkind.Wrap(errkind.Unavailable, &lost{&errEnded{err}}, "%s: vSphere ended the lease meanwhile; repeat it", l.what)
	}
	return err
}

// held runs do and keeps the lease alive meanwhile. When vSphere has ended it, so
// does the context of do.
func (l *Lease) held(ctx context.Context, total int64, do func(ctx context.Context, moved *atomic.Int64) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done, stop := context.WithCancel(ctx)
	var moved atomic.Int64
	var keeper sync.WaitGroup
	keeper.Go(func() {
		l.keep(done, cancel, func() int32 { return int32(min(99, 100*moved.Load()/max(total, 1))) }) //nolint:gosec // it is a percentage
	})
	err := do(ctx, &moved)
	stop()
	keeper.Wait()
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return Translate(err, l.what)
}

// keep gives signs of life until ctx ends, four in the time that there is for one.
func (l *Lease) keep(ctx context.Context, end context.CancelCauseFunc, percent func() int32) {
	for pause(ctx, max(l.alive/4, firstLook)) {
		err := l.c.Do(ctx, l.what, func(ctx context.Context, vc *vim25.Client) error {
			_, err := methods.HttpNfcLeaseProgress(ctx, vc, &types.HttpNfcLeaseProgress{This: l.ref, Percent: percent()})
			return l.ended(err)
		})
		if _, over := errors.AsType[*errEnded](err); over && ctx.Err() == nil {
			end(err)
			return
		}
	}
}
