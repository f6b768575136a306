package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/secret"
	"mooring.dev/mooring/pkg/transport"
	"mooring.dev/mooring/pkg/wire"
)

// loginFlags are those of mooring login.
type loginFlags struct {
	tenant, user            string
	passwordFile, tokenFile string
	trust, caFile           string
	days                    int
}

func (t *tool) loginCommand() *cobra.Command {
	var l loginFlags
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Log in to a host service over HTTPS and keep a token for it",
		Long: `Logs in to the host service that --server names, makes a token for this command
there, and keeps it as a context in the user's own configuration folder. Later
commands use the context that was logged in to or chosen last; --context gives
it another name than that of the service's host and the tenant.

A service that the machine does not trust shows its fingerprint first: compare
it with the one that mooringd writes into its log when it starts.`,
		Example: `  mooring --server https://backup.example:8443 login --user=operator --password-file=operator.password
  mooring --server https://backup.example:8443 login --tenant=Dev --user=jo --password-file=jo.password`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return t.login(cmd, l) },
	}
	f := cmd.Flags()
	f.StringVar(&l.tenant, "tenant", "", "the `tenant` whose user it is; none: the provider's own")
	f.StringVar(&l.user, "user", "", "`name` of the user")
	f.StringVar(&l.passwordFile, "password-file", "", "`file` with the password; - is standard input")
	f.StringVar(&l.tokenFile, "token-file", "", "`file` with a token that was made in the portal, instead of a user and a password; - is standard input")
	f.StringVar(&l.trust, "trust", "", "`fingerprint` of the service's certificate or of its authority, to trust it without a question")
	f.StringVar(&l.caFile, "ca-file", "", "`file` with the authority of the service's certificate, in PEM")
	f.IntVar(&l.days, "days", 0, "how long the token holds; 0: as long as the service says")
	for _, name := range []string{"password-file", "token-file", "ca-file"} {
		_ = cmd.MarkFlagFilename(name)
	}
	return cmd
}

func (t *tool) login(cmd *cobra.Command, l loginFlags) error {
	p, err := t.where()
	switch {
	case err != nil:
		return err
	case p.socket != "" || p.Server == "":
		return usagef(cmd, "'%s' needs a service: add --server https://HOST:PORT", cmd.CommandPath())
	case l.tokenFile != "" && (l.user != "" || l.tenant != "" || l.passwordFile != ""):
		return usagef(cmd, "--token-file says who it is: leave --tenant, --user and --password-file out")
	case l.trust != "" && l.caFile != "":
		return usagef(cmd, "--trust and --ca-file exclude each other")
	case t.contextName == localContext:
		return usagef(cmd, "%q is the service of this machine: choose another name for the context", localContext)
	}
	all, err := t.contexts()
	if err != nil {
		return err
	}
	s := stored{Server: p.Server, Tenant: l.tenant, User: l.user}
	if err := t.trust(cmd, &s, l, p.stored); err != nil {
		return err
	}
	if l.tokenFile != "" {
		err = t.loginWithToken(cmd, &s, l)
	} else {
		err = t.loginWithPassword(cmd, &s, l)
	}
	if err != nil {
		return err
	}
	s.Name = cmp.Or(t.contextName, contextName(s))
	before, again := all.get(s.Name)
	all.put(s)
	all.Current = s.Name
	if err := t.keep(all); err != nil {
		return err
	}
	if again && before.TokenID != "" && before.Server == s.Server && before.User == s.User && before.Tenant == s.Tenant {
		if err := t.endToken(cmd.Context(), before); err != nil { // it ends by itself, too
			fmt.Fprintf(t.Err, "The token of the log-in before could not be ended: %s\n", clean(errkind.Text(err), false))
		}
	}
	until := ""
	if !s.Expires.IsZero() {
		until = ", until " + moment(s.Expires)
	}
	return t.done(s.Name, "Logged in to %s as %s%s. The context is %q.", s.Server, s.who(), until, s.Name)
}

// endToken ends the token of a context. One that holds no more is no error.
func (t *tool) endToken(ctx context.Context, s stored) error {
	admin, err := t.Web.Connect(s.Server, s.trust(), s.Token)
	if err != nil {
		return err
	}
	defer admin.Close()
	if err = admin.RemoveToken(ctx, s.TokenID); errkind.Is(err, errkind.NotFound) || errkind.Is(err, errkind.Denied) {
		return nil
	}
	return err
}

func (s stored) who() string {
	if s.Tenant == "" {
		return s.User
	}
	return s.Tenant + "/" + s.User
}

func contextName(s stored) string {
	name := s.Server
	if u, err := url.Parse(s.Server); err == nil {
		name = u.Hostname()
	}
	if s.Tenant != "" {
		name += "/" + s.Tenant
	}
	return name
}

// trust decides by what the service is known from now on.
func (t *tool) trust(cmd *cobra.Command, s *stored, l loginFlags, before stored) error {
	switch {
	case l.caFile != "":
		text, err := os.ReadFile(l.caFile)
		if err != nil {
			return errkind.Wrap(errkind.Unavailable, err, "the certificate of the authority cannot be read")
		}
		s.CA = string(text)
		_, err = s.trust().TLS()
		return err
	case l.trust != "":
		pin, err := transport.ReadPin(l.trust)
		s.Pin = pin.String()
		return err
	case before.CA != "" || before.Pin != "":
		s.CA, s.Pin = before.CA, before.Pin
		return nil
	}
	shown, err := t.Web.Probe(cmd.Context(), s.Server)
	if err != nil || shown.Trusted {
		return err
	}
	if !t.Interactive { // yes to every question is not yes to this one
		return usagef(cmd, "this machine does not trust %s. Compare its fingerprint %s with the log of mooringd, and add --trust with it", s.Server, shown.Pin)
	}
	fmt.Fprintf(t.Err, "This machine does not know %s.\nIt shows a certificate for %s with the fingerprint\n  %s\nCompare it with the one in the log of mooringd.\n",
		s.Server, clean(strings.Join(shown.Names, ", "), false), shown.Pin)
	s.Pin = shown.Pin.String()
	return t.agree(cmd.Context(), "It will be trusted from now on.")
}

func (t *tool) loginWithToken(cmd *cobra.Command, s *stored, l loginFlags) error {
	token, err := t.secretOf(l.tokenFile, "the token")
	if err != nil {
		return err
	}
	admin, err := t.Web.Connect(s.Server, s.trust(), token)
	if err != nil {
		return err
	}
	defer admin.Close()
	who, err := admin.Session(cmd.Context())
	s.Token, s.User, s.Tenant, s.Expires = token, who.User, who.Tenant, who.Expires
	return err
}

func (t *tool) loginWithPassword(cmd *cobra.Command, s *stored, l loginFlags) error {
	if l.user == "" {
		if !t.Interactive {
			return usagef(cmd, "'%s' needs a user: add --user", cmd.CommandPath())
		}
		name, err := t.line(cmd.Context(), "User: ")
		if err != nil {
			return err
		}
		s.User = name
	}
	password, err := t.password(cmd, l.passwordFile)
	if err != nil {
		return err
	}
	visit, err := t.visit(cmd, s, password)
	if err != nil {
		return err
	}
	defer visit.Close()
	token, err := visit.CreateToken(cmd.Context(), wire.CreateToken{Name: tokenName(), Days: l.days})
	if err == nil {
		s.Token, s.TokenID, s.Expires = token.Secret, token.ID, token.Expires
	}
	t.leave(cmd.Context(), visit)
	return err
}

// visit opens a session, with a second factor and a new password where the
// service wants them.
func (t *tool) visit(cmd *cobra.Command, s *stored, password string) (Visit, error) {
	r := wire.Login{Tenant: s.Tenant, User: s.User, Password: password}
	visit, session, err := t.Web.Login(cmd.Context(), s.Server, s.trust(), r)
	if err == nil && session.NeedsCode {
		visit.Close()
		if !t.Interactive {
			return nil, errkind.New(errkind.Denied, "the user %s has a second factor, and nobody can be asked for its code: run this in a terminal, or make a token in the portal, which `mooring login --token-file` takes", s.User)
		}
		if r.Code, err = t.line(cmd.Context(), "Code of the second factor: "); err == nil {
			visit, session, err = t.Web.Login(cmd.Context(), s.Server, s.trust(), r)
		}
	}
	switch {
	case err != nil:
		return nil, err
	case session.NeedsCode:
		visit.Close()
		return nil, errkind.New(errkind.Denied, "the service wants another code: log in again")
	case session.MustFactor && !session.MustChange:
		visit.Close()
		return nil, needsFactor(s.User)
	case !session.MustChange:
		return visit, nil
	case !t.Interactive:
		visit.Close()
		return nil, errkind.New(errkind.Denied, "the password of %s was generated and must be changed first: log in to the portal, or from a terminal", s.User)
	}
	fmt.Fprintln(t.Err, "The password was generated: choose your own.")
	next, err := t.newPassword(cmd)
	if err == nil {
		err = visit.ChangePassword(cmd.Context(), wire.ChangePassword{Old: password, New: next})
	}
	if err == nil && session.MustFactor {
		err = needsFactor(s.User)
	}
	if err != nil {
		visit.Close()
		return nil, err
	}
	return visit, nil
}

func needsFactor(user string) error {
	return errkind.New(errkind.Denied, "a second factor is required of %s and not set up yet: set it up in the portal, then log in again", user)
}

// tokenName tells the user of several machines which token is whose.
func tokenName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	b := make([]byte, 4)
	_, _ = rand.Read(b) // never fails (crypto/rand, Go 1.24)
	return "mooring on " + host + " " + hex.EncodeToString(b)
}

func (t *tool) password(cmd *cobra.Command, file string) (string, error) {
	if file != "" {
		return t.secretOf(file, "the password")
	}
	if !t.Interactive {
		return "", usagef(cmd, "'%s' needs a password, and nobody can be asked without a terminal: add --password-file", cmd.CommandPath())
	}
	return t.Password(cmd.Context(), "Password: ")
}

func (t *tool) newPassword(cmd *cobra.Command) (string, error) {
	first, err := t.Password(cmd.Context(), "New password: ")
	if err != nil {
		return "", err
	}
	again, err := t.Password(cmd.Context(), "The same again: ")
	if err == nil && first != again {
		err = usagef(cmd, "the two passwords differ: nothing was changed")
	}
	return first, err
}

// secretOf reads a secret of one line from a file or from standard input.
func (t *tool) secretOf(file, what string) (string, error) {
	text, err := secret.ReadLineOr(file, t.In, what)
	return text.Reveal(), err
}

func (t *tool) logoutCommand() *cobra.Command {
	var forget bool
	cmd := &cobra.Command{
		Use:   "logout",
		Short: "End the token of a context and forget the context",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := t.where()
			if err != nil {
				return err
			}
			all, err := t.contexts()
			if err != nil {
				return err
			}
			s, ok := all.get(p.Name) // without a token of the environment, which is not ours to end
			if !ok {
				return errkind.New(errkind.NotFound, "nobody is logged in: `mooring context ls` lists where you are")
			}
			if s.TokenID != "" {
				if err := t.endToken(cmd.Context(), s); err != nil && !forget {
					return errkind.Wrap(errkind.Of(err), err, "the token still holds: try again, or forget it with --forget and remove it in the portal")
				}
			}
			all.remove(s.Name)
			if err := t.keep(all); err != nil {
				return err
			}
			return t.done(s.Name, "Logged out of %s.", s.Server)
		},
	}
	cmd.Flags().BoolVar(&forget, "forget", false, "forget the context also when the service does not answer")
	return cmd
}
