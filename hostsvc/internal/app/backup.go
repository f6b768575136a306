package app

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/imagefs"
	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/netguard"
	"mooring.dev/mooring/hostsvc/internal/notify"
	"mooring.dev/mooring/hostsvc/internal/overview"
	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/hostsvc/internal/repository/kopia"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/rungroup"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// backups are the parts of backup.
type backups struct {
	service  *backup.Service
	queue    *job.Runner
	notifier *notify.Notifier
	told     *notify.Directory
	digests  *notify.Digests
	overview *overview.Service
	opener   repository.Opener
	views    *imagefs.Views
	volumes  *volume.Service
	scratch  string
	mounted  bool // the views; only for the start
}

// buildBackup makes the parts and introduces them to each other and to those of
// the daemon that are there: volumes, vmgroups, the transporter and the ring.
func (d *daemon) buildBackup(cfg config.Config, s state, h host, instance string) (*backups, error) {
	for _, dir := range []string{cfg.Backup.CacheDir, cfg.Backup.ScratchDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, errkind.Wrap(errkind.Unavailable, err, "cannot make the directory %s", dir)
		}
	}
	zone, err := config.Zone(cfg.Backup.Timezone)
	if err != nil {
		return nil, err
	}
	views, err := imagefs.NewViews(viewsDir(cfg))
	if err != nil {
		return nil, err
	}
	b := &backups{views: views, volumes: d.volumes, scratch: filepath.Join(cfg.Backup.ScratchDir, "files")}
	if err := b.buildNotify(cfg.Notify, d.catalog, d.ring, d.tenants); err != nil {
		return nil, err
	}
	guard, err := netguard.New(cfg.Backup.AllowPrivate)
	if err != nil {
		return nil, err
	}
	b.opener = kopia.New(kopia.Options{Dir: filepath.Join(cfg.Backup.CacheDir, "repositories"), Owner: s.installation,
		Upload: int64(cfg.Backup.UploadLimit), Download: int64(cfg.Backup.DownloadLimit), Guard: guard})
	b.service = backup.New(backup.Options{
		Store: d.catalog.Backup(), Volumes: backupVolumes{d.volumes}, Machines: machinesOf(h, d.tenants), Allowances: allows{d.tenants}, Tenants: d.tenants, Transporters: movers{d.mover}, Keyring: sealer{d.ring},
		Opener:  b.opener,
		Files:   files{dir: b.scratch, streams: cfg.Backup.Streams},
		Views:   shows{views},
		Notify:  tells{b.notifier},
		Streams: cfg.Backup.Streams, Sample: cfg.Backup.Sample, Zone: zone.String(),
		VerifyAfter: time.Duration(cfg.Backup.VerifyAfter),
	})
	b.queue = job.New(job.Options{
		Store: d.catalog.Jobs(), Instance: instance, Transporter: cfg.Transporter.Name, Kinds: b.service.Handlers(),
		Total: cfg.Backup.Jobs, PerGroup: cfg.Backup.JobsPerVMGroup, Keep: time.Duration(cfg.Backup.KeepJobs),
		Sole: cfg.Catalog.Driver == config.SQLite, // the state directory's lock keeps others off
	})
	b.service.Use(b.queue)
	d.volumes.SetPoints(volumePoints{b.service})
	b.overview = overview.New(overview.Options{
		Store: d.catalog.Overview(), Backups: outlook{b.service}, Shares: d.tenants, Keep: time.Duration(cfg.Backup.KeepJobs),
	})
	b.digests = notify.NewDigests(b.told, b.overview, zone)
	return b, nil
}

// viewsDir is where recovery points appear as disks.
func viewsDir(cfg config.Config) string { return filepath.Join(cfg.RunDir, "views") }

// mount makes the points' datastore appear; before the datastores are
// identified.
func (b *backups) mount(ctx context.Context) error {
	if err := imagefs.Sweep(ctx, b.scratch); err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Warn("left-overs of an earlier run could not be removed")
	}
	if err := b.views.Mount(ctx); err != nil {
		return err
	}
	b.mounted = true
	return nil
}

// unmount takes the points' datastore away again when run never came to it.
func (b *backups) unmount(ctx context.Context) error {
	if !b.mounted {
		return nil
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	return b.views.Run(ended)
}

// recover settles what a dead process left and shows the points that volumes
// show.
func (b *backups) recover(ctx context.Context) error {
	all, err := b.volumes.Views(ctx)
	if err != nil {
		return err
	}
	for _, v := range all {
		if err := b.service.OpenView(ctx, v.Group, v.ID, v.Point); err != nil {
			log.G(ctx).WithField(log.Volume, string(v.ID)).WithField(log.Err, err.Error()).Warn("a recovery point cannot be shown yet")
		}
	}
	return b.service.Recover(ctx)
}

// run works on jobs and schedules until ctx ends.
func (b *backups) run(ctx context.Context) error {
	return rungroup.Run(ctx,
		rungroup.Component{Name: "views", Run: b.views.Run, Within: stopLimit},
		rungroup.Component{Name: "notifications", Run: b.notifier.Run, Within: 2 * stopLimit},
		rungroup.Component{Name: "notification targets", Run: b.told.Run, Within: stopLimit},
		rungroup.Component{Name: "digests", Run: b.digests.Run, Within: stopLimit},
		rungroup.Component{Name: "backup", Run: func(ctx context.Context) error { return b.service.Run(ctx, b.queue) }, Within: stopLimit},
		rungroup.Component{Name: "jobs", Run: b.queue.Run, Within: workLimit},
	)
}

// declared is what a configuration says of backups.
func declared(cfg config.Config) (all []backup.Declared, err error) {
	for _, g := range cfg.VMGroups {
		d := backup.Declared{Group: g.Name, Source: g.File, MaxStored: g.BackupTotalSize}
		for _, r := range g.Repositories {
			cred, err := r.Credentials()
			if err != nil {
				return nil, err
			}
			d.Repositories = append(d.Repositories, declaredRepository(r, cred))
		}
		for _, p := range g.Policies {
			d.Policies = append(d.Policies, declaredPolicy(p))
		}
		all = append(all, d)
	}
	return all, nil
}

func declaredRepository(r config.Repository, cred config.RepositoryCredentials) wire.CreateRepository {
	return wire.CreateRepository{Name: r.Name, Location: wire.Location(locationOf(r)), Credentials: wire.Credentials(credentialsOf(cred))}
}

func declaredPolicy(p config.Policy) wire.Policy {
	keep := func(k config.Keep) wire.Keep {
		out := wire.Keep{Last: k.Last, Hourly: k.Hourly, Daily: k.Daily, Weekly: k.Weekly, Monthly: k.Monthly, Yearly: k.Yearly}
		if k.Within > 0 {
			out.Within = k.Within.String()
		}
		return out
	}
	on := p.Enabled
	out := wire.Policy{
		Name: p.Name, Enabled: &on, Volumes: p.Volumes, VMs: p.VMs, Exclude: p.Exclude, Repository: p.Repository,
		Schedule: p.Schedule, Timezone: p.Timezone, Overlap: p.Overlap, Consistency: p.Consistency, Keep: keep(p.Keep),
		Verify:     wire.VerifyPolicy{Schedule: p.Verify.Schedule, Mode: p.Verify.Mode, Share: p.Verify.Share},
		DrillSched: p.Drill.Schedule, Limit: volspec.Size(p.Limit), Priority: p.Priority,
	}
	if p.RPO > 0 {
		out.RPO = p.RPO.String()
	}
	if p.CopyTo != "" {
		out.Copy = wire.CopyPolicy{Repository: p.CopyTo, Schedule: p.Copy.Schedule, Keep: keep(p.Copy.Keep)}
	}
	return out
}
