package keyring_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"mooring.dev/mooring/hostsvc/internal/keyring"
	"mooring.dev/mooring/pkg/errkind"
)

func ring(t *testing.T) *keyring.Ring {
	t.Helper()
	r, err := keyring.Create(filepath.Join(t.TempDir(), "master.key"))
	require.NoError(t, err)
	return r
}

func seal(t *testing.T, r *keyring.Ring, plain, context string) string {
	t.Helper()
	s, err := r.Seal([]byte(plain), context)
	require.NoError(t, err)
	return s
}

func TestWhatIsSealedOpensInItsContextOnly(t *testing.T) {
	r := ring(t)
	rapid.Check(t, func(rt *rapid.T) {
		plain := rapid.SliceOf(rapid.Byte()).Draw(rt, "plain")
		context, other := rapid.String().Draw(rt, "context"), rapid.String().Draw(rt, "other")
		sealed, err := r.Seal(plain, context)
		require.NoError(rt, err)
		require.Regexp(rt, `^mk1\.[0-9a-f]{16}\.[A-Za-z0-9_-]+$`, sealed)
		got, err := r.Open(sealed, context)
		require.NoError(rt, err)
		require.Equal(rt, string(plain), string(got))
		if other != context {
			_, err := r.Open(sealed, other)
			require.Equal(rt, errkind.Corrupt, errkind.Of(err))
		}
	})
	assert.NotEqual(t, seal(t, r, "same", "c"), seal(t, r, "same", "c"), "nonces differ")
}

// No single changed, added or missing character opens.
func TestDamageIsNoticed(t *testing.T) {
	r := ring(t)
	sealed := seal(t, r, "Sentinel-4711", "repository")
	check := func(s string) {
		t.Helper()
		got, err := r.Open(s, "repository")
		require.Error(t, err, s)
		require.Nil(t, got)
		require.NotEqual(t, errkind.Internal, errkind.Of(err))
		require.NotContains(t, err.Error(), "Sentinel")
	}
	for i := range sealed {
		for _, c := range []string{"", "A", "B", "0", "f", ".", "\n"} {
			if s := sealed[:i] + c + sealed[i+1:]; s != sealed {
				check(s)
			}
			check(sealed[:i] + c + "x" + sealed[i:])
		}
		check(sealed[:i])
	}
	_, err := r.Open("mk2.0011223344556677.AAAA", "c")
	assert.Equal(t, errkind.Unsupported, errkind.Of(err))
	_, err = r.Open("", "c")
	assert.Equal(t, errkind.Corrupt, errkind.Of(err))
}

func TestRotation(t *testing.T) {
	r := ring(t)
	first := r.Current()
	old := seal(t, r, "secret", "c")
	second, err := r.Rotate()
	require.NoError(t, err)
	assert.Equal(t, []string{second, first}, r.Keys())
	assert.Equal(t, second, r.Current())

	got, err := r.Open(old, "c")
	require.NoError(t, err, "old keys still open")
	assert.Equal(t, "secret", string(got))
	assert.True(t, r.Stale(old))
	fresh := seal(t, r, "secret", "c")
	assert.False(t, r.Stale(fresh))
	assert.True(t, r.Stale("nonsense"))

	again, err := keyring.Open(r.Path())
	require.NoError(t, err)
	assert.Equal(t, r.Keys(), again.Keys(), "rotation is durable")
	_, err = again.Open(fresh, "c")
	require.NoError(t, err)

	err = r.Forget(second)
	assert.Equal(t, errkind.InUse, errkind.Of(err))
	require.NoError(t, r.Forget(first))
	require.NoError(t, r.Forget(first), "repeated")
	_, err = r.Open(old, "c")
	assert.Equal(t, errkind.WrongKey, errkind.Of(err))
	assert.ErrorContains(t, err, "needs master key "+first)
	_, err = r.Open(fresh, "c")
	require.NoError(t, err)
	st, err := os.Stat(r.Path())
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), st.Mode().Perm())
}

// The ring never goes on with a file that was exchanged under it.
func TestAnExchangedFileIsNotOverwritten(t *testing.T) {
	r, other := ring(t), ring(t)
	b, err := os.ReadFile(other.Path())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(r.Path(), b, 0o600))
	before := r.Keys()
	for name, f := range map[string]func() error{
		"rotate": func() error { _, err := r.Rotate(); return err },
		"forget": func() error { return r.Forget("x") },
		"reload": r.Reload,
	} {
		err := f()
		assert.Equal(t, errkind.Corrupt, errkind.Of(err), name)
		assert.ErrorContains(t, err, "lacks master key "+before[0])
	}
	now, err := os.ReadFile(r.Path())
	require.NoError(t, err)
	assert.Equal(t, b, now)
	assert.Equal(t, before, r.Keys())
	require.NoError(t, os.Remove(r.Path()))
	_, err = r.Rotate()
	assert.Equal(t, errkind.NotFound, errkind.Of(err), "a vanished file is not made anew")
}

func TestRotateThatCannotWriteChangesNothing(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"))
	t.Cleanup(func() { _ = unix.Unmount(dir, 0) })
	r, err := keyring.Create(filepath.Join(dir, "master.key"))
	require.NoError(t, err)
	before := r.Keys()
	require.NoError(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	_, err = r.Rotate()
	assert.Equal(t, errkind.Unavailable, errkind.Of(err))
	assert.Equal(t, before, r.Keys())
	require.NoError(t, unix.Mount("", dir, "", unix.MS_REMOUNT, ""))
	_, err = r.Rotate()
	require.NoError(t, err)
	assert.Len(t, r.Keys(), 2)
}

func TestReloadTakesANewKey(t *testing.T) {
	r := ring(t)
	other, err := keyring.Open(r.Path())
	require.NoError(t, err)
	id, err := other.Rotate()
	require.NoError(t, err)
	require.NoError(t, r.Reload())
	assert.Equal(t, id, r.Current())
}

func TestConcurrentUse(t *testing.T) {
	r := ring(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 20 {
				c := fmt.Sprint(i, j)
				s, err := r.Seal([]byte(c), c)
				assert.NoError(t, err)
				if i == 0 {
					_, err := r.Rotate()
					assert.NoError(t, err)
				}
				got, err := r.Open(s, c)
				assert.NoError(t, err)
				assert.Equal(t, c, string(got))
			}
		})
	}
	wg.Wait()
	assert.Len(t, r.Keys(), 21)
}

func TestPasswords(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		p := keyring.NewPassword().Reveal()
		require.Regexp(t, regexp.MustCompile(`^([a-z2-7]{4}-){12}[a-z2-7]{4}$`), p)
		require.False(t, seen[p])
		seen[p] = true
	}
	assert.NotContains(t, fmt.Sprintf("%v %+v %#v %q", keyring.NewPassword(), keyring.NewPassword(), keyring.NewPassword(), keyring.NewPassword()), "-")
}

func FuzzOpenSealed(f *testing.F) {
	r, err := keyring.Create(filepath.Join(f.TempDir(), "k"))
	require.NoError(f, err)
	s, err := r.Seal([]byte("x"), "c")
	require.NoError(f, err)
	f.Add(s)
	f.Add("mk1.0011223344556677.AAAA")
	f.Fuzz(func(t *testing.T, sealed string) {
		if _, err := r.Open(sealed, "c"); err == nil && sealed != s {
			t.Fatalf("%q opened", sealed)
		}
		_ = r.Stale(strings.ToUpper(sealed))
	})
}
