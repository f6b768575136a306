package kopia

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/kopia/kopia/repo/blob"

	"mooring.dev/mooring/hostsvc/internal/netguard"
)

// guardKey is where a context carries the guard of its connections.
type guardKey struct{}

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
		if g, ok := ctx.Value(guardKey{}).(netguard.Guard); ok {
			return g.Dialer(30*time.Second).DialContext(ctx, network, address)
		}
		return plain(ctx, network, address)
	}
}

// outside puts a guard into the context of all that a storage does.
type outside struct {
	blob.Storage
	guard netguard.Guard
}

func (o outside) ctx(ctx context.Context) context.Context {
	return context.WithValue(ctx, guardKey{}, o.guard)
}

func (o outside) GetCapacity(ctx context.Context) (blob.Capacity, error) {
	return o.Storage.GetCapacity(o.ctx(ctx))
}

func (o outside) GetBlob(ctx context.Context, id blob.ID, offset, length int64, out blob.OutputBuffer) error {
	return o.Storage.GetBlob(o.ctx(ctx), id, offset, length, out)
}

func (o outside) GetMetadata(ctx context.Context, id blob.ID) (blob.Metadata, error) {
	return o.Storage.GetMetadata(o.ctx(ctx), id)
}

func (o outside) ListBlobs(ctx context.Context, prefix blob.ID, fn func(blob.Metadata) error) error {
	return o.Storage.ListBlobs(o.ctx(ctx), prefix, fn)
}

func (o outside) PutBlob(ctx context.Context, id blob.ID, data blob.Bytes, opts blob.PutOptions) error {
	return o.Storage.PutBlob(o.ctx(ctx), id, data, opts)
}

func (o outside) DeleteBlob(ctx context.Context, id blob.ID) error {
	return o.Storage.DeleteBlob(o.ctx(ctx), id)
}

func (o outside) ExtendBlobRetention(ctx context.Context, id blob.ID, opts blob.ExtendOptions) error {
	return o.Storage.ExtendBlobRetention(o.ctx(ctx), id, opts)
}

func (o outside) FlushCaches(ctx context.Context) error { return o.Storage.FlushCaches(o.ctx(ctx)) }

func (o outside) Close(ctx context.Context) error { return o.Storage.Close(o.ctx(ctx)) }
