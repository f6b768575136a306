package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"mooring.dev/mooring/pkg/errkind"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// short is a folder whose path leaves room for a socket's name.
func short(t *testing.T) string {
	dir, err := os.MkdirTemp("/tmp", "tr")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	return dir
}

func TestURLs(t *testing.T) {
	for url, want := range map[string]string{
		"unix:///run/mooring/admin.sock": "",
		"unix:///run/a b (c)%20.sock":    "",
		"/run/admin.sock":                "invalid: channel \"/run/admin.sock\" is not valid: write it as a URL such as unix:///run/mooring/admin.sock",
		"":                               "invalid: channel \"\" is not valid: write it as a URL such as unix:///run/mooring/admin.sock",
		"unix://run/admin.sock":          "invalid: socket path \"run/admin.sock\" is not valid: it must be absolute",
		"unix:///a\x00b":                 "invalid: socket path \"/a\\x00b\" is not valid: it contains a NUL",
		"vsock://2:1019":                 "unsupported: channel \"vsock://2:1019\" cannot be used: this build has no vsock channels, only unix:// and tls://",
		"tls://host":                     "invalid: channel \"tls://host\" is not valid: write tls://HOST:PORT",
		"tls://:1020":                    "invalid: channel \"tls://:1020\" is not valid: write tls://HOST:PORT",
		"tls://host:0":                   "invalid: channel \"tls://host:0\" is not valid: write tls://HOST:PORT",
		"tls://host:1020/x":              "invalid: channel \"tls://host:1020/x\" is not valid: write tls://HOST:PORT",
		"http://host":                    "invalid: channel \"http://host\" is not valid: its scheme is \"http\", known are unix, vsock and tls",
	} {
		err := Check(url)
		if want == "" {
			assert.NoError(t, err, url)
			continue
		}
		assert.Equal(t, want, string(errkind.Of(err))+": "+errkind.Text(err))
		_, derr := Dial(t.Context(), url)
		assert.Equal(t, err, derr, "Dial and Check agree on %q", url)
	}
	assert.NoError(t, Check("tls://[::1]:1020"))
	_, err := Dial(t.Context(), "tls://host:1020")
	assert.ErrorContains(t, err, "needs a certificate")
	long := "unix:///" + strings.Repeat("x", 107)
	assert.ErrorContains(t, Check(long), "it has 108 bytes, the system allows 107")
	assert.NoError(t, Check(long[:len(long)-1]))
}

func TestDialKinds(t *testing.T) {
	dir := short(t)
	_, err := Dial(t.Context(), "unix://"+dir+"/absent.sock")
	assert.Equal(t, errkind.Unavailable, errkind.Of(err))
	require.ErrorIs(t, err, syscall.ENOENT)

	require.NoError(t, os.WriteFile(dir+"/file", nil, 0o600))
	_, err = Dial(t.Context(), "unix://"+dir+"/file")
	assert.Equal(t, errkind.Unavailable, errkind.Of(err))

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Dial(ctx, "unix://"+dir+"/absent.sock")
	assert.Equal(t, errkind.Unavailable, errkind.Of(err))
}

func TestListenModeOwnerAndUnlink(t *testing.T) {
	requireRoot(t)
	path := filepath.Join(short(t), "new", "folder", "a b.sock")
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	l, err := ListenUnix(t.Context(), path, 0o660, 1234, 2345)
	require.NoError(t, err)
	st, err := os.Lstat(path)
	require.NoError(t, err)
	assert.Equal(t, os.ModeSocket|0o660, st.Mode())
	assert.Equal(t, uint32(1234), st.Sys().(*syscall.Stat_t).Uid)
	assert.Equal(t, uint32(2345), st.Sys().(*syscall.Stat_t).Gid)

	conn, err := Dial(t.Context(), "unix://"+path)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	require.NoError(t, l.Close())
	assert.NoFileExists(t, path)
	assert.NoError(t, l.Close(), "closing again is no error")
}

func TestListenReplacesOnlyWhatIsStale(t *testing.T) {
	dir := short(t)
	path := dir + "/s.sock"

	// Left behind by a process that was killed.
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	stale.SetUnlinkOnClose(false)
	require.NoError(t, stale.Close())
	require.FileExists(t, path)

	first, err := ListenUnix(t.Context(), path, 0o600, -1, -1)
	require.NoError(t, err)
	_, err = ListenUnix(t.Context(), path, 0o600, -1, -1)
	require.Equal(t, errkind.InUse, errkind.Of(err))
	assert.Equal(t, "cannot listen on "+path+": another process listens there; is a second mooringd running?", errkind.Text(err))
	conn, err := Dial(t.Context(), "unix://"+path)
	require.NoError(t, err, "the refused second listener left the first alone")
	require.NoError(t, conn.Close())

	// A successor's socket is not unlinked by the predecessor.
	require.NoError(t, os.Remove(path))
	second, err := ListenUnix(t.Context(), path, 0o600, -1, -1)
	require.NoError(t, err)
	require.NoError(t, first.Close())
	assert.FileExists(t, path)
	require.NoError(t, second.Close())
	assert.NoFileExists(t, path)

	require.NoError(t, os.WriteFile(path, []byte("precious"), 0o600))
	_, err = ListenUnix(t.Context(), path, 0o600, -1, -1)
	assert.Equal(t, errkind.Exists, errkind.Of(err))
	kept, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "precious", string(kept))
}

// A listener whose queue is full is not stale.
func TestListenSparesABusyListener(t *testing.T) {
	path := short(t) + "/s.sock"
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	defer func() { assert.NoError(t, syscall.Close(fd)) }()
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}))
	require.NoError(t, syscall.Listen(fd, 0))
	waiting, err := net.Dial("unix", path) // fills the queue
	require.NoError(t, err)
	defer func() { assert.NoError(t, waiting.Close()) }()

	_, err = ListenUnix(t.Context(), path, 0o600, -1, -1)
	require.Equal(t, errkind.InUse, errkind.Of(err))
	assert.FileExists(t, path)
}

func TestListenErrors(t *testing.T) {
	_, err := ListenUnix(t.Context(), "relative.sock", 0o600, -1, -1)
	assert.Equal(t, errkind.Invalid, errkind.Of(err))
	dir := short(t)
	require.NoError(t, os.WriteFile(dir+"/file", nil, 0o600))
	_, err = ListenUnix(t.Context(), dir+"/file/x.sock", 0o600, -1, -1)
	assert.Equal(t, errkind.Unavailable, errkind.Of(err))
	assert.ErrorContains(t, err, "listen on "+dir+"/file/x.sock")
}

// wrapped is how a server decorates connections.
type wrapped struct{ net.Conn }

func (w wrapped) NetConn() net.Conn { return w.Conn }

func TestPeerIsTheConnectingProcess(t *testing.T) {
	requireRoot(t)
	path := short(t) + "/s.sock"
	require.NoError(t, os.Chmod(filepath.Dir(path), 0o755))
	l, err := ListenUnix(t.Context(), path, 0o666, -1, -1)
	require.NoError(t, err)
	defer func() { assert.NoError(t, l.Close()) }()

	mine, err := net.Dial("unix", path)
	require.NoError(t, err)
	require.NoError(t, mine.Close()) // what is known of a peer outlives it
	p := accept(t, l)
	assert.Equal(t, []int{0, 0, os.Getpid()}, []int{p.UID, p.GID, p.PID})

	// Another process with other ids and more groups than fit at first.
	var many []uint32
	for g := range uint32(50) {
		many = append(many, 3000+g)
	}
	binary, err := os.ReadFile(os.Args[0])
	require.NoError(t, err)
	helper := filepath.Dir(path) + "/helper" // where that user may read it
	require.NoError(t, os.WriteFile(helper, binary, 0o755))
	cmd := exec.Command(helper, "-test.run=TestHelperDials")
	cmd.Env = append(os.Environ(), "DIAL="+path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1234, Gid: 2345, Groups: many}}
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	p = accept(t, l)
	assert.Equal(t, 1234, p.UID)
	assert.Equal(t, 2345, p.GID)
	assert.Equal(t, cmd.Process.Pid, p.PID)
	assert.Len(t, p.Groups, 50)
	assert.True(t, p.InGroup(2345), "own group")
	assert.True(t, p.InGroup(3049), "supplementary group")
	assert.False(t, p.InGroup(0))
	require.NoError(t, in.Close())
	require.NoError(t, cmd.Wait())
}

// TestHelperDials is the other process: it connects and waits for its input
// to end.
func TestHelperDials(t *testing.T) {
	path := os.Getenv("DIAL")
	if path == "" {
		return
	}
	conn, err := net.Dial("unix", path)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, os.Stdin)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
}

func accept(t *testing.T, l net.Listener) Peer {
	t.Helper()
	require.NoError(t, l.(*unixListener).SetDeadline(time.Now().Add(30*time.Second)))
	conn, err := l.Accept()
	require.NoError(t, err)
	defer func() { assert.NoError(t, conn.Close()) }()
	p, err := PeerOf(wrapped{conn})
	require.NoError(t, err)
	return p
}

func TestPeerOfOtherConnections(t *testing.T) {
	a, b := net.Pipe()
	defer func() { assert.NoError(t, errors.Join(a.Close(), b.Close())) }()
	_, err := PeerOf(a)
	assert.Equal(t, errkind.Unsupported, errkind.Of(err))
}

func requireRoot(t *testing.T) {
	t.Helper()
	require.Zero(t, os.Getuid(), "this test changes owners and must run as root")
}
