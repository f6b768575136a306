package kopia_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/hostsvc/internal/repository/kopia"
	"mooring.dev/mooring/hostsvc/internal/repository/repositorytest"
)

// peer is a program that "make peers" builds.
func peer(t testing.TB, name string) string {
	dir, err := os.Getwd()
	require.NoError(t, err)
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		require.NotEqual(t, "/", dir, "go.mod not found")
	}
	path := filepath.Join(dir, ".cache", "bin", name)
	_, err = os.Stat(path)
	require.NoError(t, err, "%s is missing: run make peers", name)
	return path
}

// port is one that is free on loopback.
func port(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// serve runs a server until the end of the test and waits until it listens.
func serve(t *testing.T, port int, name string, args, env []string) {
	c := exec.Command(name, args...)
	c.Env = append(os.Environ(), env...)
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	c.Stdout, c.Stderr = log, log
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		_ = log.Close()
	})
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, 20*time.Second, 20*time.Millisecond, "%s does not listen", name)
}

// s3server is a real S3 server with a bucket; dir is the folder of the bucket.
func s3server(t *testing.T, args ...string) (p repository.Place, dir string) {
	root := t.TempDir()
	dir = filepath.Join(root, "backups")
	require.NoError(t, os.Mkdir(dir, 0o700))
	return s3gateway(t, root, args...), dir
}

func s3gateway(t *testing.T, root string, args ...string) repository.Place {
	n := port(t)
	args = append([]string{"--quiet", "--port", fmt.Sprintf("127.0.0.1:%d", n)}, args...)
	serve(t, n, peer(t, "versitygw"), append(args, "posix", root), []string{"ROOT_ACCESS_KEY=tester", "ROOT_SECRET_KEY=secretsecret"})
	return repository.Place{
		Location:    repository.Location{Type: repository.S3, Endpoint: fmt.Sprintf("127.0.0.1:%d", n), Bucket: "backups", Region: "us-east-1", Insecure: true},
		Credentials: repository.Credentials{AccessKey: "tester", SecretKey: "secretsecret"},
	}
}

func s3(t *testing.T, o kopia.Options) repositorytest.Storage {
	server, dir := s3server(t)
	var n atomic.Int32
	return repositorytest.Storage{
		Opener: opener(t, o),
		Place: func(*testing.T) repository.Place {
			p := server
			p.Location.Prefix = fmt.Sprintf("tenant-%d", n.Add(1))
			return p
		},
		Blobs: func(t *testing.T, p repository.Place) int {
			at := filepath.Join(dir, p.Location.Prefix)
			if _, err := os.Stat(at); os.IsNotExist(err) {
				return 0
			}
			return len(files(t, at))
		},
	}
}

// sftpserver is a real sshd for root with a key; its places are folders of
// this machine.
func sftpserver(t *testing.T) repository.Place {
	require.NoError(t, os.MkdirAll("/run/sshd", 0o755))
	dir, n := t.TempDir(), port(t)
	_, hostKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	_, userKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	pemOf := func(k ed25519.PrivateKey) []byte {
		b, err := ssh.MarshalPrivateKey(k, "")
		require.NoError(t, err)
		return pem.EncodeToMemory(b)
	}
	public := func(k ed25519.PrivateKey) string {
		p, err := ssh.NewPublicKey(k.Public())
		require.NoError(t, err)
		return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(p)))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "host"), pemOf(hostKey), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "keys"), []byte(public(userKey)+"\n"), 0o600))
	config := fmt.Sprintf("ListenAddress 127.0.0.1:%d\nHostKey %[2]s/host\nAuthorizedKeysFile %[2]s/keys\nPidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n", n, dir)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config"), []byte(config), 0o600))
	serve(t, n, "/usr/sbin/sshd", []string{"-D", "-e", "-f", filepath.Join(dir, "config")}, nil)
	return repository.Place{
		Location:    repository.Location{Type: repository.SFTP, Host: "127.0.0.1", Port: n, User: "root", HostKey: public(hostKey)},
		Credentials: repository.Credentials{PrivateKey: string(pemOf(userKey))},
	}
}

func sftp(t *testing.T, o kopia.Options) repositorytest.Storage {
	server := sftpserver(t)
	return repositorytest.Storage{
		Opener: opener(t, o),
		Place: func(t *testing.T) repository.Place {
			p := server
			p.Location.Path = t.TempDir()
			return p
		},
		Blobs: func(t *testing.T, p repository.Place) int { return len(files(t, p.Location.Path)) },
	}
}

func TestS3(t *testing.T) { repositorytest.Run(t, s3(t, kopia.Options{})) }

func TestSFTP(t *testing.T) { repositorytest.Run(t, sftp(t, kopia.Options{})) }

// standard runs the standard kopia program on a repository that it connects
// to, with a home of its own.
type standard struct {
	t    *testing.T
	home string
}

func connect(t *testing.T, p repository.Place, key string) standard {
	s := standard{t: t, home: t.TempDir()}
	l := p.Location
	args := []string{"repository", "connect"}
	switch l.Type {
	case repository.Directory:
		args = append(args, "filesystem", "--path", l.Path)
	case repository.S3:
		args = append(args, "s3", "--bucket", l.Bucket, "--endpoint", l.Endpoint, "--prefix", l.Prefix+"/", "--disable-tls", "--region", l.Region,
			"--access-key", p.Credentials.AccessKey, "--secret-access-key", p.Credentials.SecretKey)
	case repository.SFTP:
		file := filepath.Join(s.home, "key")
		require.NoError(t, os.WriteFile(file, []byte(p.Credentials.PrivateKey), 0o600))
		known := fmt.Sprintf("[%s]:%d %s", l.Host, l.Port, l.HostKey)
		args = append(args, "sftp", "--path", l.Path, "--host", l.Host, "--port", strconv.Itoa(l.Port), "--username", l.User,
			"--keyfile", file, "--known-hosts-data", known)
	}
	s.run(append(args, "--password", key)...)
	return s
}

func (s standard) run(args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, peer(s.t, "kopia"), args...)
	c.Env = append(os.Environ(), "HOME="+s.home, "KOPIA_CONFIG_PATH="+filepath.Join(s.home, "config"), "KOPIA_CHECK_FOR_UPDATES=false",
		"KOPIA_CACHE_DIRECTORY="+filepath.Join(s.home, "cache"), "KOPIA_LOG_DIR="+filepath.Join(s.home, "logs"))
	b, err := c.CombinedOutput()
	require.NoError(s.t, err, "kopia %s\n%s", args[0], b)
	return string(b)
}

// TestStandardKopia: what we store, the standard program lists, verifies and
// restores without us, from every kind of place.
func TestStandardKopia(t *testing.T) {
	for name, storage := range map[string]repositorytest.Storage{
		"directory": directory(t, kopia.Options{}), "s3": s3(t, kopia.Options{}), "sftp": sftp(t, kopia.Options{}),
	} {
		t.Run(name, func(t *testing.T) {
			r, p := storage.Create(t, "r-1")
			d := repositorytest.NewDisk(150<<20 + 512)
			require.NoError(t, d.Fill(random(1), 3<<20, 5<<20))
			require.NoError(t, d.Fill(random(2), 150<<20, 512))
			first, _ := d.Snapshot()
			_, err := r.Write(t.Context(), repositorytest.Backup(1, first, "", nil), nil)
			require.NoError(t, err)
			require.NoError(t, d.Fill(random(3), 100<<20, 100))
			second, changed := d.Snapshot()
			_, err = r.Write(t.Context(), repositorytest.Backup(2, second, repositorytest.ID(1), changed), nil)
			require.NoError(t, err)

			k := connect(t, p, repositorytest.Key)
			list := k.run("snapshot", "list", "--all", "--json")
			require.Contains(t, list, string(repositorytest.ID(1)))
			require.Contains(t, list, string(repositorytest.ID(2)))
			k.run("snapshot", "verify", "--verify-files-percent=100")
			for n, want := range []*repositorytest.Snapshot{first, second} {
				out := filepath.Join(k.home, "out"+strconv.Itoa(n))
				k.run("snapshot", "restore", snapshotOf(t, list, string(repositorytest.ID(n+1))), out)
				sameFile(t, want, filepath.Join(out, "disk.img"))
				text, err := os.ReadFile(filepath.Join(out, "point.json"))
				require.NoError(t, err)
				require.Contains(t, string(text), string(repositorytest.ID(n+1)))
			}
			k.run("maintenance", "info")
		})
	}
}
