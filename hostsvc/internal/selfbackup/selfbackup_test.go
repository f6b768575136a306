package selfbackup_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/backup/kit"
	"mooring.dev/mooring/hostsvc/internal/keyring"
	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/hostsvc/internal/repository/kopia"
	"mooring.dev/mooring/hostsvc/internal/selfbackup"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// world is a service on real repositories in folders. Its catalog is a map, and
// dumps as one text.
type world struct {
	dir      string
	settings map[string]string
	audited  []string
	alarm    string // that stands
	text     string // of the catalog
	broken   error  // of its dump
	o        selfbackup.Options
	mu       sync.Mutex
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), settings: map[string]string{}, text: "{\"schema\":7}\n[\"tenants\"]\n"}
	ring, err := keyring.Create(filepath.Join(w.dir, "master.key"))
	require.NoError(t, err)
	w.o = selfbackup.Options{
		Store: w, Catalog: w, Keyring: ring, Alarm: w, Opener: kopia.New(kopia.Options{Dir: filepath.Join(w.dir, "cache"), Owner: "one"}),
		Every: 24 * time.Hour, Keep: 2, Scratch: filepath.Join(w.dir, "scratch"), Build: "v1",
		Files: func() ([]selfbackup.File, error) {
			return []selfbackup.File{{Name: "master.key", Text: []byte("the key")}}, nil
		},
	}
	w.at("copies")
	return w
}

// at is where copies go from now on.
func (w *world) at(name string) {
	path := filepath.Join(w.dir, name)
	w.o.Place, w.o.Address = repository.Place{Location: repository.Location{Type: repository.Directory, Path: path}}, "directory "+path
}

func (w *world) View(ctx context.Context, fn func(selfbackup.Tx) error) error {
	return w.Update(ctx, fn)
}

func (w *world) Update(_ context.Context, fn func(selfbackup.Tx) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return fn(w)
}

func (w *world) Setting(key string) (string, error) { return w.settings[key], nil }

func (w *world) PutSetting(key, value string) error {
	w.settings[key] = value
	return nil
}

func (w *world) AddAudit(a volspec.Audit) error {
	w.audited = append(w.audited, a.Action+" "+a.Outcome)
	return nil
}

func (w *world) Dump(_ context.Context, to io.Writer) (int64, error) {
	_, err := io.WriteString(to, w.text)
	return 2, errors.Join(err, w.broken)
}

func (w *world) Raise(_ context.Context, sentence string) error {
	w.alarm = sentence
	return nil
}

func (w *world) Clear(context.Context, string) error {
	w.alarm = ""
	return nil
}

func (w *world) turn(t *testing.T) error {
	t.Helper()
	return selfbackup.New(w.o).Turn(t.Context(), true)
}

// copies is how many there are.
func (w *world) copies(t *testing.T) int {
	t.Helper()
	s, err := selfbackup.New(w.o).Show(t.Context())
	require.NoError(t, err)
	require.Empty(t, s.Error)
	return len(s.Copies)
}

// fetch takes the newest copy by the kit.
func (w *world) fetch(t *testing.T, change func(*kit.Kit)) (selfbackup.Copy, error) {
	t.Helper()
	text, err := selfbackup.New(w.o).Kit(t.Context(), volspec.Caller{Admin: true, Actor: "admin:0"})
	require.NoError(t, err)
	k, err := kit.Parse(text.Text)
	require.NoError(t, err)
	if change != nil {
		change(&k)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "copy"))
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	elsewhere := kopia.New(kopia.Options{Dir: t.TempDir(), Owner: "two"})
	return selfbackup.Fetch(t.Context(), elsewhere, repository.Place{Location: k.Location, Credentials: k.Credentials}, k.Key, k.Repository, "", f)
}

func TestACopyComesBackByTheKit(t *testing.T) {
	w := newWorld(t)
	_, err := selfbackup.New(w.o).Kit(t.Context(), volspec.Caller{})
	assert.Equal(t, errkind.Unavailable, errkind.Of(err), "it would open nothing yet")
	require.NoError(t, w.turn(t))
	w.text += "[\"more\"]\n"
	require.NoError(t, w.turn(t))
	c, err := w.fetch(t, nil)
	require.NoError(t, err)
	b, err := io.ReadAll(c.Catalog())
	require.NoError(t, err)
	assert.Equal(t, w.text, string(b), "the newest")
	assert.Equal(t, []selfbackup.File{{Name: "master.key", Text: []byte("the key")}}, c.Files)
	assert.Contains(t, w.audited, "self-backup kit ok")
	assert.NotContains(t, fmt.Sprint(w.settings), "-----", "the key is sealed")
	left, err := os.ReadDir(w.o.Scratch)
	require.NoError(t, err)
	assert.Empty(t, left, "no copy in the clear stays behind")

	_, err = w.fetch(t, func(k *kit.Kit) { k.Key = keyring.NewPassword().Reveal() })
	assert.Equal(t, errkind.WrongKey, errkind.Of(err))
	_, err = w.fetch(t, func(k *kit.Kit) { k.Location.Path = w.dir })
	assert.Equal(t, errkind.Offline, errkind.Of(err))
	// What lies in the repository is damaged.
	require.NoError(t, filepath.WalkDir(w.o.Place.Location.Path, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasPrefix(filepath.Base(path), "p") && !strings.Contains(path, "/p/") {
			return err
		}
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		for i := 0; i < len(b); i += 16 {
			b[i] ^= 1
		}
		return os.WriteFile(path, b, 0o600)
	}))
	_, err = w.fetch(t, nil)
	assert.Equal(t, errkind.Corrupt, errkind.Of(err))
}

// Killed at each point, the next attempt goes on in the same repository, and
// nothing is listed that is not whole.
func TestCopyingKilledAtEveryPoint(t *testing.T) {
	w := newWorld(t)
	w.o.Keep = 100
	whole := 0
	for _, point := range []string{"selfbackup.intended", "selfbackup.created", "selfbackup.copied", "selfbackup.written", "selfbackup.retained"} {
		crashpoint.Set(func(p string) {
			if p == point {
				panic(point)
			}
		})
		assert.PanicsWithValue(t, point, func() { _ = w.turn(t) })
		crashpoint.Set(nil)
		if point == "selfbackup.written" || point == "selfbackup.retained" {
			whole++
		}
	}
	require.NoError(t, w.turn(t))
	assert.Equal(t, whole+1, w.copies(t))
	_, err := w.fetch(t, nil)
	require.NoError(t, err)
}

func TestAFailureIsAnAlarmAndNoCopy(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.turn(t))
	w.broken = errkind.New(errkind.Unavailable, "the catalog does not answer")
	err := w.turn(t)
	assert.Equal(t, errkind.Unavailable, errkind.Of(err))
	assert.Equal(t, "the catalog is not backed up: the catalog does not answer", w.alarm)
	s, err := selfbackup.New(w.o).Show(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "the catalog does not answer", s.Error)
	assert.Len(t, s.Copies, 1)
	assert.WithinDuration(t, time.Now().Add(24*time.Hour), s.Next, time.Hour)
	w.broken = nil
	require.NoError(t, selfbackup.New(w.o).Turn(t.Context(), false), "it is not due")
	assert.NotEmpty(t, w.alarm)
	w.o.Every = time.Nanosecond
	require.NoError(t, selfbackup.New(w.o).Turn(t.Context(), false), "nor again so soon after it failed")
	assert.NotEmpty(t, w.alarm)
	require.NoError(t, w.turn(t))
	assert.Empty(t, w.alarm)
	require.NoError(t, w.turn(t))
	assert.Equal(t, 2, w.copies(t), "only as many as are kept")
}

// The copies may move with their folder, or begin anew in an empty one; what
// else lies somewhere is left alone.
func TestThePlaceMayChange(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.turn(t))
	_, err := w.fetch(t, nil)
	require.NoError(t, err)
	require.NoError(t, os.Rename(filepath.Join(w.dir, "copies"), filepath.Join(w.dir, "moved")))
	require.Equal(t, errkind.Offline, errkind.Of(w.turn(t)), "its place is away")
	assert.NoDirExists(t, filepath.Join(w.dir, "copies"), "and is not made anew")
	w.at("moved")
	require.NoError(t, w.turn(t))
	assert.Equal(t, 2, w.copies(t))
	s, err := selfbackup.New(w.o).Show(t.Context())
	require.NoError(t, err)
	assert.Zero(t, s.Kit, "the kit that was exported leads elsewhere")
	w.at("new")
	require.NoError(t, w.turn(t))
	assert.Equal(t, 1, w.copies(t))

	require.NoError(t, os.Mkdir(filepath.Join(w.dir, "full"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(w.dir, "full", "x"), nil, 0o600))
	w.at("full")
	assert.Equal(t, errkind.Exists, errkind.Of(w.turn(t)))
	left, err := os.ReadDir(filepath.Join(w.dir, "full"))
	require.NoError(t, err)
	assert.Len(t, left, 1)
}

func TestRunMakesACopyAtOnceAndWhenAsked(t *testing.T) {
	w := newWorld(t)
	s := selfbackup.New(w.o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	out, err := s.Now(t.Context(), volspec.Caller{Admin: true})
	require.NoError(t, err)
	assert.NotEmpty(t, out.Copies)
	assert.Contains(t, w.audited, "self-backup now ok")
	cancel()
	require.NoError(t, <-done)

	w.o.Place = repository.Place{}
	_, err = selfbackup.New(w.o).Now(t.Context(), volspec.Caller{})
	assert.Equal(t, errkind.Unsupported, errkind.Of(err))
	off, err := selfbackup.New(w.o).Show(t.Context())
	require.NoError(t, err)
	assert.False(t, off.Configured)
}
