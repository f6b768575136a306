package catalog

import (
	"cmp"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

const groupCols = "id, name, description, default_datastore, source, removing, state"

func scanGroup(s scanner) (g volspec.VMGroup, err error) {
	err = s.Scan(&g.ID, &g.Name, &g.Description, &g.DefaultDatastore, &g.Source, &g.Removing, &g.State)
	if g.State == stateEnabled {
		g.State = volspec.GroupEnabled
	}
	return g, err
}

// stateEnabled is how the catalog writes volspec.GroupEnabled.
const stateEnabled = "enabled"

// Groups and GroupByName know only the vmgroup that the transaction is confined
// to, if it is.
func (t *tx) Groups() ([]volspec.VMGroup, error) {
	if id, ok := volspec.Confined(t.ctx); ok {
		return list(t, scanGroup, "SELECT "+groupCols+" FROM vmgroups WHERE id = ?", id)
	}
	return list(t, scanGroup, "SELECT "+groupCols+" FROM vmgroups ORDER BY name")
}

func (t *tx) GroupByName(name string) (volspec.VMGroup, error) {
	g, found, err := one(t, scanGroup, "SELECT "+groupCols+" FROM vmgroups WHERE name = ?", name)
	if id, ok := volspec.Confined(t.ctx); ok && g.ID != id {
		g, found = volspec.VMGroup{}, false
	}
	if err == nil && !found {
		err = errkind.New(errkind.NotFound, "Vmgroup %s does not exist", name)
	}
	return g, err
}

func (t *tx) group(id volspec.VMGroupID) (volspec.VMGroup, error) {
	g, found, err := one(t, scanGroup, "SELECT "+groupCols+" FROM vmgroups WHERE id = ?", id)
	if err == nil && !found {
		err = errkind.New(errkind.NotFound, "Vmgroup %s does not exist", id)
	}
	return g, err
}

func (t *tx) GroupOfVM(vm volspec.VMID) (volspec.VMGroup, error) {
	g, found, err := one(t, scanGroup,
		`SELECT g.id, g.name, g.description, g.default_datastore, g.source, g.removing, g.state
		   FROM members m JOIN vmgroups g ON g.id = m.group_id WHERE m.vm = ?`, vm)
	if err != nil || found {
		return g, err
	}
	g, err = t.group(volspec.DefaultGroupID)
	if errkind.Is(err, errkind.NotFound) {
		err = errkind.New(errkind.NotFound, "VM %s does not belong to any vmgroup", vm)
	}
	return g, err
}

func (t *tx) Rights(id volspec.VMGroupID) (volspec.Rights, error) {
	g, err := t.group(id)
	if err != nil {
		return volspec.Rights{}, err
	}
	rows, err := t.AccessRows(id)
	return volspec.Rights{Group: g, Access: rows}, err
}

func (t *tx) PutGroup(g volspec.VMGroup) error {
	// Asked first, because a refused statement ends the transaction.
	n, err := t.count("SELECT COUNT(*) FROM vmgroups WHERE name = ? AND id <> ?", g.Name, g.ID)
	if err != nil {
		return err
	}
	if n > 0 {
		return errkind.New(errkind.Exists, "Vmgroup %s already exists", g.Name)
	}
	if err := t.leaves(g.ID, g.Name); err != nil {
		return err
	}
	known, err := t.count("SELECT COUNT(*) FROM vmgroups WHERE id = ?", g.ID)
	if err != nil {
		return err
	}
	_, err = t.exec(upsert("vmgroups", groupCols+", words", "id"),
		g.ID, g.Name, g.Description, g.DefaultDatastore, g.Source, g.Removing, cmp.Or(g.State, stateEnabled), strings.ToLower(g.Name+"\n"+g.Description))
	if err != nil || known > 0 {
		return err
	}
	return t.bindNew(g.ID)
}

func (t *tx) DeleteGroup(id volspec.VMGroupID) error {
	n, err := t.count("SELECT COUNT(*) FROM volumes WHERE group_id = ?", id)
	if err != nil {
		return err
	}
	if n > 0 {
		return errkind.New(errkind.InUse, "Vmgroup %s has %d volumes: remove them first", id, n)
	}
	repos, err := t.RepositoryNames(id)
	if err != nil {
		return err
	}
	if len(repos) > 0 {
		return errkind.New(errkind.InUse, "Vmgroup %s has %d repositories: detach them first", id, len(repos))
	}
	if err := t.leaves(id, ""); err != nil {
		return err
	}
	for _, s := range []string{
		"DELETE FROM notify_targets WHERE group_id = ?",
		"DELETE FROM oidc WHERE group_id = ?",
		"DELETE FROM members WHERE group_id = ?",
		"DELETE FROM access_rows WHERE group_id = ?",
		"DELETE FROM vm_folders WHERE group_id = ?",
		"DELETE FROM schedule_marks WHERE policy_id IN (SELECT id FROM policies WHERE group_id = ?)",
		"DELETE FROM policies WHERE group_id = ?",
		"DELETE FROM alarms WHERE group_id = ?",
		"DELETE FROM sessions WHERE user_id IN (SELECT id FROM users WHERE group_id = ?)",
		"DELETE FROM tokens WHERE user_id IN (SELECT id FROM users WHERE group_id = ?)",
		"DELETE FROM users WHERE group_id = ?",
		"DELETE FROM oidc WHERE group_id = ?",
		"DELETE FROM notify_targets WHERE group_id = ?",
		"DELETE FROM allowances WHERE group_id = ?",
		"DELETE FROM group_transporters WHERE group_id = ?",
		"DELETE FROM labels WHERE group_id = ?",
		"DELETE FROM protected WHERE group_id = ?",
		"DELETE FROM vmgroups WHERE id = ?",
	} {
		if _, err := t.exec(s, id); err != nil {
			return err
		}
	}
	return t.policiesChanged()
}

func scanMember(s scanner) (m volspec.Member, err error) {
	err = s.Scan(&m.VM, &m.Name, &m.Group)
	return m, err
}

func (t *tx) Members(g volspec.VMGroupID) ([]volspec.Member, error) {
	if g == "" {
		return list(t, scanMember, "SELECT vm, name, group_id FROM members ORDER BY name, vm")
	}
	return list(t, scanMember, "SELECT vm, name, group_id FROM members WHERE group_id = ? ORDER BY name, vm", g)
}

func (t *tx) Member(vm volspec.VMID) (volspec.Member, error) {
	m, found, err := one(t, scanMember, "SELECT vm, name, group_id FROM members WHERE vm = ?", vm)
	if err == nil && !found {
		err = errkind.New(errkind.NotFound, "VM %s is in no vmgroup", vm)
	}
	return m, err
}

func (t *tx) PutMember(m volspec.Member) error {
	if _, err := t.group(m.Group); err != nil {
		return err
	}
	_, err := t.exec(upsert("members", "vm, name, group_id", "vm"), m.VM, m.Name, m.Group)
	return err
}

func (t *tx) DeleteMember(vm volspec.VMID) error {
	_, err := t.exec("DELETE FROM members WHERE vm = ?", vm)
	return err
}

const accessCols = "group_id, datastore, allow_create, max_size, total_size"

func scanAccess(s scanner) (a volspec.Access, err error) {
	err = s.Scan(&a.Group, &a.Datastore, &a.AllowCreate, &a.MaxSize, &a.TotalSize)
	return a, err
}

func (t *tx) AccessRows(g volspec.VMGroupID) ([]volspec.Access, error) {
	if g == "" {
		return list(t, scanAccess, "SELECT "+accessCols+" FROM access_rows ORDER BY datastore, group_id")
	}
	return list(t, scanAccess, "SELECT "+accessCols+" FROM access_rows WHERE group_id = ? ORDER BY datastore", g)
}

func (t *tx) PutAccess(a volspec.Access) error {
	if _, err := t.group(a.Group); err != nil {
		return err
	}
	_, err := t.exec(upsert("access_rows", accessCols, "group_id, datastore"),
		a.Group, a.Datastore, a.AllowCreate, a.MaxSize, a.TotalSize)
	return err
}

func (t *tx) DeleteAccess(g volspec.VMGroupID, datastore string) error {
	_, err := t.exec("DELETE FROM access_rows WHERE group_id = ? AND datastore = ?", g, datastore)
	return err
}

const folderCols = "folder, group_id"

func scanFolder(s scanner) (f volspec.FolderGrant, err error) {
	err = s.Scan(&f.Folder, &f.Group)
	return f, err
}

func (t *tx) Folders(g volspec.VMGroupID) ([]volspec.FolderGrant, error) {
	if g == "" {
		return list(t, scanFolder, "SELECT "+folderCols+" FROM vm_folders ORDER BY folder")
	}
	return list(t, scanFolder, "SELECT "+folderCols+" FROM vm_folders WHERE group_id = ? ORDER BY folder", g)
}

func (t *tx) PutFolder(f volspec.FolderGrant) error {
	if _, err := t.group(f.Group); err != nil {
		return err
	}
	_, err := t.exec(upsert("vm_folders", folderCols, "folder"), f.Folder, f.Group)
	return err
}

func (t *tx) DeleteFolder(g volspec.VMGroupID, folder volspec.Folder) error {
	_, err := t.exec("DELETE FROM vm_folders WHERE group_id = ? AND folder = ?", g, folder)
	return err
}
