package config

import (
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/volspec"
)

func (c *Config) checkNotify(p *Problems) {
	p.between("notify.repeat", c.Notify.Repeat, time.Minute, 30*day)
	c.Notify.SMTP.check(p)
	p.networks("notify.allow_private", c.Notify.AllowPrivate)
	names := map[string]int{}
	for i, w := range c.Notify.Webhooks {
		at := fmt.Sprintf("notify.webhook[%d]", i)
		p.name(at+".name", w.Name, names, i, checkWord("webhook"))
		w.check(p, at)
	}
}

func (s SMTP) check(p *Problems) {
	const at = "notify.smtp."
	p.oneOf(at+"tls", s.TLS, StartTLS, ImplicitTLS, NoTLS)
	if s.Host == "" {
		for _, one := range []struct {
			key string
			set bool
		}{{"port", s.Port != 0}, {"user", s.User != ""}, {"password_file", s.PasswordFile != ""}, {"from", s.From != ""}, {"to", len(s.To) > 0}} {
			if one.set {
				p.add(at+one.key, "it needs a mail server: set host, or remove it")
			}
		}
		return
	}
	if !hostName.MatchString(s.Host) && net.ParseIP(s.Host) == nil {
		p.add(at+"host", "%q is not a host: write a name or an address, and the port with port", clip(s.Host))
	}
	if slices.Contains([]string{StartTLS, ImplicitTLS, NoTLS}, s.TLS) || s.Port != 0 { // else there is no default
		p.number(at+"port", s.Port, 1, 65535)
	}
	switch {
	case s.User != "" && s.PasswordFile == "":
		p.add(at+"password_file", "user %q needs a password: name a file that holds it", clip(s.User))
	case s.User == "" && s.PasswordFile != "":
		p.add(at+"user", "it is missing: the password needs a user")
	case s.User != "" && s.TLS == NoTLS && !loopback(s.Host):
		p.add(at+"tls", "the password would cross the network readably: use %s or %s, or remove user and password_file", StartTLS, ImplicitTLS)
	}
	if s.PasswordFile != "" {
		p.absolute(at+"password_file", s.PasswordFile)
	}
	p.address(at+"from", s.From)
	if len(s.To) == 0 {
		p.add(at+"to", "it is missing: write the addresses of those who are told, such as [\"admin@example.com\"]")
	}
	for i, to := range s.To {
		p.address(fmt.Sprintf("%sto[%d]", at, i), to)
	}
}

func (w Webhook) check(p *Problems, at string) {
	if w.URL == "" {
		p.add(at+".url", "it is missing: write the URL that gets the requests")
	} else if u, err := url.Parse(w.URL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		p.add(at+".url", "it is not a URL with https:// or http://")
	} else if u.User != nil {
		p.add(at+".url", "it holds a user or a password, a configuration holds no secrets: requests are signed with the secret of secret_file instead")
	} else if u.Fragment != "" {
		p.add(at+".url", "it has a part after #, which no server gets: remove that")
	}
	if w.SecretFile == "" {
		p.add(at+".secret_file", "it is missing: name a file with the secret that signs the requests")
	} else {
		p.absolute(at+".secret_file", w.SecretFile)
	}
	for i, e := range w.Events {
		p.oneOf(fmt.Sprintf("%s.events[%d]", at, i), e, Events...)
	}
	for i, g := range w.VMGroups {
		if err := volspec.CheckVMGroupName(g); err != nil {
			p.add(fmt.Sprintf("%s.vmgroups[%d]", at, i), "%s", err)
		}
	}
}

func (p *Problems) address(at, s string) {
	if s == "" {
		p.add(at, "it is missing: write a mail address")
		return
	}
	if a, err := mail.ParseAddress(s); err != nil || strings.ContainsAny(s, "\r\n") || strings.ContainsFunc(a.Address, func(r rune) bool { return r <= ' ' || r > '~' }) {
		p.add(at, "%q is not a mail address: write one such as backup@example.com or Backup <backup@example.com>", clip(s))
	}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (p *Problems) networks(at string, list []string) {
	for i, s := range list {
		if _, err := netip.ParsePrefix(s); err != nil {
			p.add(fmt.Sprintf("%s[%d]", at, i), "%q is not a network: write one such as 10.1.0.0/16", clip(s))
		}
	}
}
