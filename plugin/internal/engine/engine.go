// Package engine asks the Docker engine which containers use volumes. It
// reads one list and changes nothing; the engine need not be reachable.
package engine

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/transport"
	"mooring.dev/mooring/plugin/internal/driver"
)

// maxReply bounds the engine's answer: some tens of thousands of containers.
const maxReply = 64 << 20

// Client is the engine at one socket. It is safe for concurrent use.
type Client struct {
	socket string
	http   *http.Client
}

var _ driver.Engine = (*Client)(nil)

// New makes a client of the engine at a URL such as unix:///run/docker.sock.
// It does not connect yet.
func New(socket string) *Client {
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return transport.Dial(ctx, socket)
		},
		DisableKeepAlives: true, // once a minute
	}}}
}

// The states in which a container has its volumes mounted, and the one before.
var states = []string{"created", "running", "paused", "restarting"}

type container struct {
	ID      string `json:"Id"`
	State   string
	Created int64
	Mounts  []struct {
		Type, Name, Source, Driver string
	}
}

// Uses lists the volumes of containers, see driver.Engine.
func (c *Client) Uses(ctx context.Context) ([]driver.EngineUse, error) {
	filters, err := json.Marshal(map[string][]string{"status": states})
	if err != nil {
		return nil, errkind.Wrap(errkind.Internal, err, "engine query")
	}
	q := url.Values{"all": {"1"}, "filters": {string(filters)}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/containers/json?"+q.Encode(), nil)
	if err != nil {
		return nil, errkind.Wrap(errkind.Internal, err, "engine query")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, errkind.Wrap(errkind.Unavailable, err, "the Docker engine at %s does not answer", c.socket)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end or given up
	if resp.StatusCode != http.StatusOK {
		return nil, errkind.New(errkind.Unavailable, "the Docker engine at %s answers %s", c.socket, resp.Status)
	}
	var all []container
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxReply)).Decode(&all); err != nil {
		return nil, errkind.Wrap(errkind.Unavailable, err, "the answer of the Docker engine at %s is not understood", c.socket)
	}
	var uses []driver.EngineUse
	for _, k := range all {
		for _, m := range k.Mounts {
			if m.Type != "volume" || m.Driver == "local" {
				continue
			}
			uses = append(uses, driver.EngineUse{
				Container: k.ID, Volume: m.Name, Source: m.Source, Driver: m.Driver,
				Running: k.State != "created", Created: time.Unix(k.Created, 0),
			})
		}
	}
	return uses, nil
}
