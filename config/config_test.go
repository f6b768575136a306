package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

func TestSamplesLoadAndRenderBack(t *testing.T) {
	files, err := filepath.Glob("samples/*.toml")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 5)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			c, err := config.Load(file)
			require.NoError(t, err)
			require.NoError(t, c.Validate())
			again, err := config.Parse("rendered", []byte(config.Render(c)))
			require.NoError(t, err, config.Render(c))
			again.Files = c.Files
			for i := range again.VMGroups {
				again.VMGroups[i].File = file
			}
			assert.Equal(t, c, again)
		})
	}
}

// Each invalid sample has a neighbour .want with everything that is said
// about it.
func TestInvalidSamples(t *testing.T) {
	files, err := filepath.Glob("testdata/invalid/*.toml")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 15)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			_, err := config.Load(file)
			require.Error(t, err)
			assert.Equal(t, errkind.Invalid, errkind.Of(err))
			want := strings.TrimSuffix(file, ".toml") + ".want"
			if os.Getenv("UPDATE") != "" {
				require.NoError(t, os.WriteFile(want, []byte(err.Error()+"\n"), 0o644))
			}
			b, rerr := os.ReadFile(want)
			require.NoError(t, rerr)
			assert.Equal(t, string(b), err.Error()+"\n")
		})
	}
}

func TestDefaults(t *testing.T) {
	c, err := config.Parse("x", []byte("run_dir = '/r'\n[[datastore]]\nname='d'\npath='/d'\n[[vm]]\nname='v'\ndatastore='d'\n"))
	require.NoError(t, err)
	assert.Equal(t, "/var/lib/mooring/catalog.db", c.Catalog.Path)
	assert.Equal(t, "/r/admin.sock", c.Admin.Socket)
	assert.Equal(t, "mooring", c.Admin.Group)
	assert.Equal(t, config.VM{Name: "v", Datastore: "d", Dev: "/dev", Socket: "/r/guest/v.sock", SocketMode: 0o600}, c.VMs[0])
	assert.Equal(t, config.Duration(24*time.Hour), c.Volume.TrashKeep)
	assert.True(t, c.DefaultVMGroup)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

func TestDropInsMergeInNameOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "odd [name]*.toml")
	write(t, path, "[log]\nlevel='info'\nformat='json'\n[[datastore]]\nname='a'\npath='/a'\n")
	write(t, path+".d/20.toml", "[log]\nlevel='error'\n")
	write(t, path+".d/10.toml", "[log]\nlevel='debug'\n[[datastore]]\nname='b'\npath='/b'\n[[vmgroup]]\nname='g'\n[[vmgroup.access]]\ndatastore='b'\nvolume_totalsize='1536mb'\n")
	write(t, path+".d/30.conf", "nonsense")
	c, err := config.Load(path)
	require.NoError(t, err)
	assert.Equal(t, config.Log{Level: "error", Format: "json"}, c.Log)
	assert.Equal(t, []string{path, path + ".d/10.toml", path + ".d/20.toml"}, c.Files)
	require.Len(t, c.Datastores, 2)
	assert.Equal(t, "b", c.Datastores[1].Name)
	require.Len(t, c.VMGroups, 1)
	assert.Equal(t, path+".d/10.toml", c.VMGroups[0].File)
	assert.Equal(t, 1536*volspec.MiB, c.VMGroups[0].Access[0].TotalSize)
}

// A problem in a drop-in names the drop-in and its line, with the index of
// the joined list.
func TestProblemsNameTheirFileAndLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.toml")
	write(t, path, "state_dir = 'relative'\n\n[[datastore]]\nname='a'\npath='/a'\n\n[catalog]\ndriver = 'sqlite'\n")
	write(t, path+".d/10.toml", "# more\n[[datastore]]\nname='b'\npath='/a/b'\n\n[[vm]]\nname='v'\ndatastore='nowhere'\ndev = '''\n/x'''\ncolour = 1\n")
	_, err := config.Load(path)
	require.Error(t, err)
	for _, want := range []string{
		path + `:1: state_dir: "relative" is a relative path`,
		path + `.d/10.toml:4: datastore[1].path: /a/b overlaps with /a`,
		path + `.d/10.toml:8: vm[0].datastore: datastore "nowhere" is not declared`,
		path + `.d/10.toml:11: vm[0].colour: unknown key: valid are name, datastore,`,
		"is not valid: 4 problems",
	} {
		assert.Contains(t, err.Error(), want)
	}
	problems, ok := errors.AsType[config.Problems](err)
	require.True(t, ok)
	assert.Len(t, problems, 4)
}

func TestLoadOfWhatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	_, err := config.Load(dir + "/absent.toml")
	assert.Equal(t, errkind.NotFound, errkind.Of(err))
	assert.ErrorContains(t, err, "absent.toml does not exist")
	_, err = config.Load(dir)
	assert.Equal(t, errkind.Unavailable, errkind.Of(err))
	write(t, dir+"/large.toml", strings.Repeat("# filler\n", 1<<17))
	_, err = config.Load(dir + "/large.toml")
	assert.Equal(t, errkind.Invalid, errkind.Of(err))
	assert.ErrorContains(t, err, "larger than 1 MiB")
}

func TestDSN(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dsn")
	c := config.Catalog{Driver: config.Postgres, DSNFile: path}
	_, err := c.DSN()
	assert.Equal(t, errkind.Unavailable, errkind.Of(err))
	write(t, path, " postgres://u:secret@h/d\n")
	_, err = c.DSN()
	assert.Equal(t, errkind.Invalid, errkind.Of(err))
	assert.NotContains(t, err.Error(), "secret")
	require.NoError(t, os.Chmod(path, 0o600))
	dsn, err := c.DSN()
	require.NoError(t, err)
	assert.Equal(t, "postgres://u:secret@h/d", dsn)
	require.NoError(t, os.WriteFile(path, []byte("\n"), 0o600))
	_, err = c.DSN()
	assert.Equal(t, errkind.Invalid, errkind.Of(err))
}

func TestDurationText(t *testing.T) {
	for text, want := range map[string]string{"24h": "24h", "90s": "1m30s", "0s": "0s", "1h30m": "1h30m", "1h0m5s": "1h0m5s", "20s": "20s", "10m": "10m", "48h": "2d", "90d": "90d", "1d": "24h", "49h": "49h", "0d": "0s"} {
		var d config.Duration
		require.NoError(t, d.UnmarshalText([]byte(text)))
		assert.Equal(t, want, d.String())
	}
	var d config.Duration
	for _, bad := range []string{"", "5", "-1s", "1 day", "10y", "d", "+1d", "-1d", "1.5d", "1d2h", "70000d"} {
		assert.Error(t, d.UnmarshalText([]byte(bad)), bad)
	}
}

// Whatever the bytes, Parse neither panics nor hangs, and what it accepts is
// valid and survives being rendered.
func FuzzConfig(f *testing.F) {
	for _, pattern := range []string{"samples/*.toml", "testdata/invalid/*.toml"} {
		files, err := filepath.Glob(pattern)
		require.NoError(f, err)
		for _, file := range files {
			b, err := os.ReadFile(file)
			require.NoError(f, err)
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		c, err := config.Parse("fuzz", doc)
		if err != nil {
			if _, ok := errors.AsType[config.Problems](err); !ok || errkind.Of(err) != errkind.Invalid {
				t.Fatalf("not a list of problems: %v", err)
			}
			return
		}
		if err := c.Validate(); err != nil {
			t.Fatalf("accepted, but %v", err)
		}
		if _, err := config.Parse("rendered", []byte(config.Render(c))); err != nil {
			t.Fatalf("rendered, but %v\n%s", err, config.Render(c))
		}
	})
}
