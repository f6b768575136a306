package catalog

import (
	"context"
	"strings"
	"time"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/overview"
	"mooring.dev/mooring/pkg/volspec"
)

var _ overview.Tx = (*tx)(nil)

// Overview is the catalog as the overview sees it.
func (c *Catalog) Overview() overview.Store { return overviews{c} }

type overviews struct{ c *Catalog }

func (o overviews) View(ctx context.Context, fn func(overview.Tx) error) error {
	return o.c.view(ctx, func(t *tx) error { return fn(t) })
}

// quarter is what ended jobs are counted by.
const quarter = int64(15 * time.Minute)

// countsKept is how long counts are kept.
const countsKept = 40 * 24 * time.Hour

// countJob counts a job that is about to be written as ended, once, for its
// vmgroup and for all together.
func (t *tx) countJob(j job.Job) error {
	if !j.Ended() {
		return nil
	}
	n, err := t.count("SELECT COUNT(*) FROM jobs WHERE id = ? AND NOT "+openJobs, j.ID)
	if err != nil || n > 0 {
		return err
	}
	at := fromTime(j.EndedAt) / quarter * quarter
	groups := []volspec.VMGroupID{"", j.Group}
	if j.Group == "" {
		groups = groups[:1]
	}
	for _, g := range groups {
		_, err := t.exec(`INSERT INTO job_counts (group_id, at, kind, state, jobs, bytes, stored) VALUES (?, ?, ?, ?, 1, ?, ?)
			ON CONFLICT (group_id, at, kind, state) DO UPDATE SET jobs = job_counts.jobs + 1,
			bytes = job_counts.bytes + excluded.bytes, stored = job_counts.stored + excluded.stored`,
			g, at, j.Kind, j.State, j.Progress.Read, j.Progress.Stored)
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) Counts(g volspec.VMGroupID, since time.Time) ([]overview.Count, error) {
	return list(t, func(s scanner) (c overview.Count, err error) {
		var at int64
		err = s.Scan(&at, &c.Kind, &c.State, &c.Jobs, &c.Bytes, &c.Stored)
		c.At = toTime(at)
		return c, err
	}, "SELECT at, kind, state, jobs, bytes, stored FROM job_counts WHERE group_id = ? AND at >= ?", g, fromTime(since))
}

func (t *tx) Things(g volspec.VMGroupID) (o overview.Things, err error) {
	where, args := "", []any{}
	if g != "" {
		where, args = " AND group_id = ?", []any{g}
	}
	for _, c := range []struct {
		into  *int
		query string
	}{
		{&o.Volumes, "SELECT COUNT(*) FROM volumes WHERE state = 'ready'"},
		{&o.VMs, "SELECT COUNT(*) FROM members WHERE vm > ''"},
		{&o.Points, "SELECT CAST(COALESCE(SUM(points), 0) AS BIGINT) FROM protected WHERE group_id > ''"},
	} {
		if *c.into, err = t.count(c.query+where, args...); err != nil {
			return o, err
		}
	}
	return o, nil
}

func (t *tx) TenantHealth() (overview.TenantHealth, error) {
	h := overview.TenantHealth{ByRank: map[int]int{}}
	err := t.each(func(s scanner) error {
		var rank, all, disabled, own int
		if err := s.Scan(&rank, &all, &disabled, &own); err != nil {
			return err
		}
		h.ByRank[rank] = all
		h.Disabled += disabled
		h.Own += own
		return nil
	}, `SELECT place, COUNT(*), CAST(SUM(CASE WHEN state = 'disabled' THEN 1 ELSE 0 END) AS BIGINT), CAST(SUM(CASE WHEN id = ? THEN 1 ELSE 0 END) AS BIGINT)
		FROM (SELECT g.id, g.state, `+healthRank+` AS place FROM vmgroups g) AS ranked GROUP BY place`, volspec.DefaultGroupID)
	return h, err
}

// lists of what is searched. Each gives a vmgroup's id, a name and a detail.
var searches = []struct{ kind, query, match string }{
	{"vmgroup", "SELECT id AS group_id, name, description AS detail FROM vmgroups", likeName},
	{"volume", "SELECT group_id, name || '@' || datastore AS name, state AS detail FROM volumes WHERE state IN ('ready', 'trashed')", likeName},
	{"vm", "SELECT group_id, name, '' AS detail FROM members", likeName},
	{"policy", "SELECT group_id, name, '' AS detail FROM policies", likeName},
	{"repository", "SELECT group_id, name, state AS detail FROM repositories WHERE group_id > ''", likeName},
	{"user", "SELECT group_id, name, role AS detail FROM users", likeName},
	{"point", "SELECT group_id, id AS name, CASE WHEN vm > '' THEN 'vm/' || vm ELSE volume END AS detail FROM points", beginsID},
	{"job", "SELECT group_id, id AS name, kind AS detail FROM jobs", beginsID},
}

const (
	likeName = `LOWER(f.name) LIKE LOWER(?) ESCAPE '\'`
	beginsID = "f.name >= ? AND f.name < ?"
)

func (t *tx) Search(g volspec.VMGroupID, text string, users bool, limit int) (out []overview.Match, err error) {
	like := "%" + strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(text) + "%"
	for _, s := range searches {
		if s.kind == "user" && !users || s.kind == "vmgroup" && g != "" {
			continue
		}
		args := []any{like}
		if s.match == beginsID {
			id := strings.ToLower(text)
			args = []any{id, id + "g"} // which is behind all digits
		}
		query := "SELECT COALESCE(v.name, ''), f.name, f.detail FROM (" + s.query + ") AS f LEFT JOIN vmgroups v ON v.id = f.group_id WHERE " + s.match
		if g != "" {
			query += " AND f.group_id = ?"
			args = append(args, g)
		}
		found, err := list(t, func(r scanner) (m overview.Match, err error) {
			m.Kind = s.kind
			err = r.Scan(&m.VMGroup, &m.Name, &m.Detail)
			return m, err
		}, query+" ORDER BY f.name, f.group_id LIMIT ?", append(args, limit)...)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}
