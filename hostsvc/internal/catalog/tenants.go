package catalog

import (
	"strings"
	"time"

	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// The deeds on vmgroups of package tenancy that are about tenants.

func details(text, name string, deleted int64) (d tenancy.Details, err error) {
	if text != "" {
		err = body(text, &d, "vmgroup", name)
	}
	d.Deleted = toTime(deleted)
	return d, err
}

func (t *tx) Details(g volspec.VMGroupID) (tenancy.Details, error) {
	d, _, err := one(t, func(s scanner) (d tenancy.Details, err error) {
		var text string
		var deleted int64
		if err = s.Scan(&text, &deleted); err != nil {
			return d, err
		}
		return details(text, string(g), deleted)
	}, "SELECT body, deleted FROM vmgroups WHERE id = ?", g)
	return d, err
}

// PutDetails also writes what TenantPage searches.
func (t *tx) PutDetails(g volspec.VMGroupID, d tenancy.Details) error {
	text, err := document(d, "vmgroup", string(g))
	if err != nil {
		return err
	}
	n, err := t.exec("UPDATE vmgroups SET body = ?, contact = ?, deleted = ? WHERE id = ?", text, strings.ToLower(d.Profile.Email), fromTime(d.Deleted), g)
	if err != nil {
		return err
	}
	if n == 0 {
		return errkind.New(errkind.NotFound, "Vmgroup %s does not exist", g)
	}
	if _, err := t.exec("DELETE FROM labels WHERE group_id = ?", g); err != nil {
		return err
	}
	for _, l := range d.Profile.Labels {
		if _, err := t.exec("INSERT INTO labels (group_id, label) VALUES (?, ?) ON CONFLICT (group_id, label) DO NOTHING", g, l); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) Deleted(until time.Time) ([]volspec.VMGroup, error) {
	return list(t, scanGroup, "SELECT "+groupCols+" FROM vmgroups WHERE state = 'deleted' AND (deleted <= ? OR removing = 1) ORDER BY name", fromTime(until))
}

func scanText[T ~string](s scanner) (text T, err error) {
	err = s.Scan(&text)
	return text, err
}

func (t *tx) TransporterNames() ([]string, error) {
	return list(t, scanText[string], "SELECT name FROM transporters ORDER BY name")
}

func (t *tx) Bound(g volspec.VMGroupID) ([]string, error) {
	return list(t, scanText[string], "SELECT transporter FROM group_transporters WHERE group_id = ? ORDER BY transporter", g)
}

func (t *tx) GroupsByID(ids []volspec.VMGroupID) ([]volspec.VMGroup, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return list(t, scanGroup, "SELECT "+groupCols+" FROM vmgroups WHERE id IN ("+marks(len(ids))+")", anyOf(ids)...)
}

func anyOf[T any](list []T) []any {
	args := make([]any, len(list))
	for i, v := range list {
		args[i] = v
	}
	return args
}

// Facts asks one question for each kind of fact.
func (t *tx) Facts(ids []volspec.VMGroupID) (map[volspec.VMGroupID]tenancy.Facts, error) {
	facts := map[volspec.VMGroupID]tenancy.Facts{}
	if len(ids) == 0 {
		return facts, nil
	}
	args := anyOf(ids)
	in := "group_id IN (" + marks(len(ids)) + ")"
	for _, q := range []struct {
		query string
		set   func(f *tenancy.Facts, n int64)
	}{
		{"SELECT group_id, COUNT(*) FROM members WHERE " + in, func(f *tenancy.Facts, n int64) { f.VMs = int(n) }},
		{"SELECT group_id, COUNT(*) FROM vm_folders WHERE " + in, func(f *tenancy.Facts, n int64) { f.Folders = int(n) }},
		{"SELECT group_id, COUNT(*) FROM volumes WHERE " + live + " AND " + in, func(f *tenancy.Facts, n int64) { f.Volumes = int(n) }},
		{"SELECT group_id, COUNT(*) FROM repositories WHERE " + in, func(f *tenancy.Facts, n int64) { f.Repositories = int(n) }},
		{"SELECT group_id, COUNT(*) FROM group_transporters WHERE " + in, func(f *tenancy.Facts, n int64) { f.Transporters = int(n) }},
		{"SELECT group_id, COUNT(*) FROM users WHERE " + in, func(f *tenancy.Facts, n int64) { f.Users = int(n) }},
		{"SELECT group_id, COUNT(*) FROM alarms WHERE NOT " + isNotice + " AND " + in, func(f *tenancy.Facts, n int64) { f.Alarms = int(n) }},
		{"SELECT group_id, COUNT(*) FROM alarms WHERE " + isNotice + " AND " + in, func(f *tenancy.Facts, n int64) { f.Notices = int(n) }},
	} {
		err := t.each(func(s scanner) error {
			var id volspec.VMGroupID
			var n int64
			if err := s.Scan(&id, &n); err != nil {
				return err
			}
			f := facts[id]
			q.set(&f, n)
			facts[id] = f
			return nil
		}, q.query+" GROUP BY group_id", args...)
		if err != nil {
			return nil, err
		}
	}
	return facts, nil
}
