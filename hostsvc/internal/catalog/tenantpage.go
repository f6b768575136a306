package catalog

import (
	"strings"

	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/volspec"
)

// isNotice holds for the alarms of tenancy.NoticeKinds.
var isNotice = "kind IN ('" + strings.Join(tenancy.NoticeKinds, "', '") + "')"

// healthRank of a vmgroup g: 0 good, 1 notices, 2 alarms. A tenant that is not
// configured has a notice; see tenancy: readiness.
var healthRank = `(CASE
	WHEN EXISTS (SELECT 1 FROM alarms WHERE group_id = g.id AND NOT ` + isNotice + `) THEN 2
	WHEN EXISTS (SELECT 1 FROM alarms WHERE group_id = g.id)
	  OR NOT EXISTS (SELECT 1 FROM repositories WHERE group_id = g.id)
	  OR NOT EXISTS (SELECT 1 FROM group_transporters WHERE group_id = g.id)
	  OR g.id <> '` + string(volspec.DefaultGroupID) + `'
	 AND NOT EXISTS (SELECT 1 FROM members WHERE group_id = g.id)
	 AND NOT EXISTS (SELECT 1 FROM vm_folders WHERE group_id = g.id)
	 AND NOT EXISTS (SELECT 1 FROM volumes WHERE group_id = g.id AND ` + live + `) THEN 1
	ELSE 0 END)`

// tenantKeys are what a list of tenants is ordered by.
var tenantKeys = map[string]string{
	tenancy.SortName:    "g.name",
	tenancy.SortHealth:  healthRank,
	tenancy.SortStorage: "(SELECT CAST(COALESCE(SUM(stored), 0) AS BIGINT) FROM repositories WHERE group_id = g.id)",
	tenancy.SortUsers:   "(SELECT COUNT(*) FROM users WHERE group_id = g.id)",
}

func (t *tx) TenantPage(f tenancy.TenantFilter) (page []tenancy.Tenant, places []tenancy.TenantPlace, total int, err error) {
	where, args := tenantWhere(f)
	if total, err = t.count("SELECT COUNT(*) FROM vmgroups g"+where, args...); err != nil {
		return nil, nil, 0, err
	}
	byName := f.Sort == tenancy.SortName
	key, direction, beyond := tenantKeys[f.Sort], " ASC", " > "
	if f.Desc {
		direction, beyond = " DESC", " < "
	}
	if f.After != nil {
		var at any = f.After.Number
		if byName {
			at = f.After.Name
		}
		where += " AND (" + key + ", g.id)" + beyond + "(?, ?)"
		args = append(args, at, f.After.ID)
	}
	query := "SELECT g." + strings.ReplaceAll(groupCols, ", ", ", g.") + ", g.body, g.deleted, " + key + " AS place FROM vmgroups g" + where +
		" ORDER BY " + key + direction + ", g.id" + direction + " LIMIT ?"
	err = t.each(func(s scanner) error {
		var v tenancy.Tenant
		var text string
		var deleted int64
		at := tenancy.TenantPlace{}
		var place any = &at.Number
		if byName {
			place = &at.Name
		}
		g := &v.VMGroup
		err := s.Scan(&g.ID, &g.Name, &g.Description, &g.DefaultDatastore, &g.Source, &g.Removing, &g.State, &text, &deleted, place)
		if err != nil {
			return err
		}
		if g.State == stateEnabled {
			g.State = volspec.GroupEnabled
		}
		at.ID = g.ID
		v.Details, err = details(text, g.Name, deleted)
		page, places = append(page, v), append(places, at)
		return err
	}, query, append(args, f.Limit)...)
	return page, places, total, err
}

func tenantWhere(f tenancy.TenantFilter) (where string, args []any) {
	where = " WHERE 1 = 1"
	if f.Words != "" {
		like := "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(f.Words) + "%"
		where += ` AND (g.words LIKE ? ESCAPE '\' OR g.contact LIKE ? ESCAPE '\')`
		args = append(args, like, like)
	}
	if f.State != nil {
		state := *f.State
		if state == volspec.GroupEnabled {
			state = stateEnabled
		}
		where += " AND g.state = ?"
		args = append(args, state)
	}
	if f.Health != nil {
		where += " AND " + healthRank + " = ?"
		args = append(args, *f.Health)
	}
	if f.Label != "" {
		where += " AND EXISTS (SELECT 1 FROM labels WHERE group_id = g.id AND label = ?)"
		args = append(args, f.Label)
	}
	return where, args
}
