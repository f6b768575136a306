package catalog

import (
	"context"
	"encoding/json"

	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

var _ backup.Tx = (*tx)(nil)

// body reads a JSON document of the catalog.
func body(text string, into any, what, id string) error {
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return errkind.Wrap(errkind.Corrupt, err, "the catalog's record of %s %s is damaged: restore the catalog from a copy", what, id)
	}
	return nil
}

func document(v any, what, id string) (string, error) {
	b, err := json.Marshal(v)
	return string(b), errkind.Wrap(errkind.Internal, err, "record of %s %s", what, id)
}

// Backup is the catalog as the backup service sees it.
func (c *Catalog) Backup() backup.Store { return backups{c} }

type backups struct{ c *Catalog }

func (b backups) View(ctx context.Context, fn func(backup.Tx) error) error {
	return b.c.view(ctx, func(t *tx) error { return fn(t) })
}

func (b backups) Update(ctx context.Context, fn func(backup.Tx) error) error {
	return b.c.update(ctx, func(t *tx) error { return fn(t) })
}

const policyCols = "id, group_id, name, source, body"

func scanPolicy(s scanner) (p backup.Policy, err error) {
	var text string
	if err = s.Scan(&p.ID, &p.Group, &p.Name, &p.Source, &text); err != nil {
		return p, err
	}
	return p, body(text, &p.PolicyBody, "policy", p.Name)
}

func (t *tx) Policies(g volspec.VMGroupID) ([]backup.Policy, error) {
	if g == "" {
		return list(t, scanPolicy, "SELECT "+policyCols+" FROM policies ORDER BY group_id, name")
	}
	return list(t, scanPolicy, "SELECT "+policyCols+" FROM policies WHERE group_id = ? ORDER BY name", g)
}

func (t *tx) Policy(id volspec.PolicyID) (backup.Policy, error) {
	p, found, err := one(t, scanPolicy, "SELECT "+policyCols+" FROM policies WHERE id = ?", id)
	if err == nil && !found {
		err = errkind.New(errkind.NotFound, "Policy %s not found", id)
	}
	return p, err
}

// policiesKey is the setting that counts changes of policies.
const policiesKey = "policies version"

func (t *tx) PoliciesVersion() (string, error) { return t.Setting(policiesKey) }

func (t *tx) policiesChanged() error {
	_, err := t.exec(`INSERT INTO settings (name, value) VALUES (?, '1')
		ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(settings.value AS BIGINT) + 1 AS TEXT)`, policiesKey)
	return err
}

func (t *tx) PolicyByName(g volspec.VMGroupID, name string) (backup.Policy, error) {
	p, found, err := one(t, scanPolicy, "SELECT "+policyCols+" FROM policies WHERE group_id = ? AND name = ?", g, name)
	if err == nil && !found {
		err = errkind.New(errkind.NotFound, "Policy %s not found", name)
	}
	return p, err
}

func (t *tx) PutPolicy(p backup.Policy) error {
	n, err := t.count("SELECT COUNT(*) FROM policies WHERE group_id = ? AND name = ? AND id <> ?", p.Group, p.Name, p.ID)
	if err != nil {
		return err
	}
	if n > 0 {
		return errkind.New(errkind.Exists, "a policy %s exists already: choose another name, or change it with `mooring backup policy set`", p.Name)
	}
	if _, err := t.group(p.Group); err != nil {
		return err
	}
	text, err := document(p.PolicyBody, "policy", p.Name)
	if err != nil {
		return err
	}
	if _, err = t.exec(upsert("policies", policyCols, "id"), p.ID, p.Group, p.Name, p.Source, text); err != nil {
		return err
	}
	return t.policiesChanged()
}

func (t *tx) DeletePolicy(id volspec.PolicyID) error {
	if _, err := t.exec("DELETE FROM schedule_marks WHERE policy_id = ?", id); err != nil {
		return err
	}
	if _, err := t.exec("DELETE FROM policies WHERE id = ?", id); err != nil {
		return err
	}
	return t.policiesChanged()
}

const alarmCols = "id, group_id, kind, object, since, told, detail"

func scanAlarm(s scanner) (a backup.Alarm, err error) {
	var since, told int64
	err = s.Scan(&a.ID, &a.Group, &a.Kind, &a.Object, &since, &told, &a.Detail)
	a.Since, a.Told = toTime(since), toTime(told)
	return a, err
}

func (t *tx) Alarms(g volspec.VMGroupID) ([]backup.Alarm, error) {
	if g == "" {
		return list(t, scanAlarm, "SELECT "+alarmCols+" FROM alarms ORDER BY since, id")
	}
	return list(t, scanAlarm, "SELECT "+alarmCols+" FROM alarms WHERE group_id = ? ORDER BY since, id", g)
}

func (t *tx) PutAlarm(a backup.Alarm) error {
	_, err := t.exec(upsert("alarms", alarmCols, "id"), a.ID, a.Group, a.Kind, a.Object, fromTime(a.Since), fromTime(a.Told), a.Detail)
	return err
}

func (t *tx) DeleteAlarm(id string) error {
	_, err := t.exec("DELETE FROM alarms WHERE id = ?", id)
	return err
}
