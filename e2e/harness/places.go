package harness

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

// Place is a server for repositories that lives as long as the test: the flags
// of "mooring repository create" that name it.
type Place struct {
	Flags       []string
	Credentials string // the file that --credentials-file takes
	Dir         string // where the server keeps what it is given
}

// All are the flags with the credentials.
func (p Place) All() []string {
	return append([]string{"--credentials-file=" + p.Credentials}, p.Flags...)
}

// S3 starts an S3 server with an empty bucket.
func (l *Lab) S3(t testing.TB) Place {
	t.Helper()
	dir, port := l.placeDir(t, "s3."), freePort(t)
	bucket := filepath.Join(dir, "data", "backups")
	require.NoError(t, os.MkdirAll(bucket, 0o700))
	at := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	l.serve(t, dir, at, []string{"ROOT_ACCESS_KEY=tester", "ROOT_SECRET_KEY=secretsecret"},
		l.Peer(t, "versitygw"), "--quiet", "--port", at, "posix", filepath.Dir(bucket))
	keys := filepath.Join(dir, "keys")
	require.NoError(t, os.WriteFile(keys, []byte("access_key = tester\nsecret_key = secretsecret\n"), 0o600))
	return Place{
		Flags:       []string{"--type=s3", "--endpoint=" + at, "--bucket=backups", "--region=us-east-1", "--insecure"},
		Credentials: keys, Dir: bucket,
	}
}

// SFTP starts an sshd that lets in one key, as the user of the tests.
func (l *Lab) SFTP(t testing.TB) Place {
	t.Helper()
	require.NoError(t, os.MkdirAll("/run/sshd", 0o755)) // sshd wants it for what it does not do here
	dir, port := l.placeDir(t, "sftp."), freePort(t)
	key := func(name string) (public string) {
		_, k, err := ed25519.GenerateKey(rand.Reader)
		require.NoError(t, err)
		block, err := ssh.MarshalPrivateKey(k, "")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
		p, err := ssh.NewPublicKey(k.Public())
		require.NoError(t, err)
		return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(p)))
	}
	host, user := key("host"), key("user")
	files := map[string]string{
		"authorized": user + "\n",
		"keys":       "private_key_file = " + filepath.Join(dir, "user") + "\n",
		"config": fmt.Sprintf("ListenAddress 127.0.0.1:%d\nHostKey %[2]s/host\nAuthorizedKeysFile %[2]s/authorized\nPidFile none\n"+
			"StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n", port, dir),
	}
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	l.serve(t, dir, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), nil, "/usr/sbin/sshd", "-D", "-e", "-f", filepath.Join(dir, "config"))
	data := filepath.Join(dir, "data")
	return Place{
		Flags:       []string{"--type=sftp", "--host=127.0.0.1", "--port=" + strconv.Itoa(port), "--user=root", "--path=" + data, "--host-key=" + host},
		Credentials: filepath.Join(dir, "keys"), Dir: data,
	}
}

func (l *Lab) placeDir(t testing.TB, pattern string) string {
	t.Helper()
	dir, err := os.MkdirTemp(l.Dir, pattern)
	require.NoError(t, err)
	return dir
}

// freePort is one that nobody listens on at the moment.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(lasting(t), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// serve runs a server until the end of the test; it listens when this returns.
func (l *Lab) serve(t testing.TB, dir, at string, env []string, args ...string) {
	t.Helper()
	p, err := l.start(filepath.Join(dir, "log"), 0, env, args...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.signal(syscall.SIGKILL, 20*time.Second)) })
	err = Eventually(20*time.Second, func() error {
		if !p.alive() {
			return nil
		}
		c, err := new(net.Dialer).DialContext(lasting(t), "tcp", at)
		if err == nil {
			_ = c.Close()
		}
		return err
	})
	require.NoError(t, err)
	require.True(t, p.alive(), "the server lives:\n%s", tail(p.log, 20, nil))
}
