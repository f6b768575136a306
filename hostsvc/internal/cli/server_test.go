package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/transport"
	"mooring.dev/mooring/pkg/wire"
)

// memWeb is a service over HTTPS that takes every password but "wrong".
type memWeb struct {
	admin   *memAdmin
	trusted bool
	code    string // of the second factor, "" for none
	change  bool   // the password was generated
	factor  bool   // a second factor is required

	calls   []string
	changed string
	fail    error // of what is done in a session about tokens
}

var memPin = transport.Pin{7}

func (w *memWeb) Connect(channel string, trust hostclient.Trust, token string) (Admin, error) {
	w.calls = append(w.calls, "connect "+channel+" "+trust.Pin+trust.CA+" "+token)
	return w.admin, nil
}

func (w *memWeb) Probe(context.Context, string) (hostclient.Shown, error) {
	return hostclient.Shown{Trusted: w.trusted, Pin: memPin, Names: []string{"backup.example"}}, nil
}

func (w *memWeb) Login(_ context.Context, channel string, trust hostclient.Trust, r wire.Login) (Visit, wire.Session, error) {
	w.calls = append(w.calls, "login "+channel+" "+trust.Pin+" "+r.Tenant+"/"+r.User)
	switch {
	case r.Password == "wrong":
		return nil, wire.Session{}, errkind.New(errkind.Denied, "the log-in is refused")
	case r.Code != w.code:
		return memVisit{w}, wire.Session{NeedsCode: true}, nil
	}
	return memVisit{w}, wire.Session{User: r.User, MustChange: w.change, MustFactor: w.factor}, nil
}

type memVisit struct{ *memWeb }

func (v memVisit) ChangePassword(_ context.Context, r wire.ChangePassword) error {
	v.changed = r.New
	return nil
}

func (v memVisit) Tokens(context.Context) ([]wire.Token, error) {
	v.calls = append(v.calls, "tokens")
	return []wire.Token{{ID: "t1", Name: "nightly"}}, v.fail
}

func (v memVisit) CreateToken(_ context.Context, r wire.CreateToken) (wire.Token, error) {
	v.calls = append(v.calls, fmt.Sprintf("create %s [%s] %d", r.Name, r.Scope, r.Days))
	return wire.Token{ID: "t1", Name: r.Name, Secret: "mrt_secret", Expires: time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)}, v.fail
}

func (v memVisit) RemoveToken(_ context.Context, id string) error {
	v.calls = append(v.calls, "remove "+id)
	return v.fail
}

func (v memVisit) Logout(context.Context) error {
	v.calls = append(v.calls, "logout")
	return nil
}

func (v memVisit) Close() {}

func (m *memAdmin) Session(context.Context) (wire.Session, error) { return m.session, m.did("Session") }

func (m *memAdmin) RemoveToken(_ context.Context, id string) error { return m.did("RemoveToken", id) }

const backupExample = "https://backup.example:8443"

// remote is a session with a service over HTTPS and a home folder.
func remote(t *testing.T) (*session, *memWeb, map[string]string) {
	t.Helper()
	s := newSession(world())
	w := &memWeb{admin: s.admin, trusted: true}
	env := map[string]string{"HOME": t.TempDir()}
	s.opts.Web = w
	s.opts.Getenv = func(key string) string { return env[key] }
	s.opts.Password = func(context.Context, string) (string, error) { return "right", nil }
	return s, w, env
}

func login(t *testing.T, s *session, args ...string) outcome {
	t.Helper()
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte("right\n"), 0o600))
	return s.run(t, append([]string{"--server", backupExample, "login", "--password-file", file}, args...)...)
}

// After a log-in the commands of this user are about that service, until it
// logs out.
func TestLoginAndLogout(t *testing.T) {
	s, w, env := remote(t)
	got := login(t, s, "--user=jo")
	require.Equal(t, outcome{0, "", "Logged in to https://backup.example:8443 as jo, until 2027-01-02T03:04:05Z. The context is \"backup.example\".\n"}, got)
	file := filepath.Join(env["HOME"], ".config", "mooring", "contexts.json")
	st, err := os.Stat(file)
	require.NoError(t, err)
	assert.EqualValues(t, 0o600, st.Mode().Perm())
	assert.Contains(t, w.calls, "logout", "only the token is left")

	w.calls = nil
	require.Equal(t, 0, s.run(t, "vm", "ls").code)
	assert.Equal(t, []string{"connect " + backupExample + "  mrt_secret"}, w.calls)

	w.calls = nil
	require.Equal(t, 0, s.run(t, "--context", "local", "vm", "ls").code)
	require.Equal(t, 0, s.run(t, "--socket", "/tmp/s", "vm", "ls").code)
	assert.Empty(t, w.calls, "the admin socket can still be named")

	require.Equal(t, outcome{0, "", "Logged out of https://backup.example:8443.\n"}, s.run(t, "logout"))
	assert.Contains(t, s.admin.calls, `RemoveToken "t1"`)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.NotContains(t, string(text), "mrt_secret")
	w.calls = nil
	require.Equal(t, 0, s.run(t, "vm", "ls").code)
	assert.Empty(t, w.calls)
	assert.Equal(t, 4, s.run(t, "logout").code, "nobody is logged in")
}

// A token in the environment is not that of the context.
func TestLogoutEndsTheTokenOfTheContext(t *testing.T) {
	s, w, env := remote(t)
	require.Equal(t, 0, login(t, s, "--user=jo").code)
	env["MOORING_TOKEN"] = "given"
	w.calls = nil
	require.Equal(t, 0, s.run(t, "logout").code)
	assert.Equal(t, []string{"connect " + backupExample + "  mrt_secret"}, w.calls)
}

// The users of a tenant have one vmgroup and need not say so.
func TestATenantsUserLeavesItsVmgroupOut(t *testing.T) {
	s, _, _ := remote(t)
	require.Equal(t, 0, login(t, s, "--tenant=Dev", "--user=jo").code)
	s.admin.session = wire.Session{User: "jo", Tenant: "Dev"}
	s.admin.calls = nil
	require.Equal(t, 0, s.run(t, "volume", "inspect", "db").code)
	require.Equal(t, 0, s.run(t, "volume", "inspect", "Dev/db").code)
	require.Equal(t, 0, s.run(t, "vmgroup", "access", "ls").code)
	assert.Contains(t, s.admin.calls, `Volume "Dev" "db"`)
	assert.Contains(t, s.admin.calls, `AccessRows "Dev"`)

	// One that names another vmgroup gets the service's answer to that.
	s.admin.calls = nil
	for _, args := range [][]string{{"volume", "inspect", "Other/db"}, {"vmgroup", "access", "ls", "Other"}, {"backup", "policy", "inspect", "Other/nightly"}, {"job", "ls", "Other"}} {
		got := s.run(t, args...)
		assert.NotContains(t, got.err, "give one", args)
	}
	for _, call := range []string{`Volume "Other" "db"`, `AccessRows "Other"`, `Policy "Other" "nightly"`} {
		assert.Contains(t, s.admin.calls, call)
	}
	assert.Equal(t, 2, s.run(t, "volume", "inspect", "Other/db", "--vmgroup=Dev").code, "it says two")
	assert.Equal(t, 2, s.run(t, "vmgroup", "access", "ls", "Other", "--name=Dev").code)

	got := s.run(t, "whoami")
	assert.Equal(t, outcome{0, "Dev/jo () at https://backup.example:8443\n", ""}, got)
}

func TestContexts(t *testing.T) {
	s, w, _ := remote(t)
	require.Equal(t, 0, login(t, s, "--user=jo").code)
	require.Equal(t, 0, login(t, s, "--tenant=Dev", "--user=jo").code)
	require.Equal(t, 0, login(t, s, "--context=third", "--tenant=Dev", "--user=al").code)
	assert.Equal(t, "local\nbackup.example\nbackup.example/Dev\nthird\n", s.run(t, "context", "ls", "-o", "name").out)
	assert.Equal(t, 0, s.run(t, "context", "use", "backup.example").code)
	w.calls = nil
	require.Equal(t, 0, s.run(t, "vm", "ls").code)
	assert.Len(t, w.calls, 1)
	got := s.run(t, "context", "show", "third")
	assert.Contains(t, got.out, "al")
	assert.NotContains(t, got.out, "secret")
	assert.Equal(t, 0, s.run(t, "context", "rm", "third").code)
	assert.Equal(t, 4, s.run(t, "context", "use", "third").code)
	assert.Equal(t, 5, s.run(t, "context", "rm", "local").code)
	assert.Equal(t, 0, s.run(t, "context", "use", "local").code)
	w.calls = nil
	require.Equal(t, 0, s.run(t, "vm", "ls").code)
	assert.Empty(t, w.calls)

	// The next log-in ends the token of the one before.
	s.admin.calls = nil
	require.Equal(t, 0, login(t, s, "--user=jo").code)
	assert.Equal(t, []string{`RemoveToken "t1"`}, s.admin.calls)
}

func TestServersFromTheEnvironment(t *testing.T) {
	s, w, env := remote(t)
	env["MOORING_SERVER"], env["MOORING_TOKEN"] = backupExample, "given"
	require.Equal(t, 0, s.run(t, "vm", "ls").code)
	assert.Equal(t, []string{"connect " + backupExample + "  given"}, w.calls)
	s.admin.session = wire.Session{Tenant: "Dev"}
	require.Equal(t, 0, s.run(t, "volume", "inspect", "db").code, "a token says whose it is")

	delete(env, "MOORING_TOKEN")
	got := s.run(t, "vm", "ls")
	assert.Equal(t, outcome{5, "", "Error: nobody is logged in at https://backup.example:8443: run `mooring --server https://backup.example:8443 login`, or put a token into MOORING_TOKEN\n"}, got)
	env["MOORING_SOCKET"] = "/tmp/s"
	assert.Equal(t, 0, s.run(t, "vm", "ls").code, "a socket is a service of this machine")

	env = map[string]string{}
	s.opts.Getenv = func(key string) string { return env[key] }
	assert.Equal(t, 2, s.run(t, "--socket=/tmp/s", "--server", backupExample, "vm", "ls").code)
	assert.Equal(t, 2, s.run(t, "--server", "backup.example", "vm", "ls").code)
	assert.Equal(t, 4, s.run(t, "--context", "absent", "vm", "ls").code)
}

// A certificate that nobody vouches for is trusted only after a person has
// compared its fingerprint.
func TestTrustOfAnUnknownService(t *testing.T) {
	s, w, env := remote(t)
	w.trusted = false
	got := login(t, s, "--user=jo", "--yes")
	assert.Equal(t, 2, got.code)
	assert.Contains(t, got.err, memPin.String())
	assert.Contains(t, got.err, "add --trust")
	assert.Empty(t, w.calls, "no password was sent")

	s.opts.Interactive, s.in = true, "n\n"
	require.Equal(t, 1, login(t, s, "--user=jo").code)
	assert.Empty(t, w.calls)

	s.in = "y\n"
	got = login(t, s, "--user=jo")
	require.Equal(t, 0, got.code, got.err)
	assert.Contains(t, got.err, "This machine does not know https://backup.example:8443.")
	assert.Equal(t, "login "+backupExample+" "+memPin.String()+" /jo", w.calls[0])
	s.opts.Interactive = false
	require.Equal(t, 0, login(t, s, "--user=jo").code, "it is known now")

	env["HOME"] = t.TempDir()
	w.calls = nil
	require.Equal(t, 0, login(t, s, "--user=jo", "--trust", memPin.String()).code)
	assert.Equal(t, "login "+backupExample+" "+memPin.String()+" /jo", w.calls[0])
	assert.Equal(t, 2, login(t, s, "--user=jo", "--trust", "nonsense").code)
}

func TestLoginAsksForWhatIsMissing(t *testing.T) {
	s, w, _ := remote(t)
	w.code, w.change = "123456", true
	assert.Equal(t, 5, login(t, s, "--user=jo").code, "nobody can be asked for the code")
	s.opts.Interactive, s.in = true, "jo\n123456\n"
	got := s.run(t, "--server", backupExample, "login")
	require.Equal(t, 0, got.code, got.err)
	assert.Equal(t, "right", w.changed)
	assert.Contains(t, got.err, "The password was generated")

	w.factor = true
	s.in = "jo\n123456\n"
	got = s.run(t, "--server", backupExample, "login")
	assert.Equal(t, 5, got.code)
	assert.Contains(t, got.err, "a second factor is required of jo")
	w.factor = false

	s.in = "jo\n999999\n"
	got = s.run(t, "--server", backupExample, "login")
	assert.Equal(t, 5, got.code)
	s.opts.Interactive = false
	for _, args := range [][]string{{"login"}, {"login", "--user=jo"}, {"login", "--user=jo", "--token-file=x"}, {"login", "--trust=x", "--ca-file=y"}, {"--context=local", "login"}} {
		got := s.run(t, append([]string{"--server", backupExample}, args...)...)
		assert.Equal(t, 2, got.code, strings.Join(args, " "))
	}
}

func TestLoginWithAToken(t *testing.T) {
	s, w, _ := remote(t)
	s.admin.session = wire.Session{User: "robot", Tenant: "Dev"}
	s.in = "mrt_given\n"
	got := s.run(t, "--server", backupExample, "login", "--token-file=-")
	require.Equal(t, outcome{0, "", "Logged in to https://backup.example:8443 as Dev/robot. The context is \"backup.example/Dev\".\n"}, got)
	assert.Equal(t, []string{"connect " + backupExample + "  mrt_given"}, w.calls)
	s.admin.calls = nil
	require.Equal(t, 0, s.run(t, "logout").code)
	assert.Empty(t, s.admin.calls, "a token that was given is not ours to end")
}

func TestLogoutWithoutTheService(t *testing.T) {
	s, _, _ := remote(t)
	require.Equal(t, 0, login(t, s, "--user=jo").code)
	s.admin.fail["RemoveToken"] = errkind.New(errkind.Unavailable, "the host service does not answer")
	got := s.run(t, "logout")
	assert.Equal(t, 1, got.code)
	assert.Contains(t, got.err, "--forget")
	require.Equal(t, 0, s.run(t, "logout", "--forget").code)
	assert.Equal(t, "local\n", s.run(t, "context", "ls", "-o", "name").out)
}

func TestDamagedContextsAreTold(t *testing.T) {
	s, _, env := remote(t)
	require.Equal(t, 0, login(t, s, "--user=jo").code)
	file := filepath.Join(env["HOME"], ".config", "mooring", "contexts.json")
	require.NoError(t, os.WriteFile(file, []byte("{"), 0o600))
	assert.Contains(t, s.run(t, "vm", "ls").err, "is damaged")
	require.NoError(t, os.Chmod(file, 0o644))
	assert.Contains(t, s.run(t, "vm", "ls").err, "open to others")
	env["HOME"] = ""
	assert.Equal(t, 0, s.run(t, "vm", "ls").code)
}
