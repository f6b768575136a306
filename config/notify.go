package config

import "time"

// Notify says who is told when something is wrong.
type Notify struct {
	Repeat   Duration  `toml:"repeat"` // how often what is still wrong is told again
	SMTP     SMTP      `toml:"smtp"`
	Webhooks []Webhook `toml:"webhook"`
	// AllowPrivate are networks (CIDR) that are not public and that webhooks set
	// by vmgroups or in the portal may reach all the same.
	AllowPrivate []string `toml:"allow_private,omitempty"`
}

// SMTP is the mail server that takes notifications; Host "" is none.
type SMTP struct {
	Host         string   `toml:"host"`
	Port         int      `toml:"port,omitempty"`
	TLS          string   `toml:"tls"`
	User         string   `toml:"user,omitempty"`
	PasswordFile string   `toml:"password_file,omitempty"`
	From         string   `toml:"from,omitempty"`
	To           []string `toml:"to,omitempty"`
}

// How a connection to a mail server is protected.
const (
	StartTLS    = "starttls" // and never without
	ImplicitTLS = "implicit" // from the first byte
	NoTLS       = "none"
)

// Webhook is a URL that gets signed POST requests.
type Webhook struct {
	Name       string   `toml:"name"`
	URL        string   `toml:"url"`
	SecretFile string   `toml:"secret_file"`
	Events     []string `toml:"events,omitempty"`   // none: all
	VMGroups   []string `toml:"vmgroups,omitempty"` // none: all
}

// Events are the kinds of notifications, as package notify of the host service
// makes them.
var Events = []string{
	"job-failed", "job-recovered", "rpo-missed", "rpo-recovered", "repository-offline", "repository-recovered",
	"drill-failed", "drill-recovered", "point-damaged", "point-healed", "verify-failed", "quota", "backup-quota", "backup-quota-recovered",
	"transporter-offline", "transporter-recovered", "test",
}

func defaultNotify() Notify {
	return Notify{Repeat: Duration(24 * time.Hour), SMTP: SMTP{TLS: StartTLS}}
}

func (c *Config) completeNotify() {
	s := &c.Notify.SMTP
	if s.Host == "" || s.Port != 0 {
		return
	}
	switch s.TLS {
	case StartTLS:
		s.Port = 587
	case ImplicitTLS:
		s.Port = 465
	case NoTLS:
		s.Port = 25
	}
}
