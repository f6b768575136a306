package catalog

import (
	"encoding/json"
	"slices"

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

// among confines a query to these vmgroups, or with none named to nothing.
func among(of []volspec.VMGroupID) (and string, args []any) {
	if len(of) == 0 {
		return "", nil
	}
	return " AND group_id IN (" + marks(len(of)) + ")", anyOf(of)
}

// Allowances are those of these vmgroups, or with none named of all, by vmgroup.
// What was never put is not among them.
func (t *tx) Allowances(of ...volspec.VMGroupID) (map[volspec.VMGroupID]volspec.Amounts, error) {
	only, args := among(of)
	all := map[volspec.VMGroupID]volspec.Amounts{}
	err := t.each(func(s scanner) error {
		var id volspec.VMGroupID
		var a volspec.Amounts
		if err := s.Scan(&id, &a.Sockets, &a.VMs, &a.Volumes, &a.Storage); err != nil {
			return err
		}
		all[id] = a
		return nil
	}, "SELECT "+allowanceCols+" FROM allowances WHERE group_id > ''"+only, args...)
	return all, err
}

func (t *tx) PutAllowance(g volspec.VMGroupID, a volspec.Amounts) error {
	if _, err := t.group(g); err != nil {
		return err
	}
	_, err := t.exec(upsert("allowances", allowanceCols, "group_id"), g, a.Sockets, a.VMs, a.Volumes, a.Storage)
	return err
}

// Uses are those of these vmgroups, or with none named of all, by vmgroup. What
// uses nothing is not among them.
func (t *tx) Uses(of ...volspec.VMGroupID) (map[volspec.VMGroupID]volspec.Use, error) {
	only, args := among(of)
	twice := append(slices.Clone(args), args...)
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
	}, "SELECT group_id, vm_id FROM protected WHERE vm_id > '' AND parts > 0"+only+
		" UNION SELECT group_id, object FROM jobs WHERE kind = 'vm-backup' AND "+openJobs+only, twice...)
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
	}, "SELECT group_id, volume_id FROM protected WHERE vm_id = '' AND volume_id > '' AND parts > 0"+only+
		" UNION SELECT group_id, object FROM jobs WHERE kind = 'backup' AND "+openJobs+only, twice...)
	if err != nil {
		return nil, err
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
