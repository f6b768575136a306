package catalog

import (
	"context"

	"mooring.dev/mooring/hostsvc/internal/transporter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

var _ transporter.Tx = (*tx)(nil)

// Transporters is the catalog as the transporter service sees it.
func (c *Catalog) Transporters() transporter.Store { return transporters{c} }

type transporters struct{ c *Catalog }

func (s transporters) View(ctx context.Context, fn func(transporter.Tx) error) error {
	return s.c.view(ctx, func(t *tx) error { return fn(t) })
}

func (s transporters) Update(ctx context.Context, fn func(transporter.Tx) error) error {
	return s.c.update(ctx, func(t *tx) error { return fn(t) })
}

const transporterCols = "name, instance, seen, expires, body"

func scanTransporter(s scanner) (r transporter.Transporter, err error) {
	var seen, expires int64
	var text string
	if err = s.Scan(&r.Name, &r.Instance, &seen, &expires, &text); err != nil {
		return r, err
	}
	r.Seen, r.Expires = toTime(seen), toTime(expires)
	return r, body(text, &r.Body, "transporter", r.Name)
}

func (t *tx) Transporters() ([]transporter.Transporter, error) {
	return list(t, scanTransporter, "SELECT "+transporterCols+" FROM transporters ORDER BY name")
}

func (t *tx) Transporter(name string) (transporter.Transporter, error) {
	r, found, err := one(t, scanTransporter, "SELECT "+transporterCols+" FROM transporters WHERE name = ?", name)
	if err == nil && !found {
		err = errkind.New(errkind.NotFound, "transporter %s not found", name)
	}
	return r, err
}

func (t *tx) PutTransporter(r transporter.Transporter) error {
	text, err := document(r.Body, "transporter", r.Name)
	if err != nil {
		return err
	}
	_, err = t.exec(upsert("transporters", transporterCols, "name"), r.Name, r.Instance, fromTime(r.Seen), fromTime(r.Expires), text)
	return err
}

func (t *tx) DeleteTransporter(name string) error {
	_, err := t.exec("DELETE FROM transporters WHERE name = ?", name)
	return err
}

func scanBinding(s scanner) (b transporter.Binding, err error) {
	err = s.Scan(&b.Group, &b.Name, &b.Transporter)
	return b, err
}

func (t *tx) Bindings(g volspec.VMGroupID) ([]transporter.Binding, error) {
	query, args := "SELECT b.group_id, g.name, b.transporter FROM group_transporters b JOIN vmgroups g ON g.id = b.group_id", []any{}
	if g != "" {
		query, args = query+" WHERE b.group_id = ?", []any{g}
	}
	return list(t, scanBinding, query+" ORDER BY b.transporter, g.name", args...)
}

func (t *tx) BoundByFile(g volspec.VMGroup) (bool, error) {
	d, err := t.Details(g.ID)
	return g.Source != "" && d.DeclaredTransporters, err
}

func (t *tx) Bind(g volspec.VMGroupID, names []string) error {
	if _, err := t.group(g); err != nil {
		return err
	}
	if _, err := t.exec("DELETE FROM group_transporters WHERE group_id = ?", g); err != nil {
		return err
	}
	for _, name := range names {
		if _, err := t.exec("INSERT INTO group_transporters (group_id, transporter) VALUES (?, ?)", g, name); err != nil {
			return err
		}
	}
	return nil
}

func scanRunning(s scanner) (r transporter.Running, err error) {
	err = s.Scan(&r.Instance, &r.Group, &r.Jobs)
	return r, err
}

func (t *tx) RunningJobs() ([]transporter.Running, error) {
	return list(t, scanRunning, "SELECT owner, group_id, COUNT(*) FROM jobs WHERE state = 'running' GROUP BY owner, group_id ORDER BY owner, group_id")
}

// bindNew binds a vmgroup that was just made to the built-in transporter.
func (t *tx) bindNew(g volspec.VMGroupID) error {
	return t.Bind(g, []string{wire.BuiltInTransporter})
}
