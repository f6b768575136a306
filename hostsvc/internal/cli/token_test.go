package cli

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

// Each command about tokens is done in a session of its own, which ends with
// it, and never by the token of the context.
func TestTokensAreManagedInASession(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		fail error
		want outcome
		did  string
	}{
		"list": {args: []string{"ls", "-o", "name"}, want: outcome{0, "nightly\n", ""}, did: "tokens"},
		"create": {
			args: []string{"create", "nightly", "--scope=backup.run,backup.read", "--days=30"},
			want: outcome{0, "Token nightly is made, until 2027-01-02T03:04:05Z.\nIts secret, shown only now:\n\n    mrt_secret\n", ""},
			did:  "create nightly [backup.run backup.read] 30",
		},
		"the secret alone": {args: []string{"create", "n", "-o", "name"}, want: outcome{0, "mrt_secret\n", ""}, did: "create n [] 0"},
		"remove":           {args: []string{"rm", "nightly", "--yes"}, want: outcome{0, "", "Token nightly is removed.\n"}, did: "remove nightly"},
		"refused": {
			args: []string{"rm", "gone", "--yes"}, fail: errkind.New(errkind.NotFound, "there is no token gone"),
			want: outcome{4, "", "Error: there is no token gone\n"}, did: "remove gone",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, w, _ := remote(t)
			require.Equal(t, 0, login(t, s, "--tenant=Dev", "--user=jo").code)
			s.admin.session = wire.Session{User: "jo", Tenant: "Dev"}
			w.calls, w.fail = nil, c.fail
			s.in = "right\n"
			require.Equal(t, c.want, s.run(t, append(append([]string{"token"}, c.args...), "--password-file=-")...))
			assert.Equal(t, []string{"connect " + backupExample + "  mrt_secret", "login " + backupExample + "  Dev/jo", c.did, "logout"}, w.calls)
		})
	}
}

func TestTokensAskForTheirUser(t *testing.T) {
	s, w, env := remote(t)
	got := s.run(t, "token", "ls")
	assert.Equal(t, 2, got.code)
	assert.Contains(t, got.err, "tokens belong to users")

	// A token of the environment says whose it is.
	env["MOORING_SERVER"], env["MOORING_TOKEN"] = backupExample, "given"
	s.admin.session = wire.Session{User: "robot"}
	assert.Equal(t, 2, s.run(t, "token", "ls").code, "nobody can be asked for the password")
	w.code = "123456"
	s.opts.Interactive, s.in = true, "123456\ny\n"
	w.calls = nil
	got = s.run(t, "token", "rm", "old")
	require.Equal(t, 0, got.code, got.err)
	assert.Equal(t, []string{
		"connect " + backupExample + "  given", "login " + backupExample + "  /robot", "login " + backupExample + "  /robot", "remove old", "logout",
	}, w.calls)

	w.calls, s.in = nil, "123456\nn\n"
	assert.Equal(t, 1, s.run(t, "token", "rm", "old").code)
	assert.NotContains(t, w.calls, "remove old")
	assert.Contains(t, w.calls, "logout", "no session is left behind a no")
}
