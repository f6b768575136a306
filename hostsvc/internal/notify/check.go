package notify

import (
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

// Bounds of what one vmgroup can configure.
const (
	maxEmails   = 20
	maxWebhooks = 10
	maxURL      = 2000
)

var hookName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// mailbox is a person at a domain. Other words would break out of the brackets
// of the mail protocol, and an IP address for a domain would let a tenant choose
// where the provider's mail server connects to.
var mailbox = regexp.MustCompile("^[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?$")

func checkMailboxes(emails []string) error {
	all, err := addresses(emails...)
	if err != nil {
		return err
	}
	for i, a := range all {
		if _, domain, _ := strings.Cut(a.Address, "@"); !mailbox.MatchString(a.Address) || net.ParseIP(domain) != nil {
			return errkind.New(errkind.Invalid, "mail is not sent to %q: write a plain address at a domain, such as backup@example.com", emails[i])
		}
	}
	return nil
}

// check refuses what cannot work.
func (d *Directory) check(n wire.Notifications) error {
	if len(n.Emails) > maxEmails || len(n.Webhooks) > maxWebhooks {
		return errkind.New(errkind.Invalid, "there are %d addresses and %d webhooks: at most %d and %d are possible, use a distribution list", len(n.Emails), len(n.Webhooks), maxEmails, maxWebhooks)
	}
	if len(n.Emails) > 0 && d.o.Mail == nil {
		return errkind.New(errkind.Unsupported, "mail cannot be sent, the service has no mail server: ask the administrator to set [notify.smtp]")
	}
	if err := checkMailboxes(n.Emails); err != nil {
		return err
	}
	if err := checkKinds(n.Events); err != nil {
		return err
	}
	if n.Digest != "" && n.Digest != Daily && n.Digest != Weekly {
		return errkind.New(errkind.Invalid, "digest %q is not known: write %s or %s, or leave it empty for none", clip(n.Digest, 60), Daily, Weekly)
	}
	if n.Digest != "" && len(n.Emails) == 0 {
		return errkind.New(errkind.Invalid, "a digest is sent by mail, and there is no address: name one, or leave digest empty")
	}
	seen := map[string]bool{}
	for _, w := range n.Webhooks {
		if !hookName.MatchString(w.Name) {
			return errkind.New(errkind.Invalid, "webhook name %q is not valid: write 1 to 40 of a-z, 0-9 and -", clip(w.Name, 60))
		}
		if seen[w.Name] {
			return errkind.New(errkind.Invalid, "there are two webhooks %s: give each a name of its own", w.Name)
		}
		seen[w.Name] = true
		if err := d.checkWebhook(w); err != nil {
			return err
		}
	}
	return nil
}

func (d *Directory) checkWebhook(w wire.NotifyWebhook) error {
	u, err := url.Parse(w.URL)
	switch {
	case err != nil || len(w.URL) > maxURL || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.Fragment != "":
		return errkind.New(errkind.Invalid, "webhook %s has no usable URL: it begins with https:// or http:// and has nothing after #", w.Name)
	case u.User != nil:
		return errkind.New(errkind.Invalid, "the URL of webhook %s holds a user or a password: requests are signed with its secret instead, remove them", w.Name)
	case strings.EqualFold(strings.TrimSuffix(u.Hostname(), "."), "localhost"):
		return errkind.New(errkind.Denied, "webhook %s leads to the service's own machine: name a host that is reached over the Internet", w.Name)
	}
	if err := d.o.Guard.CheckHost(u.Hostname()); err != nil {
		return errkind.Wrap(errkind.Of(err), err, "webhook %s is not possible", w.Name)
	}
	if w.Secret != "" {
		if _, ok := parseKey(w.Secret); !ok {
			return errkind.New(errkind.Invalid, "the secret of webhook %s cannot be used: write whsec_ and 24 to 64 bytes in base64, or leave it out to get one", w.Name)
		}
	}
	return checkKinds(w.Events)
}

func checkKinds(words []string) error {
	for _, w := range words {
		if !slices.Contains(Kinds, Kind(w)) {
			all := make([]string, len(Kinds))
			for i, k := range Kinds {
				all[i] = string(k)
			}
			return errkind.New(errkind.Invalid, "kind of event %q is not known: write some of %s, or none for all", clip(w, 60), strings.Join(all, ", "))
		}
	}
	return nil
}
