package notify

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/secret"
)

// How a connection to a mail server is protected.
const (
	StartTLS    = "starttls" // TLS after the greeting, and no mail without it
	ImplicitTLS = "implicit" // TLS from the first byte
	NoTLS       = "none"     // passwords only to this machine
)

// SMTPOptions describe a mail server and who gets mail.
type SMTPOptions struct {
	Host         string
	Port         int
	TLS          string
	User         string
	PasswordFile string // read for every mail, so that it can change
	From         string
	To           []string
	Hostname     string         // of this machine, for greetings and texts
	Product      string         // in subjects; "mooring"
	Foot         string         // last line of a text; "": where it comes from, and how alarms are listed
	RootCAs      *x509.CertPool // nil: the system's
	Timeout      time.Duration  // of one mail; 1 min
}

// SMTP sends mails.
type SMTP struct {
	o    SMTPOptions
	from *mail.Address
	to   []*mail.Address
}

// NewSMTP makes a sender of mails. It connects to nothing. Options that make
// no sense: invalid.
func NewSMTP(o SMTPOptions) (*SMTP, error) {
	o.Timeout = cmp.Or(o.Timeout, time.Minute)
	o.Hostname = cmp.Or(o.Hostname, "localhost")
	o.Product = cmp.Or(o.Product, "mooring")
	o.Foot = cmp.Or(o.Foot, "mooringd on "+o.Hostname+". Standing alarms are listed by: mooring alarm ls")
	from, err := addresses(o.From)
	if err != nil {
		return nil, err
	}
	to, err := addresses(o.To...)
	if err != nil {
		return nil, err
	}
	switch {
	case len(to) == 0:
		return nil, errkind.New(errkind.Invalid, "mail has no receiver: name one")
	case o.TLS != StartTLS && o.TLS != ImplicitTLS && o.TLS != NoTLS:
		return nil, errkind.New(errkind.Invalid, "protection %q of mail is not known: use %s, %s or %s", o.TLS, StartTLS, ImplicitTLS, NoTLS)
	}
	return &SMTP{o, from[0], to}, nil
}

// Name is the channel's in logs and errors.
func (s *SMTP) Name() string { return "mail by " + s.o.Host }

// Wants is true: mail is about everything.
func (s *SMTP) Wants(Event) bool { return true }

// Send sends one mail about all events. If the server refuses some of the
// receivers the others get it, and the error names the refused ones.
func (s *SMTP) Send(ctx context.Context, events []Event) (int, error) {
	accepted, err := s.deliver(ctx, letter{id: idOf(events), subject: subject(s.o.Product, events), text: body(events, s.o.Foot)})
	if !accepted {
		return 0, err
	}
	return len(events), err
}

// deliver sends one mail. If the server refuses some of the receivers it is
// accepted with an error.
func (s *SMTP) deliver(ctx context.Context, l letter) (accepted bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	text, err := s.message(l, time.Now())
	if err != nil {
		return false, &PermanentError{Err: err}
	}
	c, err := s.connect(ctx)
	if err != nil {
		return false, s.classify(ctx, err)
	}
	defer func() { _ = c.Close() }()
	refused, err := s.submit(c, text)
	if err != nil {
		return false, s.classify(ctx, err)
	}
	if refused != nil {
		return true, s.classify(ctx, refused)
	}
	return true, nil
}

// Each is one sender for each receiver.
func (s *SMTP) Each() (all []Sender) {
	for _, to := range s.to {
		one := *s
		one.to = []*mail.Address{to}
		all = append(all, &one)
	}
	return all
}

// Way is what a person calls the channel.
func (s *SMTP) Way() string {
	names := make([]string, len(s.to))
	for i, a := range s.to {
		names[i] = a.Address
	}
	return "email " + strings.Join(names, ", ")
}

// connect is everything up to the point where mail can be given. The
// connection ends with ctx.
func (s *SMTP) connect(ctx context.Context) (*smtp.Client, error) {
	address := net.JoinHostPort(s.o.Host, strconv.Itoa(s.o.Port))
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = raw.Close() }) // also when Send is done
	conn := raw
	config := &tls.Config{ServerName: s.o.Host, RootCAs: s.o.RootCAs, MinVersion: tls.VersionTLS12}
	if s.o.TLS == ImplicitTLS {
		conn = tls.Client(conn, config)
	}
	c, err := smtp.NewClient(conn, s.o.Host)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	if err := s.greet(c, config); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

func (s *SMTP) greet(c *smtp.Client, config *tls.Config) error {
	if err := c.Hello(domain(s.o.Hostname)); err != nil {
		return err
	}
	offered, _ := c.Extension("STARTTLS")
	switch {
	case s.o.TLS == StartTLS && !offered:
		return errkind.New(errkind.Unavailable, "the server offers no TLS: use tls = %q if it speaks TLS from the start", ImplicitTLS)
	case s.o.TLS == StartTLS:
		if err := c.StartTLS(config); err != nil {
			return err
		}
	}
	return s.login(c)
}

func (s *SMTP) login(c *smtp.Client) error {
	if s.o.User == "" {
		return nil
	}
	if _, protected := c.TLSConnectionState(); !protected && !isLoopback(s.o.Host) {
		return &PermanentError{Err: errkind.New(errkind.Invalid, "the password would cross the network readably: use tls = %q or %q", StartTLS, ImplicitTLS)}
	}
	password, err := secret.ReadLine(s.o.PasswordFile, "the password of the mail server")
	if err != nil {
		return err
	}
	ok, ways := c.Extension("AUTH")
	offered := strings.Fields(strings.ToUpper(ways))
	switch {
	case ok && slices.Contains(offered, "PLAIN"):
		return c.Auth(plainAuth{s.o.User, password})
	case ok && slices.Contains(offered, "LOGIN"):
		return c.Auth(&loginAuth{user: s.o.User, password: password})
	}
	return errkind.New(errkind.Unavailable, "the server offers no login with a password (PLAIN, LOGIN) on this connection")
}

// submit gives a mail to the server. refused are receivers that it does not
// take, beside others.
func (s *SMTP) submit(c *smtp.Client, text []byte) (refused, err error) {
	if err := c.Mail(s.from.Address); err != nil {
		return nil, err
	}
	var bad []error
	for _, a := range s.to {
		if err := c.Rcpt(a.Address); err != nil {
			if _, answered := errors.AsType[*textproto.Error](err); !answered {
				return nil, err
			}
			bad = append(bad, fmt.Errorf("receiver %s is refused: %w", a.Address, err))
		}
	}
	if len(bad) == len(s.to) {
		return nil, errors.Join(bad...)
	}
	w, err := c.Data()
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil { // the server's answer: from here the mail is its
		return nil, err
	}
	_ = c.Quit() // the mail is accepted, whatever comes now
	return errors.Join(bad...), nil
}

// classify gives an error its sentence, and says whether a repetition helps:
// answers from 500 on are final, except those about the login, whose password
// may be changed meanwhile.
func (s *SMTP) classify(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = fmt.Errorf("no answer in time: %w", ctx.Err())
	}
	wrapped := errkind.Wrap(errkind.Unavailable, err, "mail could not be given to %s port %d", s.o.Host, s.o.Port)
	if permanent, ok := errors.AsType[*PermanentError](err); ok {
		return &PermanentError{Err: errkind.Wrap(errkind.Invalid, permanent.Err, "mail could not be given to %s port %d", s.o.Host, s.o.Port)}
	}
	if answer, ok := errors.AsType[*textproto.Error](err); ok && answer.Code >= 500 && answer.Code != 530 && answer.Code != 534 && answer.Code != 535 {
		return &PermanentError{Err: wrapped}
	}
	return wrapped
}

// plainAuth is smtp.PlainAuth without its own idea of what is protected: that
// was decided before.
type plainAuth struct {
	user     string
	password secret.Text
}

func (a plainAuth) Start(*smtp.ServerInfo) (string, []byte, error) {
	return "PLAIN", []byte("\x00" + a.user + "\x00" + a.password.Reveal()), nil
}

func (a plainAuth) Next(_ []byte, more bool) ([]byte, error) {
	if more {
		return nil, errors.New("the server asks for more than user and password")
	}
	return nil, nil
}

// loginAuth is the way before PLAIN, which some servers know alone: the server
// asks for user and password, in words of its own.
type loginAuth struct {
	user     string
	password secret.Text
	asked    int
}

func (a *loginAuth) Start(*smtp.ServerInfo) (string, []byte, error) { return "LOGIN", nil, nil }

func (a *loginAuth) Next(_ []byte, more bool) ([]byte, error) {
	if !more {
		return nil, nil
	}
	a.asked++
	switch a.asked {
	case 1:
		return []byte(a.user), nil
	case 2:
		return []byte(a.password.Reveal()), nil
	}
	return nil, errors.New("the server asks for more than user and password")
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
