package e2e

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
)

// What another vmgroup backs up cannot be restored, viewed, listed or read,
// neither through Docker nor with the key of one's own repository; and equal
// data are nowhere stored as equal blocks.
func TestBackupTenants(t *testing.T) {
	both := plains(t, "p1", "p2")
	v := newVault(t, "tenants", nil, both, lab.Bin, nil)
	h := both[1]
	v.secede(t, h)
	place := folder(t, "tenants-others")
	v.Mooring(t.Context(), "repository", "create", others+"/main", "--type=directory", "--path="+place).OK(t)
	for _, p := range both {
		create(t, p.Guest, "db", "size=64mb")
		sh(t, p.Guest, "db", "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do cat /bin/busybox; done >/vol/f").OK(t)
	}
	own := v.backup(t, "db")[0]
	v.Mooring(t.Context(), "backup", "run", others+"/db").OK(t)

	// Docker: the words are those for a point that there never was.
	for _, option := range []string{"restore-from", "view-of"} {
		foreign := tryCreate(t, h.Guest, "probe", option+"="+string(own.ID)).Fails(t, "not found")
		absent := tryCreate(t, h.Guest, "probe", option+"="+string(noPoint)).Fails(t, "not found")
		require.Equal(t, masked(absent.Stderr, string(noPoint)), masked(foreign.Stderr, string(own.ID)))
	}
	require.Equal(t, []string{"db@" + v.ds.Name}, listed(t, h.Guest))

	// The command line, per vmgroup.
	id := string(own.ID)
	require.Contains(t, v.Mooring(t.Context(), "backup", "ls", team, "-o", "name").OK(t).Stdout, id)
	require.NotContains(t, v.Mooring(t.Context(), "backup", "ls", others, "-o", "json").OK(t).Stdout, id)
	require.NotContains(t, v.Mooring(t.Context(), "repository", "ls", others, "-o", "json").OK(t).Stdout, v.place)
	require.NotContains(t, v.Mooring(t.Context(), "job", "ls", others, "-o", "json").OK(t).Stdout, id)
	for _, verb := range [][]string{{"inspect"}, {"verify"}, {"drill"}, {"restore"}, {"files"}, {"hold"}, {"rm", "--yes"}, {"export", "--out=-"}} {
		said := func(point string) string {
			args := append([]string{"backup"}, verb...)
			return masked(v.Mooring(t.Context(), append(args, others+"/"+point)...).Fails(t, "not found").Stderr, point)
		}
		require.Equal(t, said(string(noPoint)), said(id), "backup %s", verb[0])
	}

	// The places.
	k := v.standard(t, team, "main", v.place)
	l := v.standard(t, others, "main", place)
	mine, theirs := k.contents(t), l.contents(t)
	require.NotEmpty(t, mine)
	for c := range mine {
		require.NotContains(t, theirs, c, "a block of both repositories")
	}
	blobs := blobsIn(t, v.place)
	for b := range blobsIn(t, place) {
		require.NotContains(t, blobs, b, "a file of both repositories")
	}
	l.connect(t, v.place, l.key).Fails(t, "password")
	k.connect(t, place, k.key).Fails(t, "password")
}

// kopia is the standard program with a home of its own.
type kopia struct {
	home, key, place string
	env              []string
}

// standard connects the standard kopia to a folder with the key in the
// repository's kit, as the kit says.
func (v *vault) standard(t *testing.T, group, repo, place string) *kopia {
	t.Helper()
	kit := v.Mooring(t.Context(), "repository", "kit", group+"/"+repo).OK(t).Stdout
	found := regexp.MustCompile(`(?m)^key: (\S+)$`).FindStringSubmatch(kit)
	require.NotNil(t, found, "the kit has the key")
	home := t.TempDir()
	k := &kopia{home: home, key: found[1], place: place, env: []string{
		"HOME=" + home, "KOPIA_CONFIG_PATH=" + home + "/config", "KOPIA_CACHE_DIRECTORY=" + home + "/cache",
		"KOPIA_LOG_DIR=" + home + "/logs", "KOPIA_CHECK_FOR_UPDATES=false",
	}}
	k.connect(t, place, k.key).OK(t)
	return k
}

// connect opens a folder with a password.
func (k *kopia) connect(t *testing.T, place, key string) harness.Result {
	t.Helper()
	other := *k
	if place != k.place {
		other.env = append(slices.Clone(k.env), "KOPIA_CONFIG_PATH="+k.home+"/other", "KOPIA_CACHE_DIRECTORY="+k.home+"/other-cache")
	}
	return other.run(t, "repository", "connect", "filesystem", "--path="+place, "--readonly", "--password="+key)
}

func (k *kopia) run(t *testing.T, args ...string) harness.Result {
	t.Helper()
	return lab.Run(t, append(append([]string{"env"}, k.env...), append([]string{lab.Peer(t, "kopia")}, args...)...)...)
}

// contents are the names of all blocks.
func (k *kopia) contents(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, line := range k.run(t, "content", "list").OK(t).Lines() {
		if f := strings.Fields(line); len(f) > 0 {
			all[f[0]] = true
		}
	}
	return all
}

// blobsIn are the names of the files of a repository without those that every
// repository has.
func blobsIn(t *testing.T, place string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	require.NoError(t, filepath.WalkDir(place, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(place, path)
		switch {
		case err != nil || d.IsDir():
		case strings.HasPrefix(name, "kopia.") || strings.HasPrefix(name, "Mooring.") || name == ".shards":
		default:
			all[name] = true
		}
		return err
	}))
	require.NotEmpty(t, all)
	return all
}
