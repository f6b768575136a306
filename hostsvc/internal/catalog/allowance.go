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

// What of a vmgroup is protected: columns, table and condition of points, and of
// jobs that are open.
const (
	protectedVMs     = "FROM protected WHERE vm_id > '' AND parts > 0"
	openVMBackups    = "FROM jobs WHERE kind = 'vm-backup' AND " + openJobs
	protectedVolumes = "FROM protected WHERE vm_id = '' AND volume_id > '' AND parts > 0"
	openBackups      = "FROM jobs WHERE kind = 'backup' AND " + openJobs
)

// Use is what of a vmgroup counts against its allowance.
func (t *tx) Use(g volspec.VMGroupID) (u volspec.Use, err error) {
	const of = " AND group_id = ?"
	u.VMs, err = list(t, scanText[volspec.VMID], "SELECT vm_id "+protectedVMs+of+" UNION SELECT object "+openVMBackups+of, g, g)
	if err != nil {
		return u, err
	}
	u.Volumes, err = list(t, scanText[volspec.VolumeID], "SELECT volume_id "+protectedVolumes+of+" UNION SELECT object "+openBackups+of, g, g)
	if err != nil {
		return u, err
	}
	u.Stored, _, err = one(t, func(s scanner) (n int64, err error) { return n, s.Scan(&n) },
		"SELECT CAST(COALESCE(SUM(stored), 0) AS BIGINT) FROM repositories WHERE 1 = 1"+of, g)
	return u, err
}

// Totals are those of these vmgroups, or with none named of all, by vmgroup.
// What uses nothing is not among them.
func (t *tx) Totals(of ...volspec.VMGroupID) (map[volspec.VMGroupID]volspec.Total, error) {
	only, args := among(of)
	twice := append(slices.Clone(args), args...)
	all := map[volspec.VMGroupID]volspec.Total{}
	err := t.each(func(s scanner) error {
		var id volspec.VMGroupID
		var vm volspec.VMID
		err := s.Scan(&id, &vm)
		u := all[id]
		u.VMs = append(u.VMs, vm)
		all[id] = u
		return err
	}, "SELECT group_id, vm_id "+protectedVMs+only+" UNION SELECT group_id, object "+openVMBackups+only, twice...)
	if err != nil {
		return nil, err
	}
	add := func(to func(u *volspec.Total) *int64) func(scanner) error {
		return func(s scanner) error {
			var id volspec.VMGroupID
			var n int64
			err := s.Scan(&id, &n)
			u := all[id]
			*to(&u) += n
			all[id] = u
			return err
		}
	}
	err = t.each(add(func(u *volspec.Total) *int64 { return &u.Volumes }),
		"SELECT group_id, COUNT(*) "+protectedVolumes+only+" GROUP BY group_id UNION ALL SELECT group_id, COUNT(DISTINCT object) "+openBackups+only+
			" AND NOT EXISTS (SELECT 1 "+protectedVolumes+" AND protected.group_id = jobs.group_id AND volume_id = object) GROUP BY group_id", twice...)
	if err != nil {
		return nil, err
	}
	err = t.each(add(func(u *volspec.Total) *int64 { return &u.Stored }),
		"SELECT group_id, CAST(SUM(stored) AS BIGINT) FROM repositories WHERE group_id > ''"+only+" GROUP BY group_id", args...)
	return all, err
}
