package kopia

import (
	"cmp"
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/maintenance"
	"github.com/kopia/kopia/repo/maintenancestats"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
)

// Maintain runs kopia's maintenance, with its full safety margins and our own
// way of finding what is in use: see garbage.go.
//
// kopia's margins are times, and clocks jump. So a maintenance does not begin
// while somebody on this machine writes to the repository: then every content
// that a backup relied on before is in a manifest by now, and whatever the
// clock says, what is in no manifest is in no backup. A backup that begins
// meanwhile is not held up; its packs are newer than the maintenance, and the
// guard keeps them.
func (r *Repository) Maintain(ctx context.Context, full bool) (repository.Maintained, error) {
	done, err := r.use()
	if err != nil {
		return repository.Maintained{}, err
	}
	defer done()
	if r.g.readOnly.Load() {
		return repository.Maintained{Note: "the place is read-only"}, nil
	}
	unlock, ok, err := r.o.lock(r.identity.Unique, "maintenance", syscall.LOCK_EX)
	if err != nil {
		return repository.Maintained{}, err
	}
	if !ok {
		return repository.Maintained{Note: "a maintenance is running already"}, nil
	}
	defer unlock()
	free, ok, err := r.o.lock(r.identity.Unique, "writers", syscall.LOCK_EX)
	if err != nil {
		return repository.Maintained{}, err
	}
	if !ok {
		return repository.Maintained{Note: "a backup is running: it waits for the next time"}, nil
	}
	free()
	if err := r.g.check(ctx, true); err != nil {
		return repository.Maintained{}, err
	}
	if err := r.fresh(ctx); err != nil {
		return repository.Maintained{}, err
	}
	if err := r.clocks(ctx); err != nil {
		return repository.Maintained{}, err
	}
	return r.maintain(ctx, full)
}

// clocks refuses to go by a clock that is not the place's.
func (r *Repository) clocks(ctx context.Context) error {
	if err := r.g.probe(ctx); err != nil {
		return err
	}
	m, err := r.g.GetMetadata(ctx, accessBlob)
	if err != nil {
		return errkind.Wrap(kindOf(err), err, "ask %s for its time", r.g.where)
	}
	if d := m.Timestamp.Sub(r.clock.now()).Abs(); d > maxSkew {
		return errkind.New(errkind.Unavailable, "the clocks of this machine and of %s differ by %s: the maintenance goes by age and would be unsafe; set the clocks", r.g.where, d.Round(time.Second))
	}
	return nil
}

// maxSkew is kopia's, less what may pass until it looks.
const maxSkew = 4 * time.Minute

func (r *Repository) maintain(ctx context.Context, full bool) (repository.Maintained, error) {
	var m repository.Maintained
	before, err := r.size(ctx)
	if err != nil {
		return m, err
	}
	mode := maintenance.ModeQuick
	if full {
		mode = maintenance.ModeFull
	}
	ctx, why, cancel := stoppable(ctx)
	defer cancel()
	if err := r.claim(ctx); err != nil {
		return m, failed(why(err), "become the owner of the repository in %s", r.g.where)
	}
	_, w, err := r.kopia.NewDirectWriter(ctx, repo.WriteSessionOptions{Purpose: "maintenance"})
	if err != nil {
		return m, failed(err, "write to %s", r.g.where)
	}
	err = maintenance.RunExclusive(ctx, w, mode, false, func(ctx context.Context, p maintenance.RunParameters) error {
		m.Ran = true
		if full {
			err := maintenance.ReportRun(ctx, w, maintenance.TaskSnapshotGarbageCollection, nil, func() (maintenancestats.Kind, error) {
				return r.collect(ctx, w, p.MaintenanceStartTime, &m)
			})
			if err != nil {
				return err
			}
		}
		if m.Quarantined > 0 {
			// Their entries would be dropped, and with them the packs if they come back.
			m.Note = "damaged blocks are still needed: nothing is removed until the next backup has healed them, or their recovery points are deleted"
			return nil
		}
		return maintenance.Run(ctx, p, maintenance.SafetyFull)
	})
	err = errors.Join(why(err), w.Close(context.WithoutCancel(ctx)))
	if other, ok := errors.AsType[maintenance.NotOwnedError](err); ok {
		return repository.Maintained{Note: "it is maintained by " + cmp.Or(other.Owner, r.maker)}, nil
	}
	if err != nil {
		return m, failed(err, "maintain %s", r.g.where)
	}
	if d, ok := r.g.Storage.(interface {
		sweep(context.Context, time.Time) error
	}); ok {
		if err := d.sweep(ctx, r.o.Now()); err != nil {
			return m, errkind.Wrap(kindOf(err), err, "remove what broken writes left in %s", r.g.where)
		}
	}
	after, err := r.size(ctx)
	m.Freed = max(before-after, 0)
	return m, err
}

// claim makes the installation that made the repository its owner, the first
// time.
func (r *Repository) claim(ctx context.Context) error {
	if r.maker != host(r.o.Owner) {
		return nil
	}
	has, err := maintenance.HasParams(ctx, r.kopia)
	if err != nil || has {
		return err
	}
	return own(ctx, r.kopia)
}

func (r *Repository) size(ctx context.Context) (n int64, err error) {
	err = r.g.ListBlobs(ctx, "", func(m blob.Metadata) error { n += m.Length; return ctx.Err() })
	return n, err
}

// Own makes this installation the one that maintains the repository, when the
// one that did is gone for good.
func (r *Repository) Own(ctx context.Context) error {
	done, err := r.use()
	if err != nil {
		return err
	}
	defer done()
	if r.g.readOnly.Load() {
		return errkind.Wrap(errkind.Unavailable, errReadOnly, "%s cannot be written", r.g.where)
	}
	if err := r.g.check(ctx, true); err != nil {
		return err
	}
	ctx, why, cancel := stoppable(ctx)
	defer cancel()
	return failed(why(own(ctx, r.kopia)), "become the owner of the repository in %s", r.g.where)
}
