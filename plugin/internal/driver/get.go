package driver

import (
	"context"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Get describes a volume under the name asked. Kinds: invalid for a name no
// volume can have, not-found only when the host service said so, and
// unavailable for everything else that keeps it from being known: Docker must
// then see a broken connection, since it forgets a volume on any error.
func (d *Driver) Get(ctx context.Context, name string) (View, error) {
	v, err := d.lookup(ctx, name)
	if err != nil {
		return View{}, err
	}
	return d.view(name, v), nil
}

func (d *Driver) view(name string, v wire.Volume) View {
	path, err := d.path(v.ID)
	if err != nil {
		path = "" // shown without one; Mount says why
	}
	l, _ := d.o.Ledger.Volume(v.ID)
	return View{Name: name, Mountpoint: path, CreatedAt: created(v), Status: Status(v, l.Count())}
}

// lookup is the newest that can be had of one volume.
func (d *Driver) lookup(ctx context.Context, name string) (wire.Volume, error) {
	n, err := volspec.ParseName(name)
	if err != nil {
		return wire.Volume{}, err
	}
	select {
	case d.looks.slots <- struct{}{}:
	default:
		if v, ok := d.shared(ctx, n); ok {
			return v, nil
		}
		select {
		case d.looks.slots <- struct{}{}:
		case <-ctx.Done():
			return d.remembered(ctx, n, errkind.Wrap(errkind.Unavailable, context.Cause(ctx), "volume %s: too many questions at once", name))
		}
	}
	defer func() { <-d.looks.slots }()
	_, cached := d.o.Cache.Get(n)
	askCtx, cancel := d.host.ask(ctx, cached)
	defer cancel()
	v, err := d.o.Host.Get(askCtx, name)
	if d.host.saw(err) != nil {
		return d.remembered(ctx, n, err)
	}
	d.o.Cache.Put(n, v)
	return v, nil
}

// remembered decides what to say when the service gave no volume.
func (d *Driver) remembered(ctx context.Context, n volspec.Name, err error) (wire.Volume, error) {
	if errkind.Is(err, errkind.NotFound) {
		d.o.Cache.Remove(n)
		return wire.Volume{}, err
	}
	if v, ok := d.o.Cache.Get(n); ok {
		log.G(ctx).WithField(log.Volume, n.String()).WithField(log.Err, err.Error()).Debug("volume answered from the cache")
		return v, nil
	}
	if errkind.Is(err, errkind.Invalid) { // such as a datastore that never was
		return wire.Volume{}, err
	}
	return wire.Volume{}, errkind.Wrap(errkind.Unavailable, err, "volume %s is not known here and the host service cannot be asked", n)
}

// shared answers from a listing that all crowded lookups share. False means
// that the volume must be asked for by itself: absence from a listing proves
// nothing, and only the service resolves a short name it never resolved.
func (d *Driver) shared(ctx context.Context, n volspec.Name) (wire.Volume, bool) {
	if err := d.looks.list(ctx, d.refresh); err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Debug("crowded lookups are answered from the cache")
	}
	return d.o.Cache.Get(n)
}

// refresh fills the cache with a whole listing.
func (d *Driver) refresh(ctx context.Context) error {
	_, cached := d.o.Cache.All()
	since := d.o.Cache.Now()
	ctx, cancel := d.host.ask(ctx, cached)
	defer cancel()
	all, err := d.o.Host.List(ctx)
	if d.host.saw(err) != nil {
		return err
	}
	d.o.Cache.Replace(all, since)
	return nil
}

// List describes all volumes of the vmgroup under their full names. While the
// service is away it is what was last seen; an error only if that is nothing.
func (d *Driver) List(ctx context.Context) ([]View, error) {
	err := d.looks.list(ctx, d.refresh)
	all, known := d.o.Cache.All()
	if err != nil && !known {
		return nil, err
	}
	if err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Warn("volumes listed from the cache: the host service does not answer")
	}
	views := make([]View, 0, len(all))
	for _, v := range all {
		views = append(views, d.view(v.Name, v))
	}
	return views, nil
}

// Path is where a volume is or would be mounted. It needs no host service for
// a volume that was seen before. Kinds as for Get.
func (d *Driver) Path(ctx context.Context, name string) (string, error) {
	n, err := volspec.ParseName(name)
	if err != nil {
		return "", err
	}
	v, ok := d.o.Cache.Get(n)
	if !ok {
		if v, err = d.lookup(ctx, name); err != nil {
			return "", err
		}
	}
	return d.path(v.ID)
}

// warn logs what only weakens later answers.
func (d *Driver) warn(ctx context.Context, err error) {
	if err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Warn("state of the plugin could not be written, it is kept in memory")
	}
}
