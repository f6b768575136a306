package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/undo"
)

// reloads reads the configuration again whenever asked, until ctx ends. What
// cannot be applied as a whole is logged, and the old configuration stays. It
// is the first part to stop, so it tells the service manager of that too.
func (d *daemon) reloads(ctx context.Context, ask <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			sdNotify(ctx, notifyStopping)
			return nil
		case <-ask:
		}
		sdNotify(ctx, notifyReloading)
		if err := d.reload(ctx); err != nil {
			log.G(ctx).WithField(log.Err, err.Error()).Error("configuration was not reloaded, the old one stays")
		} else {
			log.G(ctx).Info("configuration reloaded")
		}
		sdNotify(ctx, notifyReady)
	}
}

// reload applies the configuration file as it is now: log level, datastores,
// VMs with their sockets, and declared vmgroups. All of it, or nothing. A given
// certificate and the master key are read again.
func (d *daemon) reload(ctx context.Context) (err error) {
	if err := d.gate.check(); err != nil {
		return err
	}
	old := d.config()
	next, err := config.Load(d.path)
	if err != nil {
		return err
	}
	if err := errors.Join(fixed(old, next), d.needed(ctx, old, next), d.host.check(next)); err != nil {
		return err
	}
	if err := errors.Join(d.web.reload(), d.ring.Reload()); err != nil {
		return err
	}
	want, err := d.doors(next)
	if err != nil {
		return err
	}
	open, shut, keep := compare(d.openDoors(), want)

	u := undo.New()
	defer func() { err = errors.Join(err, u.Run(ctx)) }()
	if err := listenAll(ctx, open); err != nil {
		return err
	}
	u.Add("close the new sockets", func(context.Context) error { return closeAll(open) })
	if err := d.host.configure(ctx, next); err != nil {
		return err
	}
	u.Add("restore datastores and VMs", func(ctx context.Context) error { return d.host.configure(ctx, old) })
	if err := d.volumes.IdentifyDatastores(ctx); err != nil {
		return err
	}
	if err := d.apply(ctx, next); err != nil {
		return err
	}
	u.Add("restore the declared vmgroups", func(ctx context.Context) error { return d.apply(ctx, old) })
	if err := log.Setup(log.Options{Level: next.Log.Level, Format: next.Log.Format}); err != nil {
		return err
	}
	u.Keep()
	d.set(next, append(keep, open...))
	d.volumes.Kick()
	select {
	case d.reloaded <- struct{}{}:
	default: // one look is enough
	}
	return d.listeners.change(ctx, open, shut)
}

// fixed refuses changes of what only a restart can change.
func fixed(old, next config.Config) error {
	var errs []error
	same := func(key string, a, b any) {
		if !reflect.DeepEqual(a, b) {
			errs = append(errs, errkind.New(errkind.Unsupported, "%s cannot change while mooringd runs: restart it", key))
		}
	}
	same("state_dir", old.StateDir, next.StateDir)
	same("run_dir", old.RunDir, next.RunDir)
	same("hypervisor", old.Hypervisor, next.Hypervisor)
	same("vsphere", old.VSphere, next.VSphere)
	same("catalog", old.Catalog, next.Catalog)
	same("admin", old.Admin, next.Admin)
	same("metrics.listen", old.Metrics, next.Metrics)
	same("guest", old.Guest, next.Guest)
	same("https", old.HTTPS, next.HTTPS)
	same("volume", old.Volume, next.Volume)
	same("backup", old.Backup, next.Backup)
	same("transporter", old.Transporter, next.Transporter)
	same("notify", old.Notify, next.Notify)
	before := map[string]config.VM{}
	for _, vm := range old.VMs {
		before[vm.Socket] = vm
	}
	for i, vm := range next.VMs {
		if b, ok := before[vm.Socket]; ok && (b.Name != vm.Name || b.SocketMode != vm.SocketMode) {
			errs = append(errs, errkind.New(errkind.Unsupported, "vm[%d]: the VM and the mode of the socket %s cannot change while mooringd runs: choose another path, or restart it", i, vm.Socket))
		}
	}
	return errors.Join(errs...)
}

// needed refuses to forget, or to look for elsewhere, datastores with volumes
// and VMs with disks.
func (d *daemon) needed(ctx context.Context, old, next config.Config) error {
	stores := map[string]string{}
	for _, ds := range next.Datastores {
		stores[ds.Name] = ds.Path
	}
	vms := map[string]config.VM{}
	for _, vm := range next.VMs {
		vms[vm.Name] = vm
	}
	return d.store.View(ctx, func(tx volume.Tx) error {
		var errs []error
		for _, ds := range old.Datastores {
			if stores[ds.Name] == ds.Path {
				continue
			}
			u, err := tx.Provisioned(ds.Name)
			if err != nil {
				return err
			}
			if u.Volumes > 0 {
				errs = append(errs, errkind.New(errkind.InUse, "datastore %s has %s: it keeps its name and path until they are gone, trash included", ds.Name, count(u.Volumes, "volume")))
			}
		}
		for _, vm := range old.VMs {
			now, stays := vms[vm.Name]
			if stays && now.Dev == vm.Dev && now.InitPIDFile == vm.InitPIDFile {
				continue
			}
			held, err := tx.Volumes(volume.Filter{Holder: d.host.id(vm.Name)})
			if err != nil {
				return err
			}
			if len(held) > 0 {
				errs = append(errs, errkind.New(errkind.InUse, "VM %s has %s attached: detach before it is removed or its dev or init_pid_file changes", vm.Name, volumeNames(held)))
			}
		}
		return errors.Join(errs...)
	})
}

func volumeNames(records []volume.Record) string {
	var names []string
	for i, r := range records {
		if i == 3 {
			names = append(names, fmt.Sprintf("%d more", len(records)-i))
			break
		}
		names = append(names, r.Name().String())
	}
	return strings.Join(names, ", ")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
