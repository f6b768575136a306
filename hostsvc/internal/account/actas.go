package account

import (
	"context"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// ActAs lets the session of a user of the master act for a tenant, and for
// nobody else, until StopActing or for some minutes.
func (s *Service) ActAs(ctx context.Context, c volspec.Caller, r wire.ActAs) (wire.Session, error) {
	d := time.Duration(r.Minutes) * time.Minute
	switch {
	case r.Minutes == 0:
		d = actDefault
	case r.Minutes < 0 || d > actMost:
		return wire.Session{}, errkind.New(errkind.Invalid, "%d minutes are not possible: write a number from 1 to %d", r.Minutes, int(actMost.Minutes()))
	}
	reason := clip(strings.TrimSpace(r.Reason))
	var answer wire.Session
	err := s.o.Store.Update(ctx, func(tx Tx) error {
		u, v, err := s.own(tx, c)
		if err != nil {
			return err
		}
		t, err := tx.TenantByName(r.VMGroup)
		if err != nil {
			return err
		}
		if v.Body.As != "" { // over, but not noticed yet
			if err := s.endActing(ctx, tx, c, &v, "time is over"); err != nil {
				return err
			}
		}
		v.Body.As, v.Body.AsName, v.Body.AsUntil, v.Body.Reason = t.ID, t.Name, s.now().Add(d), reason
		if err := tx.PutSession(v); err != nil {
			return err
		}
		if err := s.auditActing(ctx, tx, c, t.Name, "act-as.begin", "for "+d.String()+because(reason)); err != nil {
			return err
		}
		answer = s.describe(actingFor(c, t), u, "", v)
		return nil
	})
	return answer, err
}

// StopActing makes the session one of the master again; of any other it is
// harmless.
func (s *Service) StopActing(ctx context.Context, c volspec.Caller) (wire.Session, error) {
	var answer wire.Session
	err := s.o.Store.Update(ctx, func(tx Tx) error {
		u, v, err := s.own(tx, c)
		if err != nil {
			return err
		}
		if v.Body.As == "" {
			name, err := tenantName(tx, u.Group)
			answer = s.describe(c, u, name, v)
			return err
		}
		if err := s.endActing(ctx, tx, c, &v, "by the user"); err != nil {
			return err
		}
		if err := tx.PutSession(v); err != nil {
			return err
		}
		t, err := tx.Tenant("")
		if err != nil {
			return err
		}
		itself := s.callerOf(u, t)
		itself.Session, itself.From = c.Session, c.From
		answer = s.describe(itself, u, "", v)
		return nil
	})
	return answer, err
}

// endActing takes the acting out of v, which the caller puts or deletes.
func (s *Service) endActing(ctx context.Context, tx Tx, c volspec.Caller, v *Session, why string) error {
	name, reason := v.Body.AsName, v.Body.Reason
	if t, err := tx.Tenant(v.Body.As); err == nil {
		name = t.Name
	} else if !absent(err) {
		return err
	}
	v.Body.As, v.Body.AsName, v.Body.AsUntil, v.Body.Reason = "", "", time.Time{}, ""
	return s.auditActing(ctx, tx, c, name, "act-as.end", why+because(reason))
}

// auditActing writes for both: the service's own log and that of the tenant.
func (s *Service) auditActing(ctx context.Context, tx Tx, c volspec.Caller, tenant, action, detail string) error {
	c.As = tenant
	if err := s.audit(ctx, tx, c, "", action, tenant, detail, nil); err != nil {
		return err
	}
	return s.audit(ctx, tx, c, tenant, action, tenant, detail, nil)
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}
