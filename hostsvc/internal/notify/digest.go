package notify

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// How often a digest comes.
const (
	Daily  = "daily"
	Weekly = "weekly" // on Mondays
)

const (
	digestHour = 7
	// digestTick is how often is looked for digests that are due.
	digestTick = time.Minute
	// digestPause is between two attempts at one digest, of whatever process.
	digestPause = 10 * time.Minute
	digestLimit = 5 * time.Minute // of one attempt
)

// Overview knows how a vmgroup is, or with "" all of them.
type Overview interface {
	Dashboard(ctx context.Context, vmgroup, zone string) (wire.Dashboard, error)
}

// Digests mails summaries to the addresses of vmgroups and of the service. Each
// is sent once, also when several processes share a catalog; one that came due
// while nothing ran is sent late.
type Digests struct {
	d        *Directory
	overview Overview
	zone     *time.Location
}

// NewDigests makes what mails summaries, to the addresses that d knows. Days are
// those of zone.
func NewDigests(d *Directory, o Overview, zone *time.Location) *Digests {
	return &Digests{d, o, zone}
}

// Run sends what is due, until ctx ends.
func (s *Digests) Run(ctx context.Context) error {
	tick := time.NewTicker(digestTick)
	defer tick.Stop()
	for {
		s.send(ctx, time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// send sends what is due at now.
func (s *Digests) send(ctx context.Context, now time.Time) {
	if s.d.o.Mail == nil {
		return
	}
	all, err := s.d.targets(ctx)
	if err != nil {
		if ctx.Err() == nil {
			log.G(ctx).WithField(log.Err, err.Error()).Warn("who gets digests could not be read")
		}
		return
	}
	for _, t := range all {
		if ctx.Err() != nil || t.Body.Digest == "" || len(t.Body.Emails) == 0 {
			continue
		}
		if err := s.sendOne(ctx, t, now); err != nil {
			log.G(ctx).WithField(log.VMGroup, t.Name).WithField(log.Err, err.Error()).Warn("a digest was not mailed")
		}
	}
}

func (s *Digests) sendOne(ctx context.Context, t Targets, now time.Time) error {
	due := lastDue(t.Body.Digest, now, s.zone)
	if mine, err := s.claim(ctx, t.Group, due, now); err != nil || !mine {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, digestLimit)
	defer cancel()
	accepted, err := s.mail(ctx, t, due, now)
	if accepted {
		log.G(ctx).WithField(log.VMGroup, t.Name).Info("digest mailed")
	}
	_, never := errors.AsType[*PermanentError](err)
	if accepted || never || errkind.Is(err, errkind.NotFound) { // a repetition would not help
		// A mail that is accepted is not sent again because the service stops.
		kept, done := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
		defer done()
		err = errors.Join(err, s.d.o.Store.Update(kept, func(tx Tx) error { return putMark(tx, t.Group, mark{Done: due}) }))
	}
	return err
}

// mail makes and sends one digest. Its facts are read as somebody of the
// vmgroup, who sees nothing of others.
func (s *Digests) mail(ctx context.Context, t Targets, due, now time.Time) (accepted bool, err error) {
	o, err := s.d.mail(ctx, t.Body.Emails)
	if err != nil {
		return false, err
	}
	product, url, err := s.d.o.About(ctx)
	if err != nil {
		return false, err
	}
	own := ctx
	if t.Group != "" {
		own = volspec.Confine(ctx, t.Group)
	}
	dash, err := s.overview.Dashboard(own, t.Name, "")
	if err != nil {
		return false, err
	}
	l, err := digestLetter(summary{
		Product: product, URL: url, Group: t.Name, Every: t.Body.Digest, Dashboard: dash, now: now.In(s.zone),
	})
	if err != nil {
		return false, err
	}
	l.id = "digest " + string(t.Group) + " " + due.UTC().Format(time.RFC3339)
	sender, err := NewSMTP(o)
	if err != nil {
		return false, err
	}
	return sender.deliver(ctx, l)
}

// lastDue is when the newest digest became due.
func lastDue(every string, now time.Time, zone *time.Location) time.Time {
	local := now.In(zone)
	step := 1
	y, m, d := local.Date()
	if every == Weekly {
		step = 7
		d -= (int(local.Weekday()) + 6) % 7
	}
	due := time.Date(y, m, d, digestHour, 0, 0, 0, zone)
	if due.After(now) {
		due = time.Date(y, m, d-step, digestHour, 0, 0, 0, zone)
	}
	return due
}

// mark is how far the digests of a vmgroup are.
type mark struct {
	Done  time.Time `json:"done,omitzero"`  // what was due until then is sent
	Tried time.Time `json:"tried,omitzero"` // when somebody began with the next
}

func markKey(g volspec.VMGroupID) string { return "notify digest " + string(g) }

func putMark(tx Tx, g volspec.VMGroupID, m mark) error {
	text, err := json.Marshal(m)
	if err != nil {
		return errkind.Wrap(errkind.Internal, err, "mark of a digest")
	}
	return tx.PutSetting(markKey(g), string(text))
}

// claim reports whether the digest is to be sent now, by this process.
func (s *Digests) claim(ctx context.Context, g volspec.VMGroupID, due, now time.Time) (mine bool, err error) {
	err = s.d.o.Store.Update(ctx, func(tx Tx) error {
		mine = false
		text, err := tx.Setting(markKey(g))
		if err != nil {
			return err
		}
		var m mark
		if text != "" {
			if err := json.Unmarshal([]byte(text), &m); err != nil {
				return errkind.Wrap(errkind.Corrupt, err, "the mark of a digest is damaged: set the notifications anew")
			}
		}
		if !m.Done.Before(due) || now.Before(m.Tried.Add(digestPause)) {
			return nil
		}
		mine, m.Tried = true, now
		return putMark(tx, g, m)
	})
	return mine, err
}
