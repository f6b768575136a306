// Package vc is the simulated vCenter: govmomi's simulator for the inventory,
// tasks, sessions and property streams, and on top of it disks with bytes in
// them and the rules that a real vCenter enforces. It must not be linked into
// anything but mooring-simvc, because a panic in the simulator ends the process.
package vc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/vmware/govmomi/object"
	_ "github.com/vmware/govmomi/pbm/simulator" // endpoint
	"github.com/vmware/govmomi/simulator"
	_ "github.com/vmware/govmomi/vapi/simulator" // endpoint
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/simvc/internal/plug"
)

// Options are those of control.Options, with the defaults filled in.
type Options struct {
	Hosts, VMs     int
	Datastores     []string
	Dir            string
	Capacity       int64
	ESX            bool
	User, Password string
	PinSnapshots   bool
}

// Server is one simulated vCenter.
type Server struct {
	o     Options
	model *simulator.Model
	svc   *simulator.Service
	root  *simulator.Context
	vim   *vim25.Client // in process, without a wire
	dc    types.ManagedObjectReference
	pool  types.ManagedObjectReference
	ident identity

	stores []*store
	addr   string
	rules  rules
	sever  chan time.Duration
	plugs  struct {
		sync.Mutex
		guests map[types.ManagedObjectReference]*plug.Guest
		dirs   map[string]string // by moref
	}

	mu        sync.Mutex // guards what follows; never held while an object's lock is taken
	disks     map[string]*disk
	busy      map[types.ManagedObjectReference]string
	on        map[types.ManagedObjectReference]bool
	fcds      map[string]*fcd
	tickets   map[string]bool
	machines  map[types.ManagedObjectReference]*snapshots
	leases    map[string]*lease
	snapshotN int
}

// New builds the inventory, from the state in Options.Dir if there is one.
// Nothing listens yet.
func New(o Options) (*Server, error) {
	s := &Server{
		o:        o,
		sever:    make(chan time.Duration),
		disks:    make(map[string]*disk),
		busy:     make(map[types.ManagedObjectReference]string),
		on:       make(map[types.ManagedObjectReference]bool),
		fcds:     make(map[string]*fcd),
		tickets:  make(map[string]bool),
		machines: make(map[types.ManagedObjectReference]*snapshots),
		leases:   make(map[string]*lease),
	}
	if err := os.MkdirAll(filepath.Join(o.Dir, "state", "cbt"), 0o700); err != nil {
		return nil, err
	}
	s.plugs.guests, s.plugs.dirs = make(map[types.ManagedObjectReference]*plug.Guest), make(map[string]string)
	var err error
	if s.ident, err = loadIdentity(filepath.Join(o.Dir, "state")); err != nil {
		return nil, err
	}
	s.model = simulator.VPX()
	if o.ESX {
		s.model = simulator.ESX()
	}
	s.model.Autostart = false
	s.model.Datastore, s.model.Machine = 0, 0
	s.model.Host, s.model.ClusterHost = 0, o.Hosts
	s.model.ServiceContent.About.Version = "8.0.3"
	s.model.ServiceContent.About.ApiVersion = "8.0.3.0"
	s.model.ServiceContent.About.Build = "24022515"
	if err := s.model.Create(); err != nil {
		return nil, err
	}
	s.svc = s.model.Service
	s.root = s.svc.Context
	s.vim, err = vim25.NewClient(context.Background(), s.svc)
	if err != nil {
		return nil, err
	}
	if err := s.places(); err != nil {
		return nil, err
	}
	if err := s.addStores(); err != nil {
		return nil, err
	}
	s.overlay()
	if !o.ESX {
		s.vslm()
	}
	if err := s.endpoint(); err != nil {
		return nil, err
	}
	had, err := s.restoreState()
	if err != nil {
		return nil, fmt.Errorf("state in %s: %w", o.Dir, err)
	}
	if had {
		return s, s.restorePlugs()
	}
	for i := range o.VMs {
		name := fmt.Sprintf("vm-%d", i)
		if _, err := s.addVM(name, i%len(s.hosts()), s.stores[0].name); err != nil {
			return nil, fmt.Errorf("vm %s: %w", name, err)
		}
		if err := s.Power(context.Background(), name, true); err != nil {
			return nil, fmt.Errorf("vm %s: %w", name, err)
		}
	}
	return s, nil
}

// ctx is a context of our own: the simulator's locks tell contexts apart.
func (s *Server) ctx() *simulator.Context {
	c := *s.root
	c.Context = context.Background()
	return &c
}

func (s *Server) places() error {
	m := s.root.Map
	dc := m.Any("Datacenter")
	pools := m.All("ResourcePool")
	if dc == nil || len(pools) == 0 {
		return errors.New("the inventory has no datacenter")
	}
	s.dc, s.pool = dc.Reference(), pools[0].Reference()
	return nil
}

func (s *Server) hosts() []*simulator.HostSystem {
	var list []*simulator.HostSystem
	for _, e := range s.root.Map.All("HostSystem") {
		list = append(list, e.(*simulator.HostSystem))
	}
	sortBy(list, func(h *simulator.HostSystem) string { return fmt.Sprintf("%8s", h.Self.Value) })
	return list
}

// endpoint has the simulator register everything it serves, on the port that
// will be ours.
func (s *Server) endpoint() error {
	s.svc.TLS = &tls.Config{Certificates: []tls.Certificate{s.ident.cert}, MinVersion: tls.VersionTLS12}
	s.svc.RegisterEndpoints = true
	s.svc.Listen = &url.URL{
		Host: net.JoinHostPort("127.0.0.1", s.ident.Port),
		User: url.UserPassword(s.o.User, s.o.Password),
	}
	ts := s.svc.NewServer()
	s.addr = ts.URL.Host
	ts.Close()
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		return err
	}
	return s.ident.setPort(port)
}

// URL is where the API is.
func (s *Server) URL() string { return "https://" + s.addr + vim25.Path }

// Thumbprint is the SHA-256 of the certificate.
func (s *Server) Thumbprint() string { return s.ident.thumbprint }

// CAFile is the certificate in PEM.
func (s *Server) CAFile() string { return s.ident.file }

// addStores makes the datastores and their directories.
func (s *Server) addStores() error {
	for _, name := range s.o.Datastores {
		dir := filepath.Join(s.o.Dir, name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		st := &store{name: name, dir: dir, capacity: min(s.o.Capacity, ownSize(dir)), thick: make(map[string]int64)}
		for _, h := range s.hosts() {
			dss, err := object.NewHostSystem(s.vim, h.Self).ConfigManager().DatastoreSystem(context.Background())
			if err != nil {
				return err
			}
			if _, err := dss.CreateLocalDatastore(context.Background(), name, dir); err != nil {
				return err
			}
		}
		for _, e := range s.root.Map.All("Datastore") {
			if e.(*simulator.Datastore).Name == name {
				st.ref = e.Reference()
			}
		}
		s.stores = append(s.stores, st)
		s.publishStore(s.ctx(), st)
	}
	return nil
}
