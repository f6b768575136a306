package harness

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// Browser is a Chromium without a window.
type Browser struct {
	lab *Lab
	ctx context.Context //nolint:containedctx // this is how chromedp names a browser
	// Shots is the folder for screenshots.
	Shots string
	axe   string
}

// Browser starts one that trusts the certificate authority in the file ca; it
// ends with the test.
func (l *Lab) Browser(t testing.TB, ca string) *Browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	require.NoError(t, err, "run make setup")
	axe, err := os.ReadFile(filepath.Join(l.Bin.Root, ".cache", "axe", "node_modules", "axe-core", "axe.min.js"))
	require.NoError(t, err, "run make peers")
	shots := filepath.Join(l.Bin.Root, "dist", "screenshots")
	require.NoError(t, os.MkdirAll(shots, 0o755))
	profile, err := os.MkdirTemp(l.Dir, "chromium.")
	require.NoError(t, err)

	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(profile), chromedp.WindowSize(wide, tall),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("ignore-certificate-errors-spki-list", keyHash(t, ca)),
		chromedp.Env(l.env("HOME="+profile)...))
	alloc, stopAlloc := chromedp.NewExecAllocator(lasting(t), options...)
	ctx, stop := chromedp.NewContext(alloc)
	t.Cleanup(func() { stop(); stopAlloc() })
	require.NoError(t, chromedp.Do(ctx), "starting Chromium")
	return &Browser{lab: l, ctx: ctx, Shots: shots, axe: string(axe)}
}

// keyHash names the key of a certificate as Chromium wants it.
func keyHash(t testing.TB, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	block, _ := pem.Decode(b)
	require.NotNil(t, block, "%s has no certificate", file)
	cert, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}
