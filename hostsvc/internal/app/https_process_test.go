package app_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/wire"
)

// command runs one of the programs with a home of its own.
func (p *process) command(t *testing.T, in, program string, args ...string) (code int, out, errs string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), p.bin+"/"+program, args...)
	var o, e bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(in), &o, &e
	cmd.Env = append(os.Environ(), "HOME="+p.path("home"), "XDG_CONFIG_HOME=")
	err := cmd.Run()
	if _, exited := err.(*exec.ExitError); err != nil && !exited { //nolint:errorlint // what Run itself returns
		require.NoError(t, err)
	}
	return cmd.ProcessState.ExitCode(), o.String(), e.String()
}

func (p *process) said(t *testing.T, pattern string) string {
	t.Helper()
	var found []string
	require.Eventually(t, func() bool {
		found = regexp.MustCompile(pattern).FindStringSubmatch(p.out.String())
		return found != nil
	}, 30*time.Second, 20*time.Millisecond, pattern)
	return found[1]
}

// From an empty machine to a tenant's user on the command line of another one:
// init, log-in over HTTPS with a fingerprint, a token that ends.
func TestFirstStartAndLoginOverHTTPS(t *testing.T) {
	p := newProcess(t, []string{"vm1"}, "[https]\nlisten = '127.0.0.1:0'\n")
	config := p.path("mooring.toml")
	code, out, errs := p.command(t, "correct horse battery\n", "mooringd", "init", "--config", config, "--mode=single", "--user=root", "--password-file=-")
	require.Zero(t, code, errs)
	assert.Contains(t, out, "The mode of this installation is single now.")
	assert.Contains(t, out, "User root is the first administrator.")
	code, _, errs = p.command(t, "", "mooringd", "init", "--config", config)
	assert.Equal(t, 6, code)
	assert.Contains(t, errs, "users already (root)")

	p.start(t)
	code, out, errs = p.command(t, "", "mooringd", "init", "--config", config, "--mode=multi")
	require.Zero(t, code, errs)
	assert.Contains(t, out, "multi now")
	code, _, _ = p.command(t, "", "mooringd", "init", "--config", config, "--mode=multi")
	assert.Equal(t, 6, code, "also while it runs")

	url, pin := p.said(t, `url="?(https://[^" ]+)`), p.said(t, `authority="?(sha256:[0-9a-f]+)`)
	password := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(password, []byte("correct horse battery\n"), 0o600))
	login := []string{"--server", url, "login", "--user=root", "--password-file", password}
	code, _, errs = p.command(t, "", "mooring", login...)
	assert.Equal(t, 2, code)
	assert.Contains(t, errs, pin, "it says what the log of mooringd says")
	code, _, errs = p.command(t, "", "mooring", append(login, "--trust", pin)...)
	require.Zero(t, code, errs)

	code, out, errs = p.command(t, "", "mooring", "whoami")
	require.Zero(t, code, errs)
	assert.Contains(t, out, "root (master-admin) at "+url)
	code, _, errs = p.command(t, "", "mooring", "vmgroup", "create", "--name=Dev", "--default-datastore=datastore1", "--vm-list=vm1")
	require.Zero(t, code, errs)
	code, out, _ = p.command(t, "", "mooring", "vmgroup", "ls", "-o", "name")
	assert.Zero(t, code)
	assert.Contains(t, out, "Dev")
	code, _, errs = p.command(t, "", "mooring", "logout")
	require.Zero(t, code, errs)
	code, _, errs = p.command(t, "", "mooring", "--server", url, "vmgroup", "ls")
	assert.Equal(t, 5, code)
	assert.Contains(t, errs, "nobody is logged in")
}

// Without init the log says how the first visit goes.
func TestFirstVisitNeedsTheCodeOfTheLog(t *testing.T) {
	p := newProcess(t, nil, "[https]\nlisten = '127.0.0.1:0'\n")
	p.start(t)
	code := p.said(t, `code=([a-z0-9-]+)`)
	assert.Len(t, code, 23)
	p.signal(t, syscall.SIGTERM)
	require.Zero(t, p.exit(t))
	p.start(t)
	require.Eventually(t, func() bool { return strings.Count(p.out.String(), "first administrator") == 2 }, 30*time.Second, 20*time.Millisecond)
	assert.Equal(t, 1, strings.Count(p.out.String(), code), "each start has its own")
}

// The first visit makes the administrator, once, with the code of the log, and
// ends in a session.
func TestFirstVisitMakesTheAdministrator(t *testing.T) {
	p := newProcess(t, nil, "[https]\nlisten = '127.0.0.1:0'\n")
	p.start(t)
	url, code := p.said(t, `url="?(https://[^" ]+)`), p.said(t, `code=([a-z0-9-]+)`)
	pem, err := os.ReadFile(p.path("state/https-ca.crt"))
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(pem))
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(tr.CloseIdleConnections)
	c := &http.Client{Transport: tr, Jar: jar}
	visit := func(code string) (int, wire.Session) {
		t.Helper()
		body, err := json.Marshal(wire.FirstAdmin{Code: code, User: "root", Password: "correct horse battery", Mode: "multi"})
		require.NoError(t, err)
		resp, err := c.Post(url+"/api/v1/first-admin", "application/json", bytes.NewReader(body))
		require.NoError(t, err)
		defer resp.Body.Close()
		var s wire.Session
		_ = json.NewDecoder(resp.Body).Decode(&s) // a refusal is not one
		return resp.StatusCode, s
	}
	status, _ := visit("aaaaa-aaaaa-aaaaa-aaaaa")
	assert.GreaterOrEqual(t, status, 400, "not the code of the log")
	status, s := visit(code)
	require.Less(t, status, 300)
	assert.Equal(t, "root", s.User)
	resp, err := c.Get(url + "/api/v1/session")
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, http.StatusOK, resp.StatusCode, "the cookie is a session")
	status, _ = visit(code)
	assert.GreaterOrEqual(t, status, 400, "there is one now")
}
