package app

import (
	"context"
	"os"
	"time"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/keyring"
	"mooring.dev/mooring/hostsvc/internal/netguard"
	"mooring.dev/mooring/hostsvc/internal/notify"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
)

// buildNotify makes who tells people, and who knows whom vmgroups want told.
func (b *backups) buildNotify(n config.Notify, c *catalog.Catalog, ring *keyring.Ring, tenants *tenancy.Service) error {
	o := notify.Options{Repeat: time.Duration(n.Repeat), Alarms: alarms{c.Backup()}}
	mail := mailServer(n.SMTP)
	if mail != nil {
		s, err := notify.NewSMTP(*mail)
		if err != nil {
			return err
		}
		o.Senders = append(o.Senders, s)
	}
	for _, w := range n.Webhooks {
		hook := notify.WebhookOptions{Label: w.Name, URL: w.URL, SecretFile: w.SecretFile, Groups: w.VMGroups}
		for _, e := range w.Events {
			hook.Kinds = append(hook.Kinds, notify.Kind(e))
		}
		s, err := notify.NewWebhook(hook)
		if err != nil {
			return err
		}
		o.Senders = append(o.Senders, s)
	}
	guard, err := netguard.New(n.AllowPrivate)
	if err != nil {
		return err
	}
	b.notifier = notify.New(o)
	b.told = notify.NewDirectory(notify.DirectoryOptions{
		Store: c.Notify(), Sealer: ring, Notifier: b.notifier, Mail: mail, Guard: guard,
		About: func(ctx context.Context) (product, url string, err error) {
			v, err := tenants.Settings(ctx)
			return v.Product, v.URL, err
		},
	})
	return nil
}

// mailServer is nil when there is none.
func mailServer(s config.SMTP) *notify.SMTPOptions {
	if s.Host == "" {
		return nil
	}
	name, err := os.Hostname()
	if err != nil {
		name = "localhost"
	}
	return &notify.SMTPOptions{
		Host: s.Host, Port: s.Port, TLS: s.TLS, User: s.User, PasswordFile: s.PasswordFile, From: s.From, To: s.To, Hostname: name,
	}
}
