package app

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/hostsvc/internal/account"
	"mooring.dev/mooring/hostsvc/internal/account/oidc"
	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/hostsvc/internal/audit"
	"mooring.dev/mooring/hostsvc/internal/bundle"
	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/enroll"
	"mooring.dev/mooring/hostsvc/internal/freeze"
	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/idempotency"
	"mooring.dev/mooring/hostsvc/internal/keyring"
	"mooring.dev/mooring/hostsvc/internal/notify"
	"mooring.dev/mooring/hostsvc/internal/selfbackup"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/hostsvc/internal/transporter"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/volspec"
)

// The parts fit.
var (
	_ volume.Check        = tenancy.Check
	_ volume.Resolve      = tenancy.Resolve
	_ volume.RestoreGroup = (*tenancy.Service)(nil).RestoreGroup
	_ api.Volumes         = (*volume.Service)(nil)
	_ api.Tenants         = (*tenancy.Service)(nil)
	_ api.Allowances      = (*tenancy.Service)(nil)
	_ api.Transporters    = (*transporter.Service)(nil)
	_ tenancy.Hosts       = hypervisor.Hosts(nil)
	_ api.Audit           = (*audit.Service)(nil)
	_ api.Notifications   = (*notify.Directory)(nil)
	_ api.Freezes         = (*freeze.Broker)(nil)
	_ volume.Freezer      = (*freeze.Broker)(nil)
	_ tenancy.Machines    = hypervisor.Hypervisor(nil)
	_ tenancy.Datastores  = hypervisor.Hypervisor(nil)
	_ tenancy.Folders     = hypervisor.Folders(nil)
)

// daemon is the parts of a running service.
type daemon struct {
	path      string // of the configuration
	version   string
	catalog   *catalog.Catalog
	store     volume.Store
	host      host
	volumes   *volume.Service
	tenants   *tenancy.Service
	freezes   *freeze.Broker
	authority *enroll.Authority
	guests    *enroll.Service
	ring      *keyring.Ring // seals every secret in the catalog
	accounts  *account.Service
	answers   *idempotency.Keys
	backups   *backups
	self      *selfbackup.Service
	mover     *transporter.Service
	web       web
	providers *oidc.Service
	prover    *prover
	listeners *listeners
	gate      gate
	reloaded  chan struct{} // a configuration was applied: look at declared repositories

	mu   sync.Mutex // guards what a reload replaces
	cfg  config.Config
	open []*door
}

// build makes the parts and introduces them. Nothing runs yet.
func build(ctx context.Context, o Options, cfg config.Config, s state, h host) (*daemon, error) {
	c, err := openCatalog(ctx, cfg.Catalog)
	if err != nil {
		return nil, err
	}
	d := &daemon{path: o.Config, version: o.Version, cfg: cfg, host: h, catalog: c, store: c.Volumes(), freezes: freeze.New(), reloaded: make(chan struct{}, 1)}
	d.tenants = d.buildTenants(cfg, c, h)
	instance := uuid.NewString()
	d.volumes = volume.New(volume.Options{
		Store: d.store, Hypervisor: h,
		Check: tenancy.Check, Resolve: tenancy.Resolve, RestoreGroup: d.tenants.RestoreGroup,
		Instance: instance, Installation: s.installation,
		Freezer: d.freezes, FreezeLease: time.Duration(cfg.Backup.FreezeLease), FreezeCopyLimit: time.Duration(cfg.Backup.FreezeCopyLimit),
		TrashKeep:  time.Duration(cfg.Volume.TrashKeep),
		AttachWait: time.Duration(cfg.Volume.AttachWait),
		Reconcile:  time.Duration(cfg.Volume.Reconcile),
	})
	if d.ring, err = openRing(ctx, cfg, c); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	d.answers = idempotency.New(idempotency.Options{Store: c.Idempotency(), Sealer: d.ring})
	d.mover = newTransporter(cfg, o, c, instance)
	if d.backups, err = d.buildBackup(cfg, s, h, instance); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if d.self, err = d.buildSelfBackup(cfg); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if err := d.buildEnrolment(s, c); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if d.web, err = buildWeb(cfg, s); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if d.providers, err = d.buildProviders(cfg, c); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	d.accounts = d.buildAccounts(c)
	d.prover = &prover{d: d, options: d.examination}
	d.listeners = newListeners(api.New(api.Options{
		Answers: d.answers,
		Volumes: d.volumes, Tenants: d.tenants, Freezes: d.freezes, Backups: d.backups.service, Enrolment: d.guests, Accounts: d.accounts, Providers: d.providers, Audit: audit.New(c.AuditLog()), Notify: d.backups.told,
		Allowances: d.tenants, Transporters: d.mover, Bundles: bundle.New(d.bundles(c)),
		SelfBackup: d.self,
		Overview:   d.backups.overview,
		System:     &system{d: d, started: time.Now()},
		Isolation:  d.prover.check,
		Version:    o.Version,
		DrainLimit: drainLimit,
	}))
	return d, nil
}

func openCatalog(ctx context.Context, c config.Catalog) (*catalog.Catalog, error) {
	o, err := catalogOptions(c)
	if err != nil {
		return nil, err
	}
	return catalog.Open(ctx, o)
}

func catalogOptions(c config.Catalog) (catalog.Options, error) {
	o := catalog.Options{Driver: c.Driver, Path: c.Path}
	if c.Driver == config.Postgres {
		dsn, err := c.DSN()
		if err != nil {
			return o, err
		}
		o.DSN = dsn
	}
	return o, nil
}

// apply makes the declared vmgroups true.
func (d *daemon) apply(ctx context.Context, cfg config.Config) error {
	groups := make([]tenancy.Declared, len(cfg.VMGroups))
	for i, g := range cfg.VMGroups {
		groups[i] = tenancy.Declared{
			Name: g.Name, Description: g.Description, DefaultDatastore: g.DefaultDatastore, VMs: g.VMs, Folders: g.Folders, Source: g.File,
			Contact: g.Contact(), Disabled: g.State == config.Disabled, GuestAccess: g.GuestAccess, GuestFiles: g.GuestFiles,
			Allowance: declaredAllowance(g.Allowance), Transporters: g.Transporters,
		}
		for _, a := range g.Access {
			groups[i].Access = append(groups[i].Access, volspec.Access{Datastore: a.Datastore, AllowCreate: a.AllowCreate, MaxSize: a.MaxSize, TotalSize: a.TotalSize})
		}
	}
	backups, err := declared(cfg)
	if err != nil {
		return err
	}
	if err := d.backups.service.CheckDeclared(backups); err != nil {
		return err
	}
	if err := d.tenants.Apply(ctx, d.path, groups); err != nil {
		return err
	}
	return d.backups.service.Apply(ctx, backups)
}

func (d *daemon) config() config.Config {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cfg
}

func (d *daemon) openDoors() []*door {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open
}

func (d *daemon) set(cfg config.Config, open []*door) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cfg, d.open = cfg, open
}
