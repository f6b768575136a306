package kopia

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/blob/sharded"
	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
)

// sftpStorage is a folder on an SFTP server in the layout of kopia's own SFTP
// storage. It differs from that: the server's key is pinned, blobs are synced
// before they get their name where the server can, and the folder is never
// made by opening it.
type sftpStorage struct {
	sharded.Storage
	blob.DefaultProviderImplementation
	remote *remote
}

func newSFTP(ctx context.Context, p repository.Place, dialer *net.Dialer, create bool) (blob.Storage, error) {
	config, err := sshConfig(p)
	if err != nil {
		return nil, err
	}
	l := p.Location
	port := l.Port
	if port == 0 {
		port = 22
	}
	r := &remote{address: net.JoinHostPort(l.Host, strconv.Itoa(port)), config: config, dialer: dialer, root: path.Clean(l.Path)}
	c, err := r.connection(ctx)
	if err != nil {
		return nil, err
	}
	if create {
		err = c.MkdirAll(r.root)
	} else {
		_, err = c.Stat(r.root)
	}
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	return &sftpStorage{Storage: sharded.New(r, r.root, sharded.Options{DirectoryShards: shards}, false), remote: r}, nil
}

func sshConfig(p repository.Place) (*ssh.ClientConfig, error) {
	hostKey, _, _, _, err := ssh.ParseAuthorizedKey([]byte(p.Location.HostKey))
	if err != nil {
		return nil, errkind.New(errkind.Invalid, "the host key of SFTP server %s is missing or not a public key: give it as ssh-keyscan prints it", p.Location.Host)
	}
	var auth []ssh.AuthMethod
	if p.Credentials.PrivateKey != "" {
		signer, err := ssh.ParsePrivateKey([]byte(p.Credentials.PrivateKey))
		if err != nil {
			return nil, errkind.New(errkind.Invalid, "the private key for SFTP server %s cannot be read: it must be in PEM form without a passphrase", p.Location.Host)
		}
		auth = append(auth, ssh.PublicKeys(signer))
	}
	if p.Credentials.Password != "" {
		auth = append(auth, ssh.Password(p.Credentials.Password))
	}
	return &ssh.ClientConfig{
		User: p.Location.User, Auth: auth, Timeout: sshTimeout,
		HostKeyCallback:   ssh.FixedHostKey(hostKey),
		HostKeyAlgorithms: algorithms(hostKey.Type()),
	}, nil
}

// algorithms are those that can prove a key of a type.
func algorithms(keyType string) []string {
	if keyType == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{keyType}
}

// ConnectionInfo says nothing: see config.go.
func (*sftpStorage) ConnectionInfo() blob.ConnectionInfo { return blob.ConnectionInfo{} }

// DisplayName is for people.
func (s *sftpStorage) DisplayName() string { return "sftp " + s.remote.address + s.remote.root }

// Close ends the connection.
func (s *sftpStorage) Close(context.Context) error { return s.remote.close() }

// remote is one connection to a server, made again when it broke.
type remote struct {
	address string
	config  *ssh.ClientConfig
	dialer  *net.Dialer
	root    string

	mu     sync.Mutex // guards the rest
	client *sftp.Client
	ssh    *ssh.Client
}

// sshTimeout bounds the making of a connection.
const sshTimeout = 20 * time.Second

// dial is ssh.Dial with our dialer.
func (r *remote) dial(ctx context.Context) (*ssh.Client, error) {
	raw, err := r.dialer.DialContext(ctx, "tcp", r.address)
	if err != nil {
		return nil, err
	}
	// A server that says nothing must not hold us for ever.
	_ = raw.SetDeadline(time.Now().Add(sshTimeout)) // fails only on a closed connection
	conn, channels, requests, err := ssh.NewClientConn(raw, r.address, r.config)
	if err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	_ = raw.SetDeadline(time.Time{})
	return ssh.NewClient(conn, channels, requests), nil
}

func (r *remote) connection(ctx context.Context) (*sftp.Client, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client != nil {
		return r.client, nil
	}
	conn, err := r.dial(ctx)
	if err != nil {
		if strings.Contains(err.Error(), "unable to authenticate") { // the library has no type for it
			return nil, errkind.Wrap(errkind.Denied, errRefused, "SFTP server %s", r.address)
		}
		return nil, fmt.Errorf("connect to SFTP server %s: %w", r.address, err)
	}
	c, err := sftp.NewClient(conn, sftp.UseConcurrentWrites(true), sftp.UseConcurrentReads(true))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("speak SFTP with %s: %w", r.address, err), conn.Close())
	}
	r.client, r.ssh = c, conn
	return c, nil
}

func (r *remote) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client == nil {
		return nil
	}
	_ = r.client.Close() // a broken connection cannot be closed in order
	_ = r.ssh.Close()
	r.client, r.ssh = nil, nil
	return nil
}

// do uses the connection; one that proves broken is dropped, and the next try
// makes another.
func (r *remote) do(ctx context.Context, f func(c *sftp.Client) error) error {
	c, err := r.connection(ctx)
	if err != nil {
		return err
	}
	err = f(c)
	if errors.Is(err, sftp.ErrSSHFxConnectionLost) || errors.Is(err, sftp.ErrSSHFxNoConnection) || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		r.mu.Lock()
		if r.client == c {
			_, _ = r.client.Close(), r.ssh.Close()
			r.client, r.ssh = nil, nil
		}
		r.mu.Unlock()
		return fmt.Errorf("the connection to SFTP server %s broke: %w", r.address, err)
	}
	return err
}

// GetBlobFromPath reads a blob or a part of it.
func (r *remote) GetBlobFromPath(ctx context.Context, _, name string, offset, length int64, out blob.OutputBuffer) error {
	return r.do(ctx, func(c *sftp.Client) error {
		out.Reset()
		f, err := c.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			return blob.ErrBlobNotFound
		}
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // only read
		if length < 0 {
			_, err := f.WriteTo(out)
			return err
		}
		buf := make([]byte, length)
		if n, err := f.ReadAt(buf, offset); n < len(buf) {
			if err == nil || errors.Is(err, io.EOF) {
				return blob.ErrInvalidRange
			}
			return err
		}
		_, err = out.Write(buf)
		return err
	})
}

// GetMetadataFromPath is length and time of a blob.
func (r *remote) GetMetadataFromPath(ctx context.Context, _, name string) (m blob.Metadata, err error) {
	err = r.do(ctx, func(c *sftp.Client) error {
		fi, err := c.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			return blob.ErrBlobNotFound
		}
		if err == nil {
			m = blob.Metadata{Length: fi.Size(), Timestamp: fi.ModTime()}
		}
		return err
	})
	return m, err
}

// PutBlobInPath writes a blob, whole or not at all.
func (r *remote) PutBlobInPath(ctx context.Context, _, name string, data blob.Bytes, o blob.PutOptions) error {
	if o.HasRetentionOptions() || o.DoNotRecreate {
		return blob.ErrUnsupportedPutBlobOption
	}
	if path.Base(name) == sharded.ParametersFile && !creating(ctx) {
		return errors.New("the place does not say how it is laid out")
	}
	return r.do(ctx, func(c *sftp.Client) error {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails
		temp := name + ".tmp." + hex.EncodeToString(b[:])
		err := r.write(c, temp, data)
		if err == nil {
			err = c.PosixRename(temp, name)
		}
		if err != nil {
			_ = c.Remove(temp)
			return r.explain(c, err)
		}
		if !o.SetModTime.IsZero() {
			if err := c.Chtimes(name, o.SetModTime, o.SetModTime); err != nil {
				return err
			}
		}
		if o.GetModTime != nil {
			fi, err := c.Stat(name)
			if err != nil {
				return err
			}
			*o.GetModTime = fi.ModTime()
		}
		return nil
	})
}

// readOnlyFlag is SSH_FXE_STATVFS_ST_RDONLY.
const readOnlyFlag = 1

// explain finds out what a failure was: SFTP has no words for a filesystem
// that is read-only or full.
func (r *remote) explain(c *sftp.Client, err error) error {
	if se, ok := errors.AsType[*sftp.StatusError](err); !ok || se.FxCode() != sftp.ErrSSHFxFailure {
		return err
	}
	fsys, serr := c.StatVFS(r.root)
	switch {
	case serr != nil:
	case fsys.Flag&readOnlyFlag != 0:
		return errors.Join(syscall.EROFS, err)
	case fsys.Bavail*fsys.Frsize < 32<<20:
		return errors.Join(syscall.ENOSPC, err)
	}
	return err
}

func (r *remote) write(c *sftp.Client, name string, data blob.Bytes) error {
	f, err := c.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY)
	if errors.Is(err, fs.ErrNotExist) {
		if err := r.folders(c, path.Dir(name)); err != nil {
			return err
		}
		f, err = c.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY)
	}
	if err != nil {
		return err
	}
	// One large piece at a time, so that the writes are on their way together.
	rd := data.Reader()
	defer func() { _ = rd.Close() }() // in memory
	if _, err := f.ReadFromWithConcurrency(rd, 16); err != nil {
		return errors.Join(err, f.Close())
	}
	if _, ok := c.HasExtension("fsync@openssh.com"); ok {
		if err := f.Sync(); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return f.Close()
}

// folders makes dir below the root, and never the root.
func (r *remote) folders(c *sftp.Client, dir string) error {
	rest, ok := strings.CutPrefix(dir, r.root+"/")
	if !ok {
		return fmt.Errorf("folder %s: %w", r.root, fs.ErrNotExist)
	}
	at := r.root
	for name := range strings.SplitSeq(rest, "/") {
		at = path.Join(at, name)
		if err := c.Mkdir(at); err != nil {
			if fi, serr := c.Stat(at); serr != nil || !fi.IsDir() {
				return err
			}
		}
	}
	return nil
}

// DeleteBlobInPath removes a blob. Absent: nil.
func (r *remote) DeleteBlobInPath(ctx context.Context, _, name string) error {
	return r.do(ctx, func(c *sftp.Client) error {
		if err := c.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

// ReadDir lists a folder.
func (r *remote) ReadDir(ctx context.Context, dir string) (infos []os.FileInfo, err error) {
	err = r.do(ctx, func(c *sftp.Client) error {
		infos, err = c.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) && dir != r.root {
			infos, err = nil, nil
		}
		return err
	})
	return infos, err
}
