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

const repoCols = "id, group_id, name, state, place, stored, reserved, body"

func scanRepo(s scanner) (r backup.Repo, err error) {
	var text string
	var reserved int64
	if err = s.Scan(&r.ID, &r.Group, &r.Name, &r.State, &r.Place, &r.Stored, &reserved, &text); err != nil {
		return r, err
	}
	return r, body(text, &r.Body, "repository", r.Name)
}

func (t *tx) Repositories(g volspec.VMGroupID) ([]backup.Repo, error) {
	if g == "" {
		return list(t, scanRepo, "SELECT "+repoCols+" FROM repositories ORDER BY group_id, name")
	}
	return list(t, scanRepo, "SELECT "+repoCols+" FROM repositories WHERE group_id = ? ORDER BY name", g)
}

func (t *tx) RepositoryByName(g volspec.VMGroupID, name string) (backup.Repo, error) {
	r, found, err := one(t, scanRepo, "SELECT "+repoCols+" FROM repositories WHERE group_id = ? AND name = ?", g, name)
	if err == nil && !found {
		err = errkind.New(errkind.NotFound, "Repository %s not found", name)
	}
	return r, err
}

func (t *tx) Repository(id volspec.RepositoryID) (backup.Repo, error) {
	r, found, err := one(t, scanRepo, "SELECT "+repoCols+" FROM repositories WHERE id = ?", id)
	if err == nil && !found {
		err = errkind.New(errkind.NotFound, "Repository %s not found", id)
	}
	return r, err
}

func (t *tx) PutRepository(r backup.Repo) error {
	for _, c := range []struct {
		taken, query string
		args         []any
	}{
		{"a repository " + r.Name + " exists already: choose another name", "SELECT COUNT(*) FROM repositories WHERE group_id = ? AND name = ? AND id <> ?", []any{r.Group, r.Name, r.ID}},
		{"the place of repository " + r.Name + " is in use by another repository: each needs a place of its own", "SELECT COUNT(*) FROM repositories WHERE place = ? AND id <> ?", []any{r.Place, r.ID}},
	} {
		n, err := t.count(c.query, c.args...)
		if err != nil {
			return err
		}
		if n > 0 {
			return errkind.New(errkind.Exists, "%s", c.taken)
		}
	}
	if r.Group != "" {
		if _, err := t.group(r.Group); err != nil {
			return err
		}
	}
	text, err := document(r.Body, "repository", r.Name)
	if err != nil {
		return err
	}
	_, err = t.exec(upsert("repositories", repoCols, "id"), r.ID, r.Group, r.Name, r.State, r.Place, r.Stored, 0, text)
	return err
}

func (t *tx) AddStored(id volspec.RepositoryID, bytes int64) error {
	_, err := t.exec("UPDATE repositories SET stored = stored + ? WHERE id = ?", bytes, id)
	return err
}

func (t *tx) DeleteRepository(id volspec.RepositoryID) error {
	for _, statement := range []string{
		"DELETE FROM points WHERE repository_id = ?",
		"DELETE FROM bases WHERE repository_id = ?",
		"DELETE FROM repository_secrets WHERE repository_id = ?",
		"DELETE FROM repositories WHERE id = ?",
	} {
		if _, err := t.exec(statement, id); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) Sealed(id volspec.RepositoryID) (string, error) {
	v, found, err := one(t, word[string], "SELECT sealed FROM repository_secrets WHERE repository_id = ?", id)
	if err == nil && !found {
		err = errkind.New(errkind.NotFound, "the catalog holds no key of repository %s: attach it again with its recovery kit", id)
	}
	return v, err
}

func (t *tx) PutSealed(id volspec.RepositoryID, sealed string) error {
	_, err := t.exec(upsert("repository_secrets", "repository_id, sealed", "repository_id"), id, sealed)
	return err
}

func (t *tx) AllSealed() (map[volspec.RepositoryID]string, error) {
	all := map[volspec.RepositoryID]string{}
	err := t.each(func(s scanner) error {
		var id volspec.RepositoryID
		var sealed string
		if err := s.Scan(&id, &sealed); err != nil {
			return err
		}
		all[id] = sealed
		return nil
	}, "SELECT repository_id, sealed FROM repository_secrets")
	return all, err
}

func (t *tx) StoredBy(g volspec.VMGroupID) (int64, error) {
	n, _, err := one(t, word[int64], "SELECT CAST(COALESCE(SUM(stored), 0) AS BIGINT) FROM repositories WHERE group_id = ?", g)
	return n, err
}

func (t *tx) BackupLimit(g volspec.VMGroupID) (int64, error) {
	n, _, err := one(t, word[int64], "SELECT max_stored FROM backup_limits WHERE group_id = ?", g)
	return n, err
}

func (t *tx) PutBackupLimit(g volspec.VMGroupID, limit int64) error {
	if limit <= 0 {
		_, err := t.exec("DELETE FROM backup_limits WHERE group_id = ?", g)
		return err
	}
	_, err := t.exec(upsert("backup_limits", "group_id, max_stored", "group_id"), g, limit)
	return err
}

const policyCols = "id, group_id, name, source, body"

func scanPolicy(s scanner) (p backup.Policy, err error) {
	var text string
	if err = s.Scan(&p.ID, &p.Group, &p.Name, &p.Source, &text); err != nil {
		return p, err
	}
	return p, body(text, &p.Spec, "policy", p.Name)
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
	text, err := document(p.Spec, "policy", p.Name)
	if err != nil {
		return err
	}
	_, err = t.exec(upsert("policies", policyCols, "id"), p.ID, p.Group, p.Name, p.Source, text)
	return err
}

func (t *tx) DeletePolicy(id volspec.PolicyID) error {
	if _, err := t.exec("DELETE FROM schedule_marks WHERE policy_id = ?", id); err != nil {
		return err
	}
	_, err := t.exec("DELETE FROM policies WHERE id = ?", id)
	return err
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

const baseCols = "volume_id, repository_id, snapshot_id, point_id, size"

func scanBase(s scanner) (b backup.Base, err error) {
	err = s.Scan(&b.Volume, &b.Repository, &b.Snapshot, &b.Point, &b.Size)
	return b, err
}

func (t *tx) Bases(v volspec.VolumeID) ([]backup.Base, error) {
	if v == "" {
		return list(t, scanBase, "SELECT "+baseCols+" FROM bases ORDER BY volume_id, repository_id")
	}
	return list(t, scanBase, "SELECT "+baseCols+" FROM bases WHERE volume_id = ? ORDER BY repository_id", v)
}

func (t *tx) PutBase(b backup.Base) error {
	_, err := t.exec(upsert("bases", baseCols, "volume_id, repository_id"), b.Volume, b.Repository, b.Snapshot, b.Point, b.Size)
	return err
}

func (t *tx) DeleteBase(v volspec.VolumeID, r volspec.RepositoryID) error {
	_, err := t.exec("DELETE FROM bases WHERE volume_id = ? AND repository_id = ?", v, r)
	return err
}

const pointCols = "id, group_id, repository_id, volume_id, volume, datastore, created, state, hold, deleting, body"

func scanPoint(s scanner) (p backup.Point, err error) {
	var text string
	var created int64
	if err = s.Scan(&p.ID, &p.Group, &p.Repository, &p.VolumeID, &p.Volume, &p.Datastore, &created, &p.State, &p.Hold, &p.Deleting, &text); err != nil {
		return p, err
	}
	p.Created = toTime(created)
	return p, body(text, &p.Body, "recovery point", string(p.ID))
}

func (t *tx) Points(q backup.PointQuery) ([]backup.Point, error) {
	query, args := "SELECT "+pointCols+" FROM points WHERE 1 = 1", []any{}
	add := func(term string, values ...any) {
		query += " AND " + term
		args = append(args, values...)
	}
	if q.Group != "" {
		add("group_id = ?", q.Group)
	}
	if q.Repository != "" {
		add("repository_id = ?", q.Repository)
	}
	if q.Volume != "" {
		add("volume = ?", q.Volume)
	}
	if q.VolumeID != "" {
		add("volume_id = ?", q.VolumeID)
	}
	if q.Deleting {
		add("deleting = 1")
	}
	switch {
	case q.BeforeID != "":
		add("(created, id) < (?, ?)", fromTime(q.Before), q.BeforeID)
	case !q.Before.IsZero():
		add("created <= ?", fromTime(q.Before))
	}
	query += " ORDER BY created DESC, id DESC"
	if q.Limit > 0 {
		query += " LIMIT ?"
		args = append(args, q.Limit)
	}
	return list(t, scanPoint, query, args...)
}

func (t *tx) Point(id volspec.PointID) (backup.Point, error) {
	p, found, err := one(t, scanPoint, "SELECT "+pointCols+" FROM points WHERE id = ?", id)
	if err == nil && !found {
		err = errkind.New(errkind.NotFound, "Recovery point %s not found", id)
	}
	return p, err
}

func (t *tx) PutPoint(p backup.Point) error {
	text, err := document(p.Body, "recovery point", string(p.ID))
	if err != nil {
		return err
	}
	_, err = t.exec(upsert("points", pointCols, "id"),
		p.ID, p.Group, p.Repository, p.VolumeID, p.Volume, p.Datastore, fromTime(p.Created), p.State, p.Hold, p.Deleting, text)
	return err
}

func (t *tx) DeletePoint(id volspec.PointID) error {
	_, err := t.exec("DELETE FROM points WHERE id = ?", id)
	return err
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
