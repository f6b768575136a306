package catalog

import (
	"encoding/json"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// poolKey is the setting that keeps the pool.
const poolKey = "pool"

// Pool is what may be delegated; one that was never put bounds nothing.
func (t *tx) Pool() (volspec.Amounts, error) {
	text, err := t.Setting(poolKey)
	if err != nil || text == "" {
		return volspec.NoBounds, err
	}
	pool := volspec.NoBounds
	err = errkind.Wrap(errkind.Corrupt, json.Unmarshal([]byte(text), &pool), "the pool is damaged in the catalog")
	return pool, err
}

func (t *tx) PutPool(a volspec.Amounts) error {
	text, err := json.Marshal(a)
	if err != nil {
		return errkind.Wrap(errkind.Internal, err, "write the pool")
	}
	return t.PutSetting(poolKey, string(text))
}

const allowanceCols = "group_id, sockets, vms, volumes, storage"

// Allowances are those of a vmgroup, or with "" of all, by vmgroup. What was
// never put is not among them.
func (t *tx) Allowances(g volspec.VMGroupID) (map[volspec.VMGroupID]volspec.Amounts, error) {
	query, args := "SELECT "+allowanceCols+" FROM allowances", []any{}
	if g != "" {
		query, args = query+" WHERE group_id = ?", []any{g}
	}
	all := map[volspec.VMGroupID]volspec.Amounts{}
	err := t.each(func(s scanner) error {
		var id volspec.VMGroupID
		var a volspec.Amounts
		if err := s.Scan(&id, &a.Sockets, &a.VMs, &a.Volumes, &a.Storage); err != nil {
			return err
		}
		all[id] = a
		return nil
	}, query, args...)
	return all, err
}

func (t *tx) PutAllowance(g volspec.VMGroupID, a volspec.Amounts) error {
	if _, err := t.group(g); err != nil {
		return err
	}
	_, err := t.exec(upsert("allowances", allowanceCols, "group_id"), g, a.Sockets, a.VMs, a.Volumes, a.Storage)
	return err
}

// Uses are those of a vmgroup, or with "" of all, by vmgroup. What uses nothing
// is not among them.
func (t *tx) Uses(g volspec.VMGroupID) (map[volspec.VMGroupID]volspec.Use, error) {
	only, args := "", []any(nil)
	if g != "" {
		only, args = " AND group_id = ?", []any{g, g}
	}
	all := map[volspec.VMGroupID]volspec.Use{}
	err := t.each(func(s scanner) error {
		var id volspec.VMGroupID
		var vm volspec.VMID
		if err := s.Scan(&id, &vm); err != nil {
			return err
		}
		u := all[id]
		u.VMs = append(u.VMs, vm)
		all[id] = u
		return nil
	}, "SELECT group_id, vm_id FROM points WHERE vm_id > ''"+only+
		" UNION SELECT group_id, object FROM jobs WHERE kind = 'vm-backup' AND "+openJobs+only, args...)
	if err != nil {
		return nil, err
	}
	err = t.each(func(s scanner) error {
		var id volspec.VMGroupID
		var v volspec.VolumeID
		if err := s.Scan(&id, &v); err != nil {
			return err
		}
		u := all[id]
		u.Volumes = append(u.Volumes, v)
		all[id] = u
		return nil
	}, "SELECT group_id, volume_id FROM points WHERE vm_id = '' AND volume_id > ''"+only+
		" UNION SELECT group_id, object FROM jobs WHERE kind = 'backup' AND "+openJobs+only, args...)
	if err != nil {
		return nil, err
	}
	if g != "" {
		args = args[:1]
	}
	err = t.each(func(s scanner) error {
		var id volspec.VMGroupID
		var stored int64
		if err := s.Scan(&id, &stored); err != nil {
			return err
		}
		u := all[id]
		u.Stored = stored
		all[id] = u
		return nil
	}, "SELECT group_id, CAST(SUM(stored) AS BIGINT) FROM repositories WHERE group_id > ''"+only+" GROUP BY group_id", args...)
	return all, err
}
