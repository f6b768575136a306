package kopia_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/hostsvc/internal/repository/kopia"
	"mooring.dev/mooring/hostsvc/internal/repository/repositorytest"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
)

// packs are the files of packs of a kind: p for blocks, q for indexes.
func packs(t *testing.T, p repository.Place, kind string) (out []string) {
	for _, f := range files(t, p.Location.Path) {
		if strings.HasPrefix(f, kind+"/") && strings.HasSuffix(f, ".f") {
			out = append(out, filepath.Join(p.Location.Path, f))
		}
	}
	require.NotEmpty(t, out)
	return out
}

func remove(t *testing.T, path string) { require.NoError(t, os.Remove(path)) }

func truncate(t *testing.T, path string) {
	fi, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path, fi.Size()/3))
}

func flip(t *testing.T, path string) {
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	for i := 40; i < len(b); i += 50 {
		b[i] ^= 1
	}
	require.NoError(t, os.WriteFile(path, b, 0o600))
}

var faults = map[string]func(*testing.T, string){"removed": remove, "truncated": truncate, "flipped": flip}

// damaged is a repository with one point of img, whose packs of a kind were
// spoilt.
func damaged(t *testing.T, kind string, spoil func(*testing.T, string)) (repository.Repository, *repositorytest.Disk, *repositorytest.Snapshot) {
	s := directory(t, kopia.Options{})
	r, p := s.Create(t, "r-1")
	d := repositorytest.NewDisk(70 << 20)
	require.NoError(t, d.Fill(random(1), 2<<20, 4<<20))
	require.NoError(t, d.Fill(random(2), 66<<20, 2<<20))
	img, _ := d.Snapshot()
	_, err := r.Write(t.Context(), repositorytest.Backup(1, img, "", nil), nil)
	require.NoError(t, err)
	for _, f := range packs(t, p, kind) {
		spoil(t, f)
	}
	return r, d, img
}

func full(t *testing.T, r repository.Repository, n int) repository.Verified {
	v, err := r.Verify(t.Context(), repositorytest.ID(n), repository.Verify{Mode: repository.Full}, nil)
	require.NoError(t, err)
	return v
}

// TestDamageHeals: a verification finds what was spoilt, and the next backup
// of the same content heals it although nothing changed on the disk. The old
// point is whole again.
func TestDamageHeals(t *testing.T) {
	for name, spoil := range faults {
		t.Run(name, func(t *testing.T) {
			r, d, img := damaged(t, "p", spoil)
			v := full(t, r, 1)
			assert.NotZero(t, v.Lost)
			assert.NotEmpty(t, v.Why)
			if name != "flipped" { // then some blocks may have got away
				assert.Subset(t, v.Damaged, []image.Extent{{Offset: 66 << 20, Length: 2 << 20}}, "%v", v.Damaged)
			}
			if name != "flipped" {
				q, err := r.Verify(t.Context(), repositorytest.ID(1), repository.Verify{Mode: repository.Quick}, nil)
				require.NoError(t, err)
				assert.NotEmpty(t, q.Damaged, "seen without reading")
			}
			m, err := r.Open(t.Context(), repositorytest.ID(1))
			require.NoError(t, err)
			_, err = repositorytest.Differ(img, m)
			assert.Equal(t, errkind.Corrupt, errkind.Of(err), "%v", err)
			require.NoError(t, m.Close())

			same, _ := d.Snapshot()
			p, err := r.Write(t.Context(), repositorytest.Backup(2, same, repositorytest.ID(1), []image.Extent{}), nil)
			require.NoError(t, err)
			assert.NotZero(t, p.Stats.Read, "what was lost is read again")
			assert.LessOrEqual(t, p.Stats.Read, int64(6<<20))
			for n := range 2 {
				v = full(t, r, n+1)
				assert.Empty(t, v.Damaged, v.Why)
				repositorytest.Equal(t, r, repositorytest.ID(n+1), img)
			}
			three, err := r.Write(t.Context(), repositorytest.Backup(3, same, repositorytest.ID(2), []image.Extent{}), nil)
			require.NoError(t, err)
			assert.Zero(t, three.Stats.Read, "and not once more")
		})
	}
}

// TestDamageOfIndexes is the same for what is not blocks.
func TestDamageOfIndexes(t *testing.T) {
	for name, spoil := range map[string]func(*testing.T, string){"truncated": truncate, "flipped": flip} {
		t.Run(name, func(t *testing.T) {
			s := directory(t, kopia.Options{})
			r, p := s.Create(t, "r-1")
			d := repositorytest.NewDisk(130 << 20)
			require.NoError(t, d.Fill(random(1), 2<<20, 4<<20))
			img, _ := d.Snapshot()
			_, err := r.Write(t.Context(), repositorytest.Backup(1, img, "", nil), nil)
			require.NoError(t, err)
			// The indexes come before the manifest, in a pack of their own.
			spoil(t, oldest(t, packs(t, p, "q")))
			points, err := r.Points(t.Context())
			require.NoError(t, err)
			require.Len(t, points, 1)
			v := full(t, r, 1)
			assert.NotEmpty(t, v.Damaged)
			same, _ := d.Snapshot()
			_, err = r.Write(t.Context(), repositorytest.Backup(2, same, repositorytest.ID(1), []image.Extent{}), nil)
			require.NoError(t, err)
			assert.Empty(t, full(t, r, 2).Damaged)
			repositorytest.Equal(t, r, repositorytest.ID(2), img)
		})
	}
}

func oldest(t *testing.T, paths []string) string {
	require.NotEmpty(t, paths)
	return slices.MinFunc(paths, func(a, b string) int {
		x, err := os.Stat(a)
		require.NoError(t, err)
		y, err := os.Stat(b)
		require.NoError(t, err)
		return x.ModTime().Compare(y.ModTime())
	})
}

// TestDamageUnseen: without a verification, a backup does not rely on a pack
// that is not there.
func TestDamageUnseen(t *testing.T) {
	for _, parent := range []bool{false, true} {
		r, d, img := damaged(t, "p", remove)
		require.NoError(t, d.Fill(random(9), 3<<20, 10)) // in the segment with the damage
		require.NoError(t, d.Fill(random(9), 67<<20, 10))
		next, changed := d.Snapshot()
		b := repositorytest.Backup(2, next, "", nil)
		if parent {
			b = repositorytest.Backup(2, next, repositorytest.ID(1), changed)
		}
		_, err := r.Write(t.Context(), b, nil)
		require.NoError(t, err)
		assert.Empty(t, full(t, r, 2).Damaged)
		repositorytest.Equal(t, r, repositorytest.ID(2), next)
		_ = img
	}
}

// TestDamageAndMaintenance: while damaged blocks are needed, no maintenance
// removes anything; when the packs come back, everything is as before.
func TestDamageAndMaintenance(t *testing.T) {
	s := directory(t, kopia.Options{})
	r, p := s.Create(t, "r-1")
	d := repositorytest.NewDisk(20 << 20)
	require.NoError(t, d.Fill(random(1), 0, 10<<20))
	img, _ := d.Snapshot()
	_, err := r.Write(t.Context(), repositorytest.Backup(1, img, "", nil), nil)
	require.NoError(t, err)
	away := t.TempDir()
	all := packs(t, p, "p")
	for i, f := range all {
		require.NoError(t, os.Rename(f, filepath.Join(away, string(rune('a'+i)))))
	}
	assert.EqualValues(t, 10<<20, full(t, r, 1).Lost)
	before := files(t, p.Location.Path)
	for range 2 {
		m, err := r.Maintain(t.Context(), true)
		require.NoError(t, err)
		assert.NotZero(t, m.Quarantined)
		assert.NotEmpty(t, m.Note)
	}
	assert.Subset(t, files(t, p.Location.Path), before)
	for i, f := range all {
		require.NoError(t, os.Rename(filepath.Join(away, string(rune('a'+i))), f))
	}
	v := full(t, r, 1)
	assert.Empty(t, v.Damaged, v.Why)
	m, err := r.Maintain(t.Context(), true)
	require.NoError(t, err)
	assert.Zero(t, m.Quarantined)
	repositorytest.Equal(t, r, repositorytest.ID(1), img)
}

// TestCopyOfDamage: a copy of a damaged point fails and is not listed.
func TestCopyOfDamage(t *testing.T) {
	r, _, _ := damaged(t, "p", flip)
	dst, _ := directory(t, kopia.Options{}).Create(t, "r-2")
	_, err := r.Copy(t.Context(), repositorytest.ID(1), dst, repositorytest.ID(2), "", 0, nil)
	assert.Equal(t, errkind.Corrupt, errkind.Of(err), "%v", err)
	points, err := dst.Points(t.Context())
	require.NoError(t, err)
	assert.Empty(t, points)
}
