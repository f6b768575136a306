package backup

import (
	"context"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Kinds of alarms.
const (
	alarmRepository  = "repository-offline"
	alarmRPO         = "rpo-missed"
	alarmDamage      = "point-damaged"
	alarmDrill       = "drill-failed"
	alarmJob         = "job-failed"
	alarmQuota       = "backup-quota"
	alarmTransporter = "transporter-offline"
)

// recovered names the message for the end of an alarm.
var recovered = map[string]string{
	alarmRepository:  "repository-recovered",
	alarmRPO:         "rpo-recovered",
	alarmDamage:      "point-healed",
	alarmDrill:       "drill-recovered",
	alarmJob:         "job-recovered",
	alarmQuota:       "backup-quota-recovered",
	alarmTransporter: "transporter-recovered",
}

func alarmID(g volspec.VMGroupID, kind, object string) string {
	return string(g) + "/" + kind + "/" + object
}

// raise records an alarm and tells people of a new one. One that stands is
// kept with the new detail.
func (s *Service) raise(ctx context.Context, g volspec.VMGroupID, kind, object, detail string) error {
	a := Alarm{ID: alarmID(g, kind, object), Group: g, Kind: kind, Object: object, Since: now(), Told: now(), Detail: detail}
	fresh := true
	err := s.o.Store.Update(ctx, func(tx Tx) error {
		all, err := tx.Alarms(g)
		if err != nil {
			return err
		}
		for _, old := range all {
			if old.ID == a.ID {
				fresh, a.Since, a.Told = false, old.Since, old.Told
			}
		}
		return tx.PutAlarm(a)
	})
	if err == nil && fresh {
		s.tell(ctx, g, kind, object, "error", detail)
	}
	return err
}

// clear ends an alarm and tells people if there was one.
func (s *Service) clear(ctx context.Context, g volspec.VMGroupID, kind, object, sentence string) error {
	stood := false
	err := s.o.Store.View(ctx, func(tx Tx) error {
		all, err := tx.Alarms(g)
		for _, a := range all {
			stood = stood || a.ID == alarmID(g, kind, object)
		}
		return err
	})
	if err != nil || !stood {
		return err
	}
	err = s.o.Store.Update(ctx, func(tx Tx) error { return tx.DeleteAlarm(alarmID(g, kind, object)) })
	if err == nil && sentence != "" {
		s.tell(ctx, g, recovered[kind], object, "info", sentence)
	}
	return err
}

func (s *Service) tell(ctx context.Context, g volspec.VMGroupID, kind, object, severity, sentence string) {
	if s.o.Notify == nil {
		return
	}
	names, err := s.groupNames(ctx, g)
	if err != nil {
		names = nil // the message matters more than the name
	}
	s.o.Notify.Notify(ctx, Event{Group: names[g], GroupID: g, Kind: kind, Object: object, Severity: severity, Sentence: sentence})
}

// Alarms lists those of one vmgroup, or with "" all, oldest first.
func (s *Service) Alarms(ctx context.Context, group string) ([]wire.Alarm, error) {
	var all []Alarm
	err := s.o.Store.View(ctx, func(tx Tx) (err error) {
		var id volspec.VMGroupID
		if group != "" {
			g, err := s.group(tx, group)
			if err != nil {
				return err
			}
			id = g.ID
		}
		all, err = tx.Alarms(id)
		return err
	})
	if err != nil {
		return nil, err
	}
	names, err := namesOf(ctx, s, all, func(a Alarm) volspec.VMGroupID { return a.Group })
	out := make([]wire.Alarm, 0, len(all))
	for _, a := range all {
		out = append(out, wire.Alarm{VMGroup: names[a.Group], Kind: a.Kind, Object: a.Object, Since: a.Since, Detail: a.Detail})
	}
	return out, err
}
