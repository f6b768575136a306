package kopia

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/kopia/kopia/repo/blob"

	"mooring.dev/mooring/hostsvc/internal/netguard"
	"mooring.dev/mooring/pkg/errkind"
)

// passKey is where a context carries what its connections obey.
type passKey struct{}

// pass is a guard for one call. What it refuses ends the call: the S3 library
// takes it for a bad line and would try for seconds.
type pass struct {
	guard netguard.Guard
	end   context.CancelCauseFunc
}

func (p pass) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := p.guard.Dialer(30*time.Second).DialContext(ctx, network, address)
	if errkind.Is(err, errkind.Denied) {
		p.end(err)
	}
	return conn, err
}

// kopia's S3 storage makes its client from a copy of the default transport, and
// has no other way in: so that transport obeys a guard in the context of a
// request. Requests without one are as they were.
func init() {
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return
	}
	plain := t.DialContext
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if p, ok := ctx.Value(passKey{}).(pass); ok {
			return p.dial(ctx, network, address)
		}
		return plain(ctx, network, address)
	}
}

// outside puts a guard into the context of all that a storage does.
type outside struct {
	blob.Storage
	guard netguard.Guard
}

// guarded is one call. A connection that was refused is its error.
func (o outside) guarded(ctx context.Context, call func(context.Context) error) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	err := call(context.WithValue(ctx, passKey{}, pass{o.guard, end}))
	if refused := context.Cause(ctx); err != nil && errkind.Is(refused, errkind.Denied) {
		return refused
	}
	return err
}

func (o outside) GetCapacity(ctx context.Context) (c blob.Capacity, err error) {
	err = o.guarded(ctx, func(ctx context.Context) error { c, err = o.Storage.GetCapacity(ctx); return err })
	return c, err
}

func (o outside) GetBlob(ctx context.Context, id blob.ID, offset, length int64, out blob.OutputBuffer) error {
	return o.guarded(ctx, func(ctx context.Context) error { return o.Storage.GetBlob(ctx, id, offset, length, out) })
}

func (o outside) GetMetadata(ctx context.Context, id blob.ID) (m blob.Metadata, err error) {
	err = o.guarded(ctx, func(ctx context.Context) error { m, err = o.Storage.GetMetadata(ctx, id); return err })
	return m, err
}

func (o outside) ListBlobs(ctx context.Context, prefix blob.ID, fn func(blob.Metadata) error) error {
	return o.guarded(ctx, func(ctx context.Context) error { return o.Storage.ListBlobs(ctx, prefix, fn) })
}

func (o outside) PutBlob(ctx context.Context, id blob.ID, data blob.Bytes, opts blob.PutOptions) error {
	return o.guarded(ctx, func(ctx context.Context) error { return o.Storage.PutBlob(ctx, id, data, opts) })
}

func (o outside) DeleteBlob(ctx context.Context, id blob.ID) error {
	return o.guarded(ctx, func(ctx context.Context) error { return o.Storage.DeleteBlob(ctx, id) })
}

func (o outside) ExtendBlobRetention(ctx context.Context, id blob.ID, opts blob.ExtendOptions) error {
	return o.guarded(ctx, func(ctx context.Context) error { return o.Storage.ExtendBlobRetention(ctx, id, opts) })
}

func (o outside) FlushCaches(ctx context.Context) error {
	return o.guarded(ctx, o.Storage.FlushCaches)
}

func (o outside) Close(ctx context.Context) error { return o.guarded(ctx, o.Storage.Close) }
