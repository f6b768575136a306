// Package app puts the plugin together: settings, state, the parts and their
// order of starting and stopping.
package app

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/rungroup"
	"mooring.dev/mooring/pkg/transport"
	"mooring.dev/mooring/pkg/wire"
	"mooring.dev/mooring/plugin/internal/disk"
	"mooring.dev/mooring/plugin/internal/dockerapi"
	"mooring.dev/mooring/plugin/internal/driver"
	"mooring.dev/mooring/plugin/internal/engine"
	"mooring.dev/mooring/plugin/internal/ledger"
)

// Times of stopping. Docker kills a plugin ten seconds after it asked it to
// stop: together they stay below eight.
const (
	drainRequests = 1500 * time.Millisecond
	stopServer    = 2750 * time.Millisecond
	stopDriver    = 5 * time.Second
)

// hostTree is where a managed plugin finds the /run of its machine: a bind
// over its own /run would hide the folder of its socket.
const hostTree = "/host"

const stateDir = ".state"

// patience is how long a change waits for a service that does not answer: a
// restart takes it seconds, and nobody should wait for long to hear that it
// is away.
const patience = 15 * time.Second

// Run serves Docker until ctx ends. The socket is there before anything else
// is looked at: Docker gives up on a plugin that is slow to listen.
func Run(ctx context.Context, s Settings, version string) error {
	v, err := s.check()
	if err != nil {
		return err
	}
	if err := log.Setup(log.Options{Level: v.logLevel, Format: s.LogFormat, Output: os.Stdout}); err != nil {
		return errkind.Wrap(errkind.Invalid, err, "MOORING_LOG_LEVEL, MOORING_LOG_FORMAT")
	}
	l, err := transport.ListenUnix(ctx, s.Socket, 0o660, 0, v.gid)
	if err != nil {
		return err
	}
	d, mounts, c, err := assemble(ctx, s, v, version)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	log.G(ctx).WithField("version", version).WithField("host", s.Host).WithField("socket", s.Socket).Info("plugin is listening")
	err = run(ctx, l, d, c, v.timeout)
	if oerr := mounts.Open(); oerr != nil {
		log.G(ctx).WithField(log.Err, oerr.Error()).Debug("folders below the mounts stay closed")
	}
	log.G(ctx).Info("plugin has stopped, mounts stay")
	return err
}

// run drives the parts. The context that stops them ends first for the
// server: its requests need the driver until they end.
func run(ctx context.Context, l net.Listener, d *driver.Driver, c certificate, timeout time.Duration) error {
	return rungroup.Run(ctx,
		rungroup.Component{Name: "certificate", Run: c.run, Within: stopDriver},
		rungroup.Component{Name: "driver", Run: d.Run, Within: stopDriver},
		rungroup.Component{Name: "docker api", Within: stopServer, Run: func(ctx context.Context) error {
			return dockerapi.Serve(ctx, l, dockerapi.New(d, timeout), drainRequests)
		}},
	)
}

func assemble(ctx context.Context, s Settings, v values, version string) (*driver.Driver, *disk.Guest, certificate, error) {
	state := filepath.Join(s.MountRoot, stateDir)
	// Containers of other users pass through the root, nobody reads it.
	if err := errors.Join(os.MkdirAll(s.MountRoot, 0o711), os.MkdirAll(state, 0o700)); err != nil {
		return nil, nil, certificate{}, errkind.Wrap(errkind.Unavailable, err, "make the state folder %s", state)
	}
	boot, err := BootID()
	if err != nil {
		return nil, nil, certificate{}, err
	}
	uses, err := ledger.Open(state)
	if err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Warn("ledger of uses was lost")
	}
	cache, err := driver.OpenCache(state)
	if err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Warn("cache of volumes was lost")
	}
	guest := disk.New(disk.Options{Root: s.MountRoot, Freezes: filepath.Join(state, "freezes")})
	o := hostclient.Options{UserAgent: "mooring-plugin/" + version}
	own := openCertificate(ctx, s, state, boot, o)
	if own.identity != nil {
		o.TLS = own.identity.TLS
	}
	service := newHost(hostURL(v.host), v.timeout, o)
	own.service = service
	d := driver.New(driver.Options{
		Host: service, Orders: service, Freezer: guest,
		Disks: guest, Mounts: guest, Engine: engine.New(hostURL(v.engine)),
		Ledger: uses, Cache: cache,
		Root: s.MountRoot, BootID: boot, Version: version, Interval: v.reconcile,
	})
	return d, guest, own, nil
}

// host is the host service with two tempers. What changes something waits
// for a service that is just being restarted; what the cache can answer, or
// what is repeated by itself, does not.
type host struct {
	*hostclient.Client // patient
	quick              *hostclient.Client
	waiting            *hostclient.Client // quick too: its calls keep their connections for long
}

var (
	_ driver.Host   = host{}
	_ driver.Orders = host{}
)

func newHost(url string, timeout time.Duration, o hostclient.Options) host {
	patient := o
	patient.Patience = min(timeout, patience)
	return host{Client: hostclient.New(url, patient), quick: hostclient.New(url, o), waiting: hostclient.New(url, o)}
}

// reconnect makes later calls use new connections.
func (h host) reconnect() {
	for _, c := range []*hostclient.Client{h.Client, h.quick, h.waiting} {
		c.Reconnect()
	}
}

func (h host) Get(ctx context.Context, name string) (wire.Volume, error) {
	return h.quick.Get(ctx, name)
}

func (h host) List(ctx context.Context) ([]wire.Volume, error) { return h.quick.List(ctx) }

func (h host) Detach(ctx context.Context, name string, r wire.Detach) error {
	return h.quick.Detach(ctx, name, r)
}

func (h host) Heartbeat(ctx context.Context, r wire.Heartbeat) (wire.HeartbeatReply, error) {
	return h.quick.Heartbeat(ctx, r)
}

func (h host) Freezes(ctx context.Context, after string, wait time.Duration) (wire.FreezeOrders, error) {
	return h.waiting.Freezes(ctx, after, wait)
}

func (h host) ReportFreeze(ctx context.Context, id string, r wire.FreezeReport) (wire.FreezeAnswer, error) {
	return h.waiting.ReportFreeze(ctx, id, r)
}

// hostURL is where a unix socket of the machine is seen from here.
func hostURL(url string) string {
	path, isUnix := strings.CutPrefix(url, "unix://")
	if !isUnix {
		return url
	}
	return "unix://" + hostPath(path)
}

// hostPath is where a file of the machine's /run is seen from here. A managed
// plugin sees no others.
func hostPath(path string) string {
	if _, err := os.Stat(hostTree + "/run"); err != nil {
		return path
	}
	if rest, ok := strings.CutPrefix(path, "/var/run/"); ok {
		path = "/run/" + rest
	}
	return hostTree + path
}
