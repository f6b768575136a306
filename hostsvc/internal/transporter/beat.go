package transporter

import (
	"context"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
)

// Register makes this transporter known and online. Call it before Run and
// before jobs are taken.
func (s *Service) Register(ctx context.Context) error { return s.beat(ctx, true) }

// Run tells the catalog that this transporter lives, until ctx ends. Then it is
// offline, unless another process runs it as well.
func (s *Service) Run(ctx context.Context) error {
	tick := time.NewTicker(s.o.Beat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			brief, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.Beat)
			defer cancel()
			s.complain(ctx, "the end of this transporter was not written down", s.leave(brief))
			return nil
		case <-tick.C:
			brief, cancel := context.WithTimeout(ctx, s.o.Beat)
			s.complain(ctx, "the sign of life of this transporter was not written down", s.beat(brief, false))
			cancel()
		}
	}
}

func (s *Service) complain(ctx context.Context, what string, err error) {
	if err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Warn(what)
	}
}

// beat writes a sign of life. With declare the configuration's description
// counts if it is another one than before.
func (s *Service) beat(ctx context.Context, declare bool) error {
	return s.o.Store.Update(ctx, func(tx Tx) error {
		t, err := tx.Transporter(s.o.Name)
		if err != nil && !errkind.Is(err, errkind.NotFound) {
			return err
		}
		clock, err := tx.Clock()
		if err != nil {
			return err
		}
		t.Name, t.Instance, t.Seen = s.o.Name, s.o.Instance, clock
		t.present(s.o.Instance, clock, clock.Add(s.o.Expire))
		t.Body.Host, t.Body.Version = s.o.Host, s.o.Version
		if declare && t.Body.Declared != s.o.Description {
			t.Body.Description, t.Body.Declared = s.o.Description, s.o.Description
		}
		return tx.PutTransporter(t)
	})
}

// leave ends the time for which this process is taken to run this transporter.
func (s *Service) leave(ctx context.Context) error {
	return s.o.Store.Update(ctx, func(tx Tx) error {
		t, err := tx.Transporter(s.o.Name)
		if errkind.Is(err, errkind.NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		clock, err := tx.Clock()
		if err != nil {
			return err
		}
		t.present(s.o.Instance, clock, clock)
		return tx.PutTransporter(t)
	})
}

// present writes down until when an instance is online, forgets those that no
// longer are, and is online itself until the last of them is not.
func (t *Transporter) present(instance string, clock, until time.Time) {
	all := map[string]time.Time{instance: until}
	for i, e := range t.Body.Instances {
		if i != instance && e.After(clock) {
			all[i] = e
		}
	}
	t.Body.Instances, t.Expires = all, until
	for _, e := range all {
		if e.After(t.Expires) {
			t.Expires = e
		}
	}
}
