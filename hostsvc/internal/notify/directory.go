package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"mooring.dev/mooring/hostsvc/internal/netguard"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/secret"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Store is the catalog as this package sees it; View and Update behave as in
// package volume.
type Store interface {
	View(ctx context.Context, fn func(Tx) error) error
	Update(ctx context.Context, fn func(Tx) error) error
}

// Tx is one transaction.
type Tx interface {
	GroupByName(name string) (volspec.VMGroup, error)
	// NotifyTargets lists what vmgroups have configured, and under "" the service.
	NotifyTargets() ([]Targets, error)
	// NotifyTarget is one of them, empty if it was never put.
	NotifyTarget(g volspec.VMGroupID) (Targets, error)
	PutNotifyTarget(t Targets) error // inserts or replaces by vmgroup
	// Setting and PutSetting keep small facts of the installation.
	Setting(key string) (string, error) // "" when never put
	PutSetting(key, value string) error
	AddAudit(a volspec.Audit) error
}

// Targets say who is told of a vmgroup, or with "" of all and of the service.
type Targets struct {
	Group  volspec.VMGroupID
	Name   string             // of the vmgroup, now
	Body   wire.Notifications // without secrets
	Sealed string             // the webhooks' secrets, by name
}

// Sealer keeps secrets on disk; satisfied by keyring.Ring.
type Sealer interface {
	Seal(plain []byte, context string) (string, error)
	Open(sealed, context string) ([]byte, error)
}

// DirectoryOptions are the parts of a Directory.
type DirectoryOptions struct {
	Store    Store
	Sealer   Sealer
	Notifier *Notifier
	Mail     *SMTPOptions // the server that takes mails, To is ignored; nil: none
	Guard    netguard.Guard
	// About says how the installation calls itself and where people find it.
	About func(ctx context.Context) (product, url string, err error)
	// Reload is how often targets are read that another mooringd may have
	// changed; 0: 30 s.
	Reload time.Duration
}

// Directory is who is told, as vmgroups and the service set it themselves. All
// methods are safe for concurrent use.
type Directory struct {
	o       DirectoryOptions
	load    sync.Mutex // one at a time brings targets to the Notifier
	testing sync.Map   // vmgroups whose test is on its way
}

// NewDirectory makes a directory. It brings nothing to the Notifier before Run.
func NewDirectory(o DirectoryOptions) *Directory {
	o.Reload = cmp.Or(o.Reload, 30*time.Second)
	return &Directory{o: o}
}

// Run keeps the Notifier up to date, until ctx ends.
func (d *Directory) Run(ctx context.Context) error {
	tick := time.NewTicker(d.o.Reload)
	defer tick.Stop()
	for {
		if err := d.refresh(ctx); err != nil && ctx.Err() == nil {
			log.G(ctx).WithField(log.Err, err.Error()).Warn("who is told could not be read")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// refresh brings all targets to the Notifier.
func (d *Directory) refresh(ctx context.Context) error {
	d.load.Lock()
	defer d.load.Unlock()
	all, err := d.targets(ctx)
	if err != nil {
		return err
	}
	there := map[volspec.VMGroupID]bool{}
	for _, t := range all {
		senders, err := d.senders(ctx, t)
		if err != nil {
			log.G(ctx).WithField(log.VMGroup, t.Name).WithField(log.Err, err.Error()).Error("notifications of a vmgroup cannot be sent as configured")
			continue
		}
		there[t.Group] = true
		d.o.Notifier.Use(t.Group, senders)
	}
	for _, g := range d.o.Notifier.users() {
		if !there[g] {
			d.o.Notifier.Use(g, nil)
		}
	}
	return nil
}

func (d *Directory) targets(ctx context.Context) (all []Targets, err error) {
	err = d.o.Store.View(ctx, func(tx Tx) error {
		all, err = tx.NotifyTargets()
		return err
	})
	return all, err
}

// senders are those of targets, each under a word that says all about it.
func (d *Directory) senders(ctx context.Context, t Targets) (map[string]Sender, error) {
	secrets, err := d.open(t)
	if err != nil {
		return nil, err
	}
	out := map[string]Sender{}
	if len(t.Body.Emails) > 0 && d.o.Mail != nil {
		o, err := d.mail(ctx, t.Body.Emails)
		if err != nil {
			return nil, err
		}
		s, err := NewSMTP(o)
		if err != nil {
			return nil, err
		}
		out[word("mail", o.Product, o.Foot, t.Body.Emails, t.Body.Events)] = filtered{s, t.Group, kinds(t.Body.Events)}
	}
	for _, w := range t.Body.Webhooks {
		s, err := d.webhook(w, secrets[w.Name])
		if err != nil {
			return nil, err
		}
		out[word("webhook", w, secrets[w.Name])] = filtered{s, t.Group, kinds(w.Events)}
	}
	return out, nil
}

// word is different for different values.
func word(values ...any) string {
	b, _ := json.Marshal(values) // strings and lists of them: never fails
	return string(b)
}

func kinds(words []string) (out []Kind) {
	for _, w := range words {
		out = append(out, Kind(w))
	}
	return out
}

func (d *Directory) mail(ctx context.Context, to []string) (SMTPOptions, error) {
	if d.o.Mail == nil {
		return SMTPOptions{}, errkind.New(errkind.Unsupported, "mail cannot be sent, the service has no mail server: ask the administrator to set [notify.smtp]")
	}
	product, url, err := d.o.About(ctx)
	if err != nil {
		return SMTPOptions{}, err
	}
	o := *d.o.Mail
	o.To, o.Product, o.Foot = to, product, product
	if url != "" {
		o.Foot += ": " + url
	}
	return o, nil
}

func (d *Directory) webhook(w wire.NotifyWebhook, key string) (*Webhook, error) {
	return NewWebhook(WebhookOptions{Label: w.Name, URL: w.URL, Secret: secret.New(key), Dialer: d.o.Guard.Dialer(15 * time.Second)})
}

// about binds sealed secrets to whose they are.
func about(g volspec.VMGroupID) string { return "notify targets " + string(g) }

// open gives the secrets of webhooks, by name.
func (d *Directory) open(t Targets) (map[string]string, error) {
	secrets := map[string]string{}
	if t.Sealed == "" {
		return secrets, nil
	}
	plain, err := d.o.Sealer.Open(t.Sealed, about(t.Group))
	if err != nil {
		return nil, err
	}
	return secrets, errkind.Wrap(errkind.Corrupt, json.Unmarshal(plain, &secrets), "the secrets of webhooks are damaged: set them anew")
}

// group finds a vmgroup; "" is the service.
func group(tx Tx, vmgroup string) (volspec.VMGroupID, error) {
	if vmgroup == "" {
		return "", nil
	}
	g, err := tx.GroupByName(vmgroup)
	return g.ID, err
}

func (d *Directory) find(ctx context.Context, vmgroup string) (t Targets, err error) {
	err = d.o.Store.View(ctx, func(tx Tx) error {
		g, err := group(tx, vmgroup)
		if err != nil {
			return err
		}
		t, err = tx.NotifyTarget(g)
		return err
	})
	return t, err
}

// Notifications says who is told of a vmgroup, or with "" of the service.
// Secrets are not told.
func (d *Directory) Notifications(ctx context.Context, vmgroup string) (wire.Notifications, error) {
	t, err := d.find(ctx, vmgroup)
	return shown(t.Body), err
}

// shown has lists where there are none.
func shown(n wire.Notifications) wire.Notifications {
	n.Emails, n.Events, n.Webhooks = append([]string{}, n.Emails...), append([]string{}, n.Events...), append([]wire.NotifyWebhook{}, n.Webhooks...)
	for i := range n.Webhooks {
		n.Webhooks[i].Events = append([]string{}, n.Webhooks[i].Events...)
	}
	return n
}

// PutNotifications replaces who is told. The answer holds the secrets that were
// generated.
func (d *Directory) PutNotifications(ctx context.Context, c volspec.Caller, vmgroup string, n wire.Notifications) (wire.Notifications, error) {
	out, err := d.put(ctx, c, vmgroup, n)
	if err != nil {
		d.audit(ctx, c, vmgroup, "notifications set", err)
		return wire.Notifications{}, err
	}
	if err := d.refresh(ctx); err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Warn("who is told could not be read")
	}
	return out, nil
}

func (d *Directory) put(ctx context.Context, c volspec.Caller, vmgroup string, n wire.Notifications) (out wire.Notifications, err error) {
	if err := d.check(n); err != nil {
		return n, err
	}
	err = d.o.Store.Update(ctx, func(tx Tx) error {
		g, err := group(tx, vmgroup)
		if err != nil {
			return err
		}
		old, err := tx.NotifyTarget(g)
		if err != nil {
			return err
		}
		have, err := d.open(old)
		if err != nil {
			have = nil // all that is not given is made anew
		}
		next := Targets{Group: g, Body: shown(n)}
		out = shown(n)
		secrets := map[string]string{}
		for i, w := range n.Webhooks {
			key := cmp.Or(w.Secret, have[w.Name])
			next.Body.Webhooks[i].Secret, out.Webhooks[i].Secret = "", ""
			if key == "" {
				key = newSecret()
				out.Webhooks[i].Secret = key
			}
			secrets[w.Name] = key
		}
		if err := d.seal(&next, secrets); err != nil {
			return err
		}
		if err := tx.PutNotifyTarget(next); err != nil {
			return err
		}
		if next.Body.Digest != old.Body.Digest { // what was due before is not sent
			if err := putMark(tx, g, mark{Done: time.Now()}); err != nil {
				return err
			}
		}
		return tx.AddAudit(line(ctx, c, vmgroup, "notifications set"))
	})
	return out, err
}

// TestNotifications sends a test message on each way, and says how it went: for
// "" also on those of the configuration file.
func (d *Directory) TestNotifications(ctx context.Context, c volspec.Caller, vmgroup string) ([]wire.NotifyTest, error) {
	results, err := d.test(ctx, vmgroup)
	d.audit(ctx, c, vmgroup, "notifications test", err)
	out := []wire.NotifyTest{}
	for _, r := range results {
		one := wire.NotifyTest{Way: r.Way, OK: r.Err == nil, Detail: "the test message was accepted"}
		if r.Err != nil {
			one.Detail = errkind.Text(r.Err)
		}
		out = append(out, one)
	}
	return out, err
}

func (d *Directory) test(ctx context.Context, vmgroup string) ([]Tested, error) {
	t, err := d.find(ctx, vmgroup)
	if err != nil {
		return nil, err
	}
	if _, busy := d.testing.LoadOrStore(t.Group, true); busy {
		return nil, errkind.New(errkind.Unavailable, "a test is on its way already: wait for its end")
	}
	defer d.testing.Delete(t.Group)
	senders, err := d.senders(ctx, t)
	if err != nil {
		return nil, err
	}
	var all []Sender
	for _, w := range slices.Sorted(maps.Keys(senders)) {
		all = append(all, senders[w].(filtered).Sender)
	}
	product, _, err := d.o.About(ctx)
	if err != nil {
		return nil, err
	}
	out := try(ctx, all, Event{ID: newID(), Time: time.Now(), Group: vmgroup, GroupID: t.Group, Kind: Test, Severity: Info, Request: log.Request(ctx),
		Sentence: "This is a test. Notifications of " + product + " arrive here."})
	if vmgroup == "" {
		out = append(d.o.Notifier.Test(ctx), out...)
	}
	if len(out) == 0 {
		return nil, errkind.New(errkind.Invalid, "there is nobody to notify: add an address or a webhook first")
	}
	return out, nil
}

func line(ctx context.Context, c volspec.Caller, vmgroup, action string) volspec.Audit {
	a := c.Audited()
	a.Time, a.VMGroup, a.Action, a.Object, a.Outcome, a.Request = time.Now().UTC().Truncate(time.Microsecond), vmgroup, action, vmgroup, "ok", log.Request(ctx)
	return a
}

// audit writes one line outside any other transaction.
func (d *Directory) audit(ctx context.Context, c volspec.Caller, vmgroup, action string, err error) {
	a := line(ctx, c, vmgroup, action)
	if err != nil {
		a.Outcome, a.Detail = string(errkind.Of(err)), errkind.Text(err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if e := d.o.Store.Update(ctx, func(tx Tx) error { return tx.AddAudit(a) }); e != nil {
		log.G(ctx).WithField(log.Err, e.Error()).Error("audit line was not written")
	}
}
