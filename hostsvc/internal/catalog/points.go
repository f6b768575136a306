package catalog

import (
	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

const baseCols = "volume_id, repository_id, snapshot_id, point_id, size, change"

func scanBase(s scanner) (b backup.Base, err error) {
	err = s.Scan(&b.Volume, &b.Repository, &b.Snapshot, &b.Point, &b.Size, &b.Change)
	return b, err
}

func (t *tx) Bases(v volspec.VolumeID) ([]backup.Base, error) {
	if v == "" {
		return list(t, scanBase, "SELECT "+baseCols+" FROM bases ORDER BY volume_id, repository_id")
	}
	return list(t, scanBase, "SELECT "+baseCols+" FROM bases WHERE volume_id = ? ORDER BY repository_id", v)
}

func (t *tx) PutBase(b backup.Base) error {
	_, err := t.exec(upsert("bases", baseCols, "volume_id, repository_id"), b.Volume, b.Repository, b.Snapshot, b.Point, b.Size, b.Change)
	return err
}

func (t *tx) DeleteBase(v volspec.VolumeID, r volspec.RepositoryID) error {
	_, err := t.exec("DELETE FROM bases WHERE volume_id = ? AND repository_id = ?", v, r)
	return err
}

// goodPoint can be restored. It is what the index points_good is of, word for
// word.
const goodPoint = "state <> 'damaged' AND deleting = 0"

const pointCols = "id, group_id, repository_id, volume_id, volume, datastore, created, state, hold, deleting, set_id, vm_id, vm, body"

func scanPoint(s scanner) (p backup.Point, err error) {
	var text string
	var created int64
	if err = s.Scan(&p.ID, &p.Group, &p.Repository, &p.VolumeID, &p.Volume, &p.Datastore, &created, &p.State, &p.Hold, &p.Deleting, &p.Set, &p.VMID, &p.VM, &text); err != nil {
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
	if q.Set != "" {
		add("set_id = ?", q.Set)
	}
	if q.VMID != "" {
		add("vm_id = ?", q.VMID)
	}
	if q.VM != "" {
		add("vm = ?", q.VM)
	}
	if q.Heads {
		add("(set_id = '' OR id = (SELECT MIN(s.id) FROM points s WHERE s.set_id = points.set_id))")
	}
	if q.Good {
		add(goodPoint)
	}
	if q.Deleting {
		add("deleting = 1")
	}
	if q.Unverified {
		add("state = 'completed' AND deleting = 0") // what the index points_unverified is of
		if q.AfterID != "" {
			add("(created, id) > (?, ?)", fromTime(q.After), q.AfterID)
		}
	}
	switch {
	case q.BeforeID != "":
		add("(created, id) < (?, ?)", fromTime(q.Before), q.BeforeID)
	case !q.Before.IsZero():
		add("created <= ?", fromTime(q.Before))
	}
	if q.Unverified {
		query += " ORDER BY created, id"
	} else {
		query += " ORDER BY created DESC, id DESC"
	}
	if q.Limit > 0 {
		query += " LIMIT ?"
		args = append(args, q.Limit)
	}
	return list(t, scanPoint, query, args...)
}

// Newest reads no bodies, and one row for each volume.
func (t *tx) Newest(g volspec.VMGroupID) (map[volspec.VolumeID]backup.Newest, error) {
	of, args := "", []any{}
	if g != "" {
		of, args = " AND group_id = ?", []any{g}
	}
	all := map[volspec.VolumeID]backup.Newest{}
	err := t.each(func(s scanner) error {
		var v volspec.VolumeID
		var n backup.Newest
		var created int64
		err := s.Scan(&v, &n.ID, &created, &n.State)
		n.Created = toTime(created)
		all[v] = n
		return err
	}, `SELECT v.volume_id, p.id, p.created, p.state
	      FROM (SELECT DISTINCT group_id, volume_id FROM protected WHERE volume_id > ''`+of+`) v
	      JOIN points p ON p.id = (SELECT id FROM points WHERE group_id = v.group_id AND volume_id = v.volume_id AND `+goodPoint+`
	                                ORDER BY created DESC, id DESC LIMIT 1)`, args...)
	return all, err
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
	old, found, err := t.keyOf(p.ID)
	if err != nil {
		return err
	}
	key := pointKey{p.Group, p.VMID, p.VolumeID, p.Set}
	if found && old != key {
		if err := t.DeletePoint(p.ID); err != nil {
			return err
		}
		found = false
	}
	if !found {
		if err := t.countPoint(key, 1); err != nil {
			return err
		}
	}
	_, err = t.exec(upsert("points", pointCols, "id"),
		p.ID, p.Group, p.Repository, p.VolumeID, p.Volume, p.Datastore, fromTime(p.Created), p.State, p.Hold, p.Deleting, p.Set, p.VMID, p.VM, text)
	return err
}

func (t *tx) DeletePoint(id volspec.PointID) error {
	key, found, err := t.keyOf(id)
	if err != nil || !found {
		return err
	}
	if _, err := t.exec("DELETE FROM points WHERE id = ?", id); err != nil {
		return err
	}
	return t.countPoint(key, -1)
}

// pointKey is what a point is counted by in the table protected.
type pointKey struct {
	group  volspec.VMGroupID
	vm     volspec.VMID
	volume volspec.VolumeID
	set    volspec.PointID
}

func (t *tx) keyOf(id volspec.PointID) (pointKey, bool, error) {
	return one(t, func(s scanner) (k pointKey, err error) {
		err = s.Scan(&k.group, &k.vm, &k.volume, &k.set)
		return k, err
	}, "SELECT group_id, vm_id, volume_id, set_id FROM points WHERE id = ?", id)
}

// countPoint counts a point that is about to come, or that has gone: its set
// comes with the first row, and goes with the last.
func (t *tx) countPoint(k pointKey, n int) error {
	if k.set == "" {
		return t.countProtected(k.group, k.vm, k.volume, n, n)
	}
	others, err := t.count("SELECT COUNT(*) FROM points WHERE set_id = ? AND set_id > ''", k.set)
	if err == nil && others == 0 {
		err = t.countProtected(k.group, k.vm, "", 0, n)
	}
	if err != nil {
		return err
	}
	return t.countProtected(k.group, k.vm, k.volume, n, 0)
}

func (t *tx) countProtected(g volspec.VMGroupID, vm volspec.VMID, v volspec.VolumeID, parts, points int) error {
	_, err := t.exec(`INSERT INTO protected (group_id, vm_id, volume_id, parts, points) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (group_id, vm_id, volume_id) DO UPDATE SET parts = protected.parts + excluded.parts, points = protected.points + excluded.points`,
		g, vm, v, parts, points)
	if err == nil && parts+points < 0 {
		_, err = t.exec("DELETE FROM protected WHERE group_id = ? AND vm_id = ? AND volume_id = ? AND parts = 0 AND points = 0", g, vm, v)
	}
	return err
}

// dropPoints deletes those of a repository.
func (t *tx) dropPoints(r volspec.RepositoryID) error {
	ids, err := list(t, word[volspec.PointID], "SELECT id FROM points WHERE repository_id = ?", r)
	for _, id := range ids {
		if err == nil {
			err = t.DeletePoint(id)
		}
	}
	return err
}
