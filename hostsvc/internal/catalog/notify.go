package catalog

import (
	"context"

	"mooring.dev/mooring/hostsvc/internal/notify"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

var _ notify.Tx = (*tx)(nil)

// Notify is the catalog as notifications see it.
func (c *Catalog) Notify() notify.Store { return notifications{c} }

type notifications struct{ c *Catalog }

func (n notifications) View(ctx context.Context, fn func(notify.Tx) error) error {
	return n.c.view(ctx, func(t *tx) error { return fn(t) })
}

func (n notifications) Update(ctx context.Context, fn func(notify.Tx) error) error {
	return n.c.update(ctx, func(t *tx) error { return fn(t) })
}

const targetQuery = "SELECT t.group_id, COALESCE(g.name, ''), t.body, t.sealed FROM notify_targets t LEFT JOIN vmgroups g ON g.id = t.group_id"

func scanTargets(s scanner) (t notify.Targets, err error) {
	var text string
	if err = s.Scan(&t.Group, &t.Name, &text, &t.Sealed); err != nil {
		return t, err
	}
	return t, body(text, &t.Body, "notifications of vmgroup", t.Name)
}

func (t *tx) NotifyTargets() ([]notify.Targets, error) {
	return list(t, scanTargets, targetQuery+" ORDER BY t.group_id")
}

func (t *tx) NotifyTarget(g volspec.VMGroupID) (notify.Targets, error) {
	found, ok, err := one(t, scanTargets, targetQuery+" WHERE t.group_id = ?", g)
	if err == nil && !ok {
		found = notify.Targets{Group: g}
	}
	return found, err
}

func (t *tx) PutNotifyTarget(n notify.Targets) error {
	if n.Group != "" {
		if _, err := t.group(n.Group); err != nil {
			return errkind.Wrap(errkind.Of(err), err, "notifications")
		}
	}
	text, err := document(n.Body, "notifications of vmgroup", string(n.Group))
	if err != nil {
		return err
	}
	_, err = t.exec(upsert("notify_targets", "group_id, body, sealed", "group_id"), n.Group, text, n.Sealed)
	return err
}
