package catalog

import (
	"context"
	"time"

	"mooring.dev/mooring/hostsvc/internal/idempotency"
	"mooring.dev/mooring/pkg/errkind"
)

var _ idempotency.Tx = (*tx)(nil)

// Idempotency is the catalog as the memory of answers sees it.
func (c *Catalog) Idempotency() idempotency.Store { return answers{c} }

type answers struct{ c *Catalog }

func (a answers) Update(ctx context.Context, fn func(idempotency.Tx) error) error {
	return a.c.update(ctx, func(t *tx) error { return fn(t) })
}

const answerCols = "caller, key, request, answer, expires"

func scanAnswer(s scanner) (r idempotency.Record, err error) {
	var expires int64
	err = s.Scan(&r.Caller, &r.Key, &r.Request, &r.Answer, &expires)
	r.Expires = toTime(expires)
	return r, err
}

func (t *tx) RememberedAnswer(caller, key string) (idempotency.Record, error) {
	r, found, err := one(t, scanAnswer, "SELECT "+answerCols+" FROM idempotency WHERE caller = ? AND key = ?", caller, key)
	if err == nil && !found {
		err = errkind.New(errkind.NotFound, "there is no answer under this idempotency key")
	}
	return r, err
}

func (t *tx) PutRememberedAnswer(r idempotency.Record) error {
	_, err := t.exec(upsert("idempotency", answerCols, "caller, key"), r.Caller, r.Key, r.Request, r.Answer, fromTime(r.Expires))
	return err
}

func (t *tx) DeleteRememberedAnswer(caller, key string) error {
	_, err := t.exec("DELETE FROM idempotency WHERE caller = ? AND key = ?", caller, key)
	return err
}

func (t *tx) ForgetAnswers(before time.Time) (int64, error) {
	return t.exec("DELETE FROM idempotency WHERE expires < ?", fromTime(before))
}
