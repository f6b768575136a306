package hostclient

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

// Client makes the calls of a guest: the VM, and with it the vmgroup, is the
// one whose channel it dials. All calls may be repeated.
type Client struct{ *core }

// New makes a client of the guest channel at url. It does not connect yet.
// Close lets go of idle connections.
func New(url string, o Options) *Client { return &Client{newCore(url, o)} }

// Hello asks the service for its version and abilities.
func (c *Client) Hello(ctx context.Context) (wire.Hello, error) { return c.hello(ctx) }

func (c *core) hello(ctx context.Context) (h wire.Hello, err error) {
	_, err = c.do(ctx, call{method: http.MethodGet, path: []string{"hello"}, into: &h})
	return h, err
}

// Create makes a volume. The same again: the same volume.
func (c *Client) Create(ctx context.Context, r wire.CreateVolume) (v wire.Volume, err error) {
	_, err = c.do(ctx, call{method: http.MethodPost, path: []string{"volumes"}, body: r, into: &v})
	return v, err
}

// Remove removes a volume, into the trash. Absent: not-found, except when an
// earlier attempt of this very call may have removed it.
func (c *Client) Remove(ctx context.Context, name string) error {
	repeated, err := c.do(ctx, call{method: http.MethodDelete, path: []string{"volumes", name}})
	if repeated && errkind.Is(err, errkind.NotFound) {
		return nil
	}
	return err
}

// Get describes one volume.
func (c *Client) Get(ctx context.Context, name string) (v wire.Volume, err error) {
	_, err = c.do(ctx, call{method: http.MethodGet, path: []string{"volumes", name}, into: &v})
	return v, err
}

// List describes all volumes of the caller's vmgroup.
func (c *Client) List(ctx context.Context) ([]wire.Volume, error) {
	var all []wire.Volume
	for after := ""; ; {
		var page wire.VolumeList
		q := url.Values{}
		set(q, "after", after)
		if _, err := c.do(ctx, call{method: http.MethodGet, path: []string{"volumes"}, query: q, into: &page}); err != nil {
			return nil, err
		}
		all = append(all, page.Volumes...)
		if page.Next == "" || page.Next == after {
			return all, nil
		}
		after = page.Next
	}
}

// Attach plugs a volume's disk into the calling VM.
func (c *Client) Attach(ctx context.Context, name string, r wire.Attach) (a wire.Attachment, err error) {
	_, err = c.do(ctx, call{method: http.MethodPost, path: []string{"volumes", name, "attach"}, body: r, into: &a})
	return a, err
}

// Detach unplugs a volume's disk. Not attached: nil.
func (c *Client) Detach(ctx context.Context, name string, r wire.Detach) error {
	_, err := c.do(ctx, call{method: http.MethodPost, path: []string{"volumes", name, "detach"}, body: r})
	return err
}

// SetFormat moves the format state of an attached disk.
func (c *Client) SetFormat(ctx context.Context, name string, r wire.SetFormat) error {
	_, err := c.do(ctx, call{method: http.MethodPost, path: []string{"volumes", name, "format"}, body: r})
	return err
}

// Heartbeat tells the service what this guest uses, and learns what the
// service believes it holds.
func (c *Client) Heartbeat(ctx context.Context, r wire.Heartbeat) (h wire.HeartbeatReply, err error) {
	_, err = c.do(ctx, call{method: http.MethodPost, path: []string{"heartbeat"}, body: r, into: &h})
	return h, err
}

func set(q url.Values, key, value string) {
	if value != "" {
		q.Set(key, value)
	}
}

func setTime(q url.Values, key string, at time.Time) {
	if !at.IsZero() {
		q.Set(key, at.UTC().Format(time.RFC3339Nano))
	}
}
