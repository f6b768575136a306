package notify

import (
	"encoding/json"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Carry adds to a bundle who is told of a vmgroup, with the webhooks' secrets.
func (d *Directory) Carry(tx Tx, g volspec.VMGroup, to *wire.Carried) error {
	t, err := tx.NotifyTarget(g.ID)
	if err != nil || len(t.Body.Emails)+len(t.Body.Webhooks) == 0 {
		return err
	}
	secrets, err := d.open(t)
	if err != nil {
		return err
	}
	n := shown(t.Body)
	for i, w := range n.Webhooks {
		n.Webhooks[i].Secret = secrets[w.Name]
	}
	to.Notifications = &n
	return nil
}

// Arrive checks who is told according to a bundle, for a vmgroup that is about
// to be made. What cannot be told from here is left out.
func (d *Directory) Arrive(g volspec.VMGroup, from *wire.Notifications) (put func(Tx) ([]string, error), err error) {
	if from == nil {
		return func(Tx) ([]string, error) { return nil, nil }, nil
	}
	err = d.check(*from)
	if errkind.Is(err, errkind.Invalid) {
		return nil, errkind.Wrap(errkind.Invalid, err, "the notifications of the bundle")
	}
	if err != nil {
		left := []string{"Notifications are not set: " + errkind.Text(err)}
		return func(Tx) ([]string, error) { return left, nil }, nil
	}
	next, secrets := Targets{Group: g.ID, Body: shown(*from)}, map[string]string{}
	for i, w := range from.Webhooks {
		if secrets[w.Name] = w.Secret; w.Secret == "" {
			return nil, errkind.New(errkind.Invalid, "the notifications of the bundle have no secret for webhook %s: save the tenant again", w.Name)
		}
		next.Body.Webhooks[i].Secret = ""
	}
	if err := d.seal(&next, secrets); err != nil {
		return nil, err
	}
	return func(tx Tx) ([]string, error) {
		if err := tx.PutNotifyTarget(next); err != nil {
			return nil, err
		}
		return nil, putMark(tx, g.ID, mark{Done: time.Now()}) // no digest of what was before
	}, nil
}

// seal keeps the secrets of webhooks with the targets.
func (d *Directory) seal(t *Targets, secrets map[string]string) error {
	if len(secrets) == 0 {
		return nil
	}
	plain, err := json.Marshal(secrets)
	if err != nil {
		return errkind.Wrap(errkind.Internal, err, "secrets of webhooks")
	}
	t.Sealed, err = d.o.Sealer.Seal(plain, about(t.Group))
	return err
}
