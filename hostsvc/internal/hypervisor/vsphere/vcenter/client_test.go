package vcenter_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/simvc/control"
)

func TestNewChecksTheForm(t *testing.T) {
	pin := strings.Repeat("AB:", 31) + "AB"
	secret := func() (string, error) { return "x", nil }
	notPEM := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(notPEM, []byte("x"), 0o600))
	for name, c := range map[string]struct {
		change func(*vcenter.Options)
		says   string
	}{
		"no address":                 {func(o *vcenter.Options) { o.URL = "" }, "https://host"},
		"http":                       {func(o *vcenter.Options) { o.URL = "http://vc" }, "https://host"},
		"a password in the address":  {func(o *vcenter.Options) { o.URL = "https://a:secret@vc" }, "settings of their own"},
		"no user":                    {func(o *vcenter.Options) { o.User = "" }, "account"},
		"no password":                {func(o *vcenter.Options) { o.Password = nil }, "file"},
		"a SHA-1 thumbprint":         {func(o *vcenter.Options) { o.Thumbprint = strings.Repeat("AB:", 19) + "AB" }, "-fingerprint -sha256"},
		"a CA file that is not one":  {func(o *vcenter.Options) { o.CAFile = notPEM }, "PEM"},
		"a CA file that is not here": {func(o *vcenter.Options) { o.CAFile = "/nowhere/ca.pem" }, "/nowhere/ca.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			o := vcenter.Options{URL: "https://vc", User: "u", Password: secret, Thumbprint: pin}
			c.change(&o)
			_, err := vcenter.New(o)
			require.Equal(t, errkind.Invalid, errkind.Of(err), "%v", err)
			assert.Contains(t, errkind.Text(err), c.says)
			assert.NotContains(t, errkind.Text(err), "secret")
		})
	}
	for _, url := range []string{"https://vc", "https://vc/", "https://vc:8443/sdk"} {
		_, err := vcenter.New(vcenter.Options{URL: url, User: "u", Password: secret, Thumbprint: strings.ToLower(strings.ReplaceAll(pin, ":", ""))})
		require.NoError(t, err, url)
	}
}

func ask(ctx context.Context, c *vcenter.Client) error {
	return c.Do(ctx, "asking the time", func(ctx context.Context, vc *vim25.Client) error {
		_, err := methods.GetCurrentTime(ctx, vc)
		return err
	})
}

func TestWhomToTrust(t *testing.T) {
	sim := start(t, control.Options{})
	ctx := t.Context()

	pinned := options(sim)
	require.NoError(t, ask(ctx, connect(t, pinned)))

	byCA := options(sim)
	byCA.Thumbprint, byCA.CAFile = "", sim.CAFile
	require.NoError(t, ask(ctx, connect(t, byCA)))

	system := options(sim)
	system.Thumbprint = ""
	err := ask(ctx, connect(t, system))
	require.Equal(t, errkind.Denied, errkind.Of(err), "%v", err)
	assert.Contains(t, errkind.Text(err), "CA file")
	assert.Contains(t, errkind.Text(err), "thumbprint")

	other := options(sim)
	other.Thumbprint = strings.Repeat("AB:", 31) + "AB"
	other.CAFile = sim.CAFile // does not help: the pin decides
	err = ask(ctx, connect(t, other))
	require.Equal(t, errkind.Denied, errkind.Of(err), "%v", err)
	assert.Contains(t, errkind.Text(err), sim.Thumbprint, "what it shows")
	assert.Contains(t, errkind.Text(err), other.Thumbprint, "what was pinned")
}

func TestAnEndedContextIsUnavailable(t *testing.T) {
	sim := start(t, control.Options{})
	c := connect(t, options(sim))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, errkind.Unavailable, errkind.Of(ask(ended, c)))
	require.NoError(t, ask(t.Context(), c))
	require.Equal(t, errkind.Unavailable, errkind.Of(ask(ended, c)))
}

func TestAnESXiHostHasNoFirstClassDisks(t *testing.T) {
	sim := start(t, control.Options{ESX: true})
	c := connect(t, options(sim))
	require.NoError(t, ask(t.Context(), c))
	_, err := c.VSLM(t.Context())
	require.Equal(t, errkind.Unsupported, errkind.Of(err), "%v", err)
	assert.Contains(t, errkind.Text(err), `disk = "vmdk"`)
}
