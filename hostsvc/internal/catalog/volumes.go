package catalog

import (
	"encoding/json"
	"strings"

	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// volumeCols, volumeArgs and scanVolume are in the same order.
const volumeCols = `id, group_id, datastore, name, home, state, format, size, spec, fs_uuid, clone_from,
	created, created_by, used, fs_size, fs_note, trashed_at, health, meta_stale,
	holder_vm, holder_vm_name, holder_boot_id, holder_installation, holder_epoch, holder_read_only, holder_since,
	op_kind, op_instance, op_size, op_snapshot, op_vm, op_started, op_detail, view_of, serial`

func volumeArgs(r volume.Record) ([]any, error) {
	spec, err := json.Marshal(r.Spec)
	if err != nil {
		return nil, errkind.Wrap(errkind.Internal, err, "options of volume %s", r.ID)
	}
	return []any{
		r.ID, r.Key.Group, r.Key.Datastore, r.Key.Name, r.Home, r.State, r.Format, r.Size, string(spec), r.FSUUID, r.CloneFrom,
		fromTime(r.Created), r.CreatedBy, r.Used, r.FSSize, r.FSNote, fromTime(r.TrashedAt), r.Health, r.MetaStale,
		r.Holder.VM, r.Holder.VMName, r.Holder.BootID, r.Holder.Installation, r.Holder.Epoch, r.Holder.ReadOnly, fromTime(r.Holder.Since),
		r.Op.Kind, r.Op.Instance, r.Op.Size, r.Op.Snapshot, r.Op.VM, fromTime(r.Op.Started), r.Op.Detail, r.ViewOf, r.Serial,
	}, nil
}

func scanVolume(s scanner) (r volume.Record, err error) {
	var spec string
	var created, trashed, since, started int64
	err = s.Scan(
		&r.ID, &r.Key.Group, &r.Key.Datastore, &r.Key.Name, &r.Home, &r.State, &r.Format, &r.Size, &spec, &r.FSUUID, &r.CloneFrom,
		&created, &r.CreatedBy, &r.Used, &r.FSSize, &r.FSNote, &trashed, &r.Health, &r.MetaStale,
		&r.Holder.VM, &r.Holder.VMName, &r.Holder.BootID, &r.Holder.Installation, &r.Holder.Epoch, &r.Holder.ReadOnly, &since,
		&r.Op.Kind, &r.Op.Instance, &r.Op.Size, &r.Op.Snapshot, &r.Op.VM, &started, &r.Op.Detail, &r.ViewOf, &r.Serial)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal([]byte(spec), &r.Spec); err != nil {
		return r, errkind.Wrap(errkind.Corrupt, err,
			"the catalog's options of volume %s (%s) are damaged: restore the catalog from a copy", r.ID, r.Key.Name)
	}
	r.Created, r.TrashedAt, r.Holder.Since, r.Op.Started = toTime(created), toTime(trashed), toTime(since), toTime(started)
	return r, nil
}

// upsert inserts or replaces a row by its primary key.
func upsert(table, cols, key string) string {
	names := strings.Split(strings.Join(strings.Fields(cols), " "), ", ")
	var set []string
	for _, n := range names {
		if !strings.Contains(", "+key+",", ", "+n+",") {
			set = append(set, n+" = excluded."+n)
		}
	}
	return "INSERT INTO " + table + " (" + cols + ") VALUES (" + marks(len(names)) + ")" +
		" ON CONFLICT (" + key + ") DO UPDATE SET " + strings.Join(set, ", ")
}

func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

func (t *tx) Volume(id volspec.VolumeID) (volume.Record, error) {
	r, found, err := one(t, scanVolume, "SELECT "+volumeCols+" FROM volumes WHERE id = ?", id)
	if err == nil && !found {
		err = errkind.New(errkind.NotFound, "Volume %s not found", id)
	}
	return r, err
}

const live = "state IN ('creating', 'ready')" // as in the index volumes_by_key

func (t *tx) VolumeByKey(k volume.Key) (volume.Record, error) {
	r, found, err := one(t, scanVolume,
		"SELECT "+volumeCols+" FROM volumes WHERE group_id = ? AND datastore = ? AND name = ? AND "+live,
		k.Group, k.Datastore, k.Name)
	if err == nil && !found {
		err = errkind.New(errkind.NotFound, "Volume %s@%s not found", k.Name, k.Datastore)
	}
	return r, err
}

func (t *tx) Volumes(f volume.Filter) ([]volume.Record, error) {
	query, args := listQuery(f)
	return list(t, scanVolume, query, args...)
}

func listQuery(f volume.Filter) (query string, args []any) {
	where, args := filter(f)
	query = "SELECT " + volumeCols + " FROM volumes" + where + " ORDER BY group_id, name, datastore, id"
	if f.Limit > 0 {
		query += " LIMIT ?"
		args = append(args, f.Limit)
	}
	return query, args
}

// filter writes conditions so that the planner can match them with the
// indexes: those of partial ones are literal.
func filter(f volume.Filter) (where string, args []any) {
	var terms []string
	add := func(term string, values ...any) {
		terms = append(terms, term)
		args = append(args, values...)
	}
	if f.Group != "" {
		add("group_id = ?", f.Group)
	}
	if f.Datastore != "" {
		add("datastore = ?", f.Datastore)
	}
	if len(f.States) > 0 {
		var values []any
		unsettled := true
		for _, s := range f.States {
			values = append(values, s)
			unsettled = unsettled && s != volspec.Ready
		}
		add("state IN ("+marks(len(values))+")", values...)
		if unsettled {
			add("state <> 'ready'")
		}
	}
	if f.Holder != "" {
		add("holder_vm = ? AND holder_vm > ''", f.Holder)
	}
	if f.Held {
		add("holder_vm > ''")
	}
	if f.Busy {
		add("op_kind > ''")
	}
	if f.Stale {
		add("meta_stale = 1")
	}
	if f.Views {
		add("view_of > ''")
	}
	switch a := f.After; {
	case a == (volume.Cursor{}):
	case f.Group != "" && f.Group == a.Group: // the shorter form is a range of the group's index
		add("(name, datastore, id) > (?, ?, ?)", a.Name, a.Datastore, a.ID)
	default:
		add("(group_id, name, datastore, id) > (?, ?, ?, ?)", a.Group, a.Name, a.Datastore, a.ID)
	}
	if len(terms) == 0 {
		return "", nil
	}
	return " WHERE " + strings.Join(terms, " AND "), args
}

func (t *tx) PutVolume(r volume.Record) error {
	if r.State == volspec.Creating || r.State == volspec.Ready {
		n, err := t.count("SELECT COUNT(*) FROM volumes WHERE group_id = ? AND datastore = ? AND name = ? AND "+live+" AND id <> ?",
			r.Key.Group, r.Key.Datastore, r.Key.Name, r.ID)
		if err != nil {
			return err
		}
		if n > 0 {
			return errkind.New(errkind.Exists, "Volume %s@%s already exists", r.Key.Name, r.Key.Datastore)
		}
	}
	if _, err := t.group(r.Key.Group); err != nil {
		return err
	}
	args, err := volumeArgs(r)
	if err != nil {
		return err
	}
	_, err = t.exec(upsert("volumes", volumeCols, "id"), args...)
	return err
}

func (t *tx) DeleteVolume(id volspec.VolumeID) error {
	if _, err := t.exec("DELETE FROM snapshots WHERE volume_id = ?", id); err != nil {
		return err
	}
	_, err := t.exec("DELETE FROM volumes WHERE id = ?", id)
	return err
}
