package catalog

import (
	"time"

	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

const snapshotCols = "id, volume_id, name, size, created, owner"

func scanSnapshot(s scanner) (p volume.Snapshot, err error) {
	var created int64
	err = s.Scan(&p.ID, &p.Volume, &p.Name, &p.Size, &created, &p.Owner)
	p.Created = toTime(created)
	return p, err
}

// Snapshots are listed oldest first.
func (t *tx) Snapshots(v volspec.VolumeID) ([]volume.Snapshot, error) {
	return list(t, scanSnapshot, "SELECT "+snapshotCols+" FROM snapshots WHERE volume_id = ? ORDER BY created, id", v)
}

// OwnedSnapshots are listed by owner, oldest first.
func (t *tx) OwnedSnapshots() ([]volume.Snapshot, error) {
	return list(t, scanSnapshot, "SELECT "+snapshotCols+" FROM snapshots WHERE owner > '' ORDER BY owner, created, id")
}

// PutSnapshot inserts or replaces by ID. The volume must exist; a name that
// another of its snapshots has is exists.
func (t *tx) PutSnapshot(s volume.Snapshot) error {
	v, err := t.Volume(s.Volume)
	if err != nil {
		return err
	}
	n, err := t.count("SELECT COUNT(*) FROM snapshots WHERE volume_id = ? AND name = ? AND id <> ?", s.Volume, s.Name, s.ID)
	if err != nil {
		return err
	}
	if n > 0 {
		return errkind.New(errkind.Exists, "Volume %s@%s already has a snapshot %s", v.Key.Name, v.Key.Datastore, s.Name)
	}
	_, err = t.exec(upsert("snapshots", snapshotCols, "id"), s.ID, s.Volume, s.Name, s.Size, fromTime(s.Created), s.Owner)
	return err
}

func (t *tx) DeleteSnapshot(id volspec.SnapshotID) error {
	_, err := t.exec("DELETE FROM snapshots WHERE id = ?", id)
	return err
}

func (t *tx) Datastore(name string) (string, error) {
	id, _, err := one(t, word[string], "SELECT id FROM datastores WHERE name = ?", name)
	return id, err
}

func (t *tx) PutDatastore(name, id string) error {
	_, err := t.exec(upsert("datastores", "name, id", "name"), name, id)
	return err
}

func (t *tx) Setting(key string) (string, error) {
	v, _, err := one(t, word[string], "SELECT value FROM settings WHERE name = ?", key)
	return v, err
}

func (t *tx) PutSetting(key, value string) error {
	_, err := t.exec(upsert("settings", "name, value", "name"), key, value)
	return err
}

func (t *tx) Alive(instance string) (bool, error) {
	now, err := t.now()
	if err != nil {
		return false, err
	}
	n, err := t.count("SELECT COUNT(*) FROM instances WHERE id = ? AND replaced = 0 AND expires > ?", instance, now)
	return n > 0, err
}

// replacedFor is how long a replaced instance is remembered, so that it is
// refused when it comes back.
const replacedFor = 30 * 24 * time.Hour

// Renew refuses an instance that a newer one of its installation has replaced.
func (t *tx) Renew(instance, installation string, ttl time.Duration) error {
	now, err := t.now()
	if err != nil {
		return err
	}
	expires := now + ttl.Nanoseconds()
	replaced, found, err := one(t, word[bool], "SELECT replaced FROM instances WHERE id = ?", instance)
	switch {
	case err != nil:
		return err
	case replaced:
		return errkind.New(errkind.InUse,
			"this mooringd has been replaced by a newer one with the same state directory: stop it")
	case found:
		_, err = t.exec("UPDATE instances SET expires = ? WHERE id = ?", expires, instance)
		return err
	}
	if _, err := t.exec("UPDATE instances SET replaced = 1 WHERE installation = ?", installation); err != nil {
		return err
	}
	if _, err := t.exec("DELETE FROM instances WHERE replaced = 1 AND expires < ?", now-replacedFor.Nanoseconds()); err != nil {
		return err
	}
	_, err = t.exec("INSERT INTO instances (id, installation, replaced, expires) VALUES (?, ?, 0, ?)", instance, installation, expires)
	return err
}
