package kopia_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/hostsvc/internal/repository/kopia"
	"mooring.dev/mooring/hostsvc/internal/repository/repositorytest"
	"mooring.dev/mooring/pkg/errkind"
)

// small is a disk with a little data.
func small(t *testing.T, seed uint64) *repositorytest.Snapshot {
	d := repositorytest.NewDisk(4 << 20)
	require.NoError(t, d.Fill(random(seed), 1<<20, 1<<20))
	img, _ := d.Snapshot()
	return img
}

// TestPlaceGoesAway: the folder is emptied, or another repository appears in
// it, while it is open and after. Nothing is written there, and when it is
// back everything works.
func TestPlaceGoesAway(t *testing.T) {
	ctx := t.Context()
	s := directory(t, kopia.Options{})
	r, p := s.Create(t, "r-1")
	other, q := s.Create(t, "r-2")
	img := small(t, 1)
	_, err := r.Write(ctx, repositorytest.Backup(1, img, "", nil), nil)
	require.NoError(t, err)
	require.NoError(t, other.Close(ctx))
	path, away := p.Location.Path, p.Location.Path+".away"
	require.NoError(t, os.Rename(path, away))

	refused := func(want errkind.Kind) {
		t.Helper()
		_, err := r.Write(ctx, repositorytest.Backup(2, small(t, 2), "", nil), nil)
		assert.Equal(t, want, errkind.Of(err), "%v", err)
		_, err = r.Maintain(ctx, true)
		assert.Equal(t, want, errkind.Of(err), "%v", err)
		_, err = s.Opener.Open(ctx, p, repositorytest.Key, "r-1")
		assert.Equal(t, errkind.Offline, errkind.Of(err), "%v", err)
	}
	refused(errkind.Offline)
	require.NoError(t, os.Mkdir(path, 0o700))
	refused(errkind.Offline)
	assert.Empty(t, files(t, path), "an empty folder stays empty")
	_, err = os.Stat(filepath.Join(path, ".shards"))
	assert.True(t, os.IsNotExist(err))

	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Rename(q.Location.Path, path))
	before := files(t, path)
	refused(errkind.Offline)
	assert.Equal(t, before, files(t, path), "another's repository stays as it is")
	require.NoError(t, os.Rename(path, q.Location.Path))
	require.NoError(t, os.Rename(away, path))

	_, err = r.Write(ctx, repositorytest.Backup(3, img, "", nil), nil)
	require.NoError(t, err)
	repositorytest.Equal(t, s.Open(t, p, "r-1"), repositorytest.ID(1), img)
}

// TestIdentityIsSealed: an identity that was edited, or laid beside another
// repository, opens nothing.
func TestIdentityIsSealed(t *testing.T) {
	ctx := t.Context()
	s := directory(t, kopia.Options{})
	_, p := s.Create(t, "r-1")
	_, q := s.Create(t, "r-2")
	name := "Mooring.identity.f"
	mine, err := os.ReadFile(filepath.Join(p.Location.Path, name))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(q.Location.Path, name), mine, 0o600))
	_, err = s.Opener.Open(ctx, q, repositorytest.Key, "r-1")
	assert.Equal(t, errkind.Offline, errkind.Of(err), "%v", err)

	edited := []byte(string(mine[:len(mine)/2]) + string(mine[len(mine)/2:]))
	for i := range edited {
		if string(edited[i:min(i+5, len(edited))]) == `"r-1"` {
			copy(edited[i:], `"r-9"`)
		}
	}
	require.NoError(t, os.WriteFile(filepath.Join(p.Location.Path, name), edited, 0o600))
	_, err = s.Opener.Open(ctx, p, repositorytest.Key, "r-9")
	assert.Equal(t, errkind.Offline, errkind.Of(err), "%v", err)
	require.NoError(t, os.Remove(filepath.Join(p.Location.Path, name)))
	_, err = s.Opener.Open(ctx, p, repositorytest.Key, "")
	assert.Equal(t, errkind.Offline, errkind.Of(err), "%v", err)
}

// TestCreationThatBrokeOff is finished by the next one with the same key, and
// by nobody else.
func TestCreationThatBrokeOff(t *testing.T) {
	ctx := t.Context()
	s := directory(t, kopia.Options{})
	r, p := s.Create(t, "r-1")
	require.NoError(t, r.Close(ctx))
	require.NoError(t, os.Remove(filepath.Join(p.Location.Path, "Mooring.identity.f")))
	_, err := s.Opener.Create(ctx, p, "another key", repository.Identity{ID: "r-1"})
	assert.Equal(t, errkind.Exists, errkind.Of(err), "%v", err)
	id, err := s.Opener.Create(ctx, p, repositorytest.Key, repository.Identity{ID: "r-1"})
	require.NoError(t, err)
	assert.Equal(t, id, s.Open(t, p, "r-1").Identity())

	taken := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(taken, "letter.txt"), nil, 0o600))
	_, err = s.Opener.Create(ctx, repository.Place{Location: repository.Location{Type: repository.Directory, Path: taken}}, repositorytest.Key, repository.Identity{ID: "r-3"})
	assert.Equal(t, errkind.Exists, errkind.Of(err), "%v", err)
}

// readOnlyPlaces give a repository in a place that can be written, and the
// same place as one that can only be read.
func TestReadOnly(t *testing.T) {
	ctx := t.Context()
	img := small(t, 1)
	check := func(t *testing.T, s repositorytest.Storage, p repository.Place) {
		begun := time.Now()
		r := s.Open(t, p, "r-1")
		assert.Less(t, time.Since(begun), 20*time.Second, "a refusal is not repeated")
		st, err := r.Status(ctx)
		require.NoError(t, err)
		assert.True(t, st.ReadOnly)
		assert.Equal(t, 1, st.Points)
		repositorytest.Equal(t, r, repositorytest.ID(1), img)
		assert.Empty(t, full(t, r, 1).Damaged)
		_, err = r.Write(ctx, repositorytest.Backup(2, img, "", nil), nil)
		assert.Equal(t, errkind.Unavailable, errkind.Of(err), "%v", err)
		assert.ErrorContains(t, err, "read-only")
		assert.Equal(t, errkind.Unavailable, errkind.Of(r.Delete(ctx, repositorytest.ID(1))))
		m, err := r.Maintain(ctx, true)
		require.NoError(t, err)
		assert.False(t, m.Ran)
		points, err := r.Points(ctx)
		require.NoError(t, err)
		assert.Len(t, points, 1)
	}
	fill := func(t *testing.T, s repositorytest.Storage) repository.Place {
		r, p := s.Create(t, "r-1")
		_, err := r.Write(ctx, repositorytest.Backup(1, img, "", nil), nil)
		require.NoError(t, err)
		require.NoError(t, r.Close(ctx))
		return p
	}
	t.Run("directory", func(t *testing.T) {
		s := directory(t, kopia.Options{})
		p := fill(t, s)
		at := t.TempDir()
		require.NoError(t, syscall.Mount(p.Location.Path, at, "", syscall.MS_BIND, ""))
		t.Cleanup(func() { assert.NoError(t, syscall.Unmount(at, 0)) })
		require.NoError(t, syscall.Mount("", at, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
		p.Location.Path = at
		check(t, s, p)
	})
	t.Run("s3", func(t *testing.T) {
		p, dir := s3server(t)
		s := directory(t, kopia.Options{})
		s.Place = func(*testing.T) repository.Place { return p }
		fill(t, s)
		check(t, s, s3gateway(t, filepath.Dir(dir), "--readonly"))
	})
	t.Run("sftp", func(t *testing.T) {
		s := sftp(t, kopia.Options{})
		p := fill(t, s)
		at := t.TempDir()
		require.NoError(t, syscall.Mount(p.Location.Path, at, "", syscall.MS_BIND, ""))
		t.Cleanup(func() { assert.NoError(t, syscall.Unmount(at, 0)) })
		require.NoError(t, syscall.Mount("", at, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
		p.Location.Path = at
		check(t, s, p)
	})
}

// TestFull: a place without room is quota, and nothing is listed.
func TestFull(t *testing.T) {
	ctx := t.Context()
	at := t.TempDir()
	require.NoError(t, syscall.Mount("tmpfs", at, "tmpfs", 0, "size=3m"))
	t.Cleanup(func() { assert.NoError(t, syscall.Unmount(at, 0)) })
	s := directory(t, kopia.Options{})
	s.Place = func(*testing.T) repository.Place {
		return repository.Place{Location: repository.Location{Type: repository.Directory, Path: at}}
	}
	r, p := s.Create(t, "r-1")
	img := small(t, 1)
	_, err := r.Write(ctx, repositorytest.Backup(1, img, "", nil), nil)
	require.NoError(t, err)
	d := repositorytest.NewDisk(10 << 20)
	require.NoError(t, d.Fill(random(2), 0, 10<<20))
	big, _ := d.Snapshot()
	_, err = r.Write(ctx, repositorytest.Backup(2, big, "", nil), nil)
	assert.Equal(t, errkind.Quota, errkind.Of(err), "%v", err)
	points, err := s.Open(t, p, "r-1").Points(ctx)
	require.NoError(t, err)
	assert.Len(t, points, 1)
	for _, f := range files(t, at) {
		assert.NotContains(t, f, ".tmp.", "no half blob stays")
	}
	repositorytest.Equal(t, r, repositorytest.ID(1), img)
}

// TestUnreachable: a server that is not there is said to be so, soon.
func TestUnreachable(t *testing.T) {
	o := opener(t, kopia.Options{})
	host := sftpserver(t).Location.HostKey
	for _, p := range []repository.Place{
		{Location: repository.Location{Type: repository.Directory, Path: filepath.Join(t.TempDir(), "absent")}},
		{Location: repository.Location{Type: repository.SFTP, Host: "127.0.0.1", Port: port(t), User: "root", Path: "/absent", HostKey: host}, Credentials: repository.Credentials{Password: "x"}},
		{Location: repository.Location{Type: repository.S3, Endpoint: "127.0.0.1:1", Bucket: "b", Insecure: true, Region: "us-east-1"}, Credentials: repository.Credentials{AccessKey: "a", SecretKey: "sentinel-secret"}},
	} {
		_, err := o.Open(t.Context(), p, "k", "r-1")
		assert.Contains(t, []errkind.Kind{errkind.Offline, errkind.Unavailable}, errkind.Of(err), "%v", err)
		assert.NotContains(t, err.Error(), "sentinel-secret")
	}
	p := sftpserver(t)
	p.Location.Path = t.TempDir()
	p.Location.HostKey = host // of another server
	_, err := o.Create(t.Context(), p, "k", repository.Identity{ID: "r-1"})
	assert.Error(t, err, "a server with another key is not spoken to")
	p.Location.HostKey = ""
	_, err = o.Create(t.Context(), p, "k", repository.Identity{ID: "r-1"})
	assert.Equal(t, errkind.Invalid, errkind.Of(err), "%v", err)
}
