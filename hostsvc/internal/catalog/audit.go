package catalog

import (
	"context"
	"strconv"
	"strings"
	"unicode/utf8"

	"mooring.dev/mooring/hostsvc/internal/audit"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

var _ audit.Tx = (*tx)(nil)

// AuditLog is the catalog as the audit log's readers see it.
func (c *Catalog) AuditLog() audit.Store { return auditLog{c} }

type auditLog struct{ c *Catalog }

func (a auditLog) View(ctx context.Context, fn func(audit.Tx) error) error {
	return a.c.view(ctx, func(t *tx) error { return fn(t) })
}

func (a auditLog) Update(ctx context.Context, fn func(audit.Tx) error) error {
	return a.c.update(ctx, func(t *tx) error { return fn(t) })
}

const auditCols = "seq, time, actor, acting_as, origin, vmgroup, action, object, outcome, detail, request, group_id, link, hash"

func scanLine(s scanner) (l audit.Line, err error) {
	var at int64
	err = s.Scan(&l.Seq, &at, &l.Actor, &l.As, &l.From, &l.VMGroup, &l.Action, &l.Object, &l.Outcome, &l.Detail, &l.Request, &l.Group, &l.Link, &l.Hash)
	l.Time = toTime(at)
	return l, err
}

// AddAudit adds a line to the chain of the vmgroup that has its name now, or
// had it when this transaction began; without such a vmgroup to the service's.
// There is one writer at a time on a catalog, so no two lines follow the same.
func (t *tx) AddAudit(a volspec.Audit) error {
	l := audit.Line{Audit: storableAudit(a)}
	var err error
	if l.Group, err = t.auditedGroup(l.VMGroup); err != nil {
		return err
	}
	last, _, err := one(t, scanLine, "SELECT "+auditCols+" FROM audit WHERE group_id = ? AND link > 0 ORDER BY link DESC LIMIT 1", l.Group)
	if err != nil {
		return err
	}
	l.Link = last.Link + 1
	l.Hash = audit.Sum(last.Hash, l)
	_, err = t.exec("INSERT INTO audit ("+auditCols+") VALUES ((SELECT COALESCE(MAX(seq), 0) + 1 FROM audit), "+marks(13)+")",
		fromTime(l.Time), l.Actor, l.As, l.From, l.VMGroup, l.Action, l.Object, l.Outcome, l.Detail, l.Request, l.Group, l.Link, l.Hash)
	return err
}

// maxAuditText bounds each text of a line, in bytes: what is refused quotes what
// was sent, however long it was.
const maxAuditText = 4000

// storableAudit is a as it will be read again: the hash is of that.
func storableAudit(a volspec.Audit) volspec.Audit {
	a.Time = toTime(fromTime(a.Time))
	for _, s := range []*string{&a.Actor, &a.As, &a.From, &a.VMGroup, &a.Action, &a.Object, &a.Outcome, &a.Detail, &a.Request} {
		if len(*s) > maxAuditText {
			*s = strings.ToValidUTF8((*s)[:maxAuditText], "") + "…"
		}
		*s = storable(*s)
	}
	return a
}

func (t *tx) auditedGroup(name string) (volspec.VMGroupID, error) {
	if name == "" {
		return "", nil
	}
	id, found, err := one(t, word[volspec.VMGroupID], "SELECT id FROM vmgroups WHERE name = ?", name)
	if err == nil && !found {
		id = t.left[name]
	}
	return id, err
}

// leaves remembers the name of a vmgroup that it is about to lose.
func (t *tx) leaves(id volspec.VMGroupID, keeps string) error {
	name, found, err := one(t, word[string], "SELECT name FROM vmgroups WHERE id = ?", id)
	if err != nil || !found || name == keeps {
		return err
	}
	if t.left == nil {
		t.left = map[string]volspec.VMGroupID{}
	}
	t.left[name] = id
	return nil
}

// Audit gives all vmgroups' lines for "", and all lines for a limit below 1.
func (t *tx) Audit(vmgroup string, limit int) ([]volspec.Audit, error) {
	q := audit.Query{Limit: limit}
	if vmgroup != "" {
		id, err := t.auditedGroup(vmgroup)
		if err != nil {
			return nil, err
		}
		q.Group = id
		if id == "" {
			q.VMGroup = vmgroup
		}
	}
	lines, _, err := t.AuditPage(q)
	var out []volspec.Audit
	for _, l := range lines {
		out = append(out, l.Audit)
	}
	return out, err
}

// auditWhere is what q selects. Of a confined transaction it is the vmgroup's.
func (t *tx) auditWhere(q audit.Query) (where string, args []any) {
	if id, ok := volspec.Confined(t.ctx); ok {
		q.Group, q.VMGroup = id, ""
	}
	var all []string
	add := func(condition string, values ...any) {
		all, args = append(all, condition), append(args, values...)
	}
	for _, f := range []struct{ column, value string }{
		{"group_id", string(q.Group)}, {"vmgroup", q.VMGroup}, {"actor", q.Actor}, {"outcome", q.Outcome}, {"object", q.Object},
	} {
		if f.value != "" {
			add(f.column+" = ?", f.value)
		}
	}
	if q.Action != "" {
		add("SUBSTR(action, 1, ?) = ?", utf8.RuneCountInString(q.Action), q.Action)
	}
	if !q.Since.IsZero() {
		add("time >= ?", fromTime(q.Since))
	}
	if !q.Until.IsZero() {
		add("time < ?", fromTime(q.Until))
	}
	if len(all) == 0 {
		return " WHERE 1 = 1", args
	}
	return " WHERE " + strings.Join(all, " AND "), args
}

func (t *tx) AuditPage(q audit.Query) (lines []audit.Line, next string, err error) {
	where, args := t.auditWhere(q)
	group := q.Group
	if id, ok := volspec.Confined(t.ctx); ok {
		group = id
	}
	if q.After != "" {
		before, err := t.auditSeq(group, q.After)
		if err != nil {
			return nil, "", err
		}
		where, args = where+" AND seq < ?", append(args, before)
	}
	query := "SELECT " + auditCols + " FROM audit" + where + " ORDER BY seq DESC"
	if q.Limit > 0 {
		query, args = query+" LIMIT ?", append(args, q.Limit+1)
	}
	if lines, err = list(t, scanLine, query, args...); err != nil || q.Limit < 1 || len(lines) <= q.Limit {
		return lines, "", err
	}
	lines = lines[:q.Limit]
	next, err = t.auditCursor(group, lines[q.Limit-1])
	return lines, next, err
}

// auditCursor names a line: in the whole log by its number there, in the lines
// of one vmgroup by its number among them, which says nothing of others.
func (t *tx) auditCursor(g volspec.VMGroupID, l audit.Line) (string, error) {
	n := int(l.Seq)
	if g != "" {
		older, err := t.count("SELECT COUNT(*) FROM audit WHERE group_id = ? AND link = 0 AND seq <= ?", g, l.Seq)
		if err != nil {
			return "", err
		}
		n = older + int(l.Link)
	}
	return strconv.Itoa(n), nil
}

// auditSeq is the number in the whole log of the line that a cursor names.
func (t *tx) auditSeq(g volspec.VMGroupID, cursor string) (int64, error) {
	n, err := strconv.Atoi(cursor)
	if err != nil || n < 1 {
		return 0, errkind.New(errkind.Invalid, "after=%q is not valid: take the word that came with the page before", cursor)
	}
	if g == "" {
		return int64(n), nil
	}
	older, err := t.count("SELECT COUNT(*) FROM audit WHERE group_id = ? AND link = 0", g)
	if err != nil {
		return 0, err
	}
	query, last := "SELECT seq FROM audit WHERE group_id = ? AND link = ?", n-older
	if n <= older {
		query, last = "SELECT seq FROM audit WHERE group_id = ? AND link = 0 ORDER BY seq LIMIT 1 OFFSET ?", n-1
	}
	seq, found, err := one(t, word[int64], query, g, last)
	if err == nil && !found {
		err = errkind.New(errkind.Invalid, "after=%q is not valid: take the word that came with the page before", cursor)
	}
	return seq, err
}

func (t *tx) AuditAfter(q audit.Query, seq int64) ([]audit.Line, error) {
	where, args := t.auditWhere(q)
	return list(t, scanLine, "SELECT "+auditCols+" FROM audit"+where+" AND seq > ? ORDER BY seq LIMIT ?", append(args, seq, q.Limit)...)
}

func (t *tx) AuditChains() ([]audit.Chain, error) {
	id, confined := volspec.Confined(t.ctx)
	return list(t, func(s scanner) (c audit.Chain, err error) {
		err = s.Scan(&c.Group, &c.Name, &c.Gone)
		return c, err
	}, `SELECT c.group_id, COALESCE(g.name, (SELECT a.vmgroup FROM audit a WHERE a.group_id = c.group_id AND a.link = c.links), ''),
		       CASE WHEN g.id IS NULL AND c.group_id > '' THEN 1 ELSE 0 END
		  FROM (SELECT group_id, MAX(link) AS links FROM audit WHERE link > 0 GROUP BY group_id) c
		  LEFT JOIN vmgroups g ON g.id = c.group_id
		 WHERE ? = 0 OR c.group_id = ?
		 ORDER BY CASE WHEN c.group_id = '' THEN 0 ELSE 1 END, 2, 1`, confined, id)
}

func (t *tx) AuditChain(g volspec.VMGroupID, link int64, limit int) ([]audit.Line, error) {
	if id, ok := volspec.Confined(t.ctx); ok {
		g = id
	}
	return list(t, scanLine, "SELECT "+auditCols+" FROM audit WHERE group_id = ? AND link > ? ORDER BY link LIMIT ?", g, link, limit)
}
