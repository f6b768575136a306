package catalog

import (
	"math"

	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/volspec"
)

func (t *tx) VolumeStates(g volspec.VMGroupID) (map[volspec.State]int, error) {
	states := map[volspec.State]int{}
	err := t.each(func(s scanner) error {
		var state volspec.State
		var n int
		if err := s.Scan(&state, &n); err != nil {
			return err
		}
		states[state] = n
		return nil
	}, "SELECT state, COUNT(*) FROM volumes WHERE group_id = ? GROUP BY state", g)
	return states, err
}

func (t *tx) StaleMeta(g volspec.VMGroupID) error {
	_, err := t.exec("UPDATE volumes SET meta_stale = 1 WHERE group_id = ?", g)
	return err
}

func (t *tx) HeldBy(vm volspec.VMID) (int, error) {
	n, err := t.count("SELECT COUNT(*) FROM volumes WHERE holder_vm = ? AND holder_vm > ''", vm)
	if err != nil {
		return 0, err
	}
	coming, err := t.count("SELECT COUNT(*) FROM volumes WHERE op_kind > '' AND op_vm = ? AND holder_vm <> ?", vm, vm)
	return n + coming, err
}

// usageQuery adds up sizes by group and datastore. It counts MiB and the bytes
// beyond them apart: the sum of sizes may exceed 63 bits, and then it counts
// as the largest size there is. Snapshots that have an owner are not the
// vmgroup's doing, and a volume that shows a recovery point takes no room.
func usageQuery(where string) string {
	const trash = "state IN ('trashed', 'deleting')"
	return `SELECT group_id, datastore,
		CAST(SUM(volume) AS BIGINT),
		CAST(SUM(bytes / 1048576) AS BIGINT),
		CAST(SUM(bytes % 1048576) AS BIGINT),
		CAST(SUM(CASE WHEN ` + trash + ` THEN bytes / 1048576 ELSE 0 END) AS BIGINT),
		CAST(SUM(CASE WHEN ` + trash + ` THEN bytes % 1048576 ELSE 0 END) AS BIGINT)
	FROM (
		SELECT 1 AS volume, group_id, datastore, state,
		       CASE WHEN view_of > '' THEN 0 WHEN op_kind = 'grow' AND op_size > size THEN op_size ELSE size END AS bytes
		  FROM volumes ` + where + `
		UNION ALL
		SELECT 0, group_id, datastore, state, snapshots.size
		  FROM volumes JOIN snapshots ON snapshots.volume_id = volumes.id AND snapshots.owner = '' ` + where + `
	) AS parts GROUP BY group_id, datastore`
}

func (t *tx) usages(query string, args ...any) (map[tenancy.Place]volspec.Usage, error) {
	usages := map[tenancy.Place]volspec.Usage{}
	err := t.each(func(s scanner) error {
		var p tenancy.Place
		var u volspec.Usage
		var mib, rest, trashMiB, trashRest int64
		if err := s.Scan(&p.Group, &p.Datastore, &u.Volumes, &mib, &rest, &trashMiB, &trashRest); err != nil {
			return err
		}
		u.Bytes, u.Trash = sum(mib, rest), sum(trashMiB, trashRest)
		usages[p] = u
		return nil
	}, query, args...)
	return usages, err
}

func (t *tx) Usages() (map[tenancy.Place]volspec.Usage, error) { return t.usages(usageQuery("")) }

func (t *tx) Usage(g volspec.VMGroupID, datastore string) (volspec.Usage, error) {
	all, err := t.usages(usageQuery("WHERE group_id = ? AND datastore = ?"), g, datastore, g, datastore)
	return all[tenancy.Place{Group: g, Datastore: datastore}], err
}

func (t *tx) Provisioned(datastore string) (volspec.Usage, error) {
	all, err := t.usages(usageQuery("WHERE datastore = ?"), datastore, datastore)
	var total volspec.Usage
	for _, u := range all {
		total.Volumes += u.Volumes
		total.Bytes = capped(total.Bytes, u.Bytes)
		total.Trash = capped(total.Trash, u.Trash)
	}
	return total, err
}

func capped(a, b volspec.Size) volspec.Size {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

func sum(mib, rest int64) volspec.Size {
	mib += rest >> 20
	if mib >= math.MaxInt64>>20 {
		return math.MaxInt64
	}
	return volspec.Size(mib<<20 + rest&(1<<20-1))
}
