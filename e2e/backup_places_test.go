package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
	"mooring.dev/mooring/pkg/wire"
)

const (
	fillTree  = "mkdir -p /vol/a/b; cp /bin/busybox /vol/a/b/f; ln -s b/f /vol/a/l; chown 7:8 /vol/a/b/f; md5sum /vol/a/b/f >/vol/sum"
	checkTree = `md5sum -c /vol/sum; cmp /vol/a/b/f /bin/busybox; test "$(readlink /vol/a/l)" = b/f; stat -c %u:%g /vol/a/b/f | grep -qx 7:8`
)

// Repositories on an S3 server, on an SFTP server and in a folder: all by the
// command line. A second, empty installation has what they hold with their
// kits alone, and the standard kopia restores the same bytes.
func TestBackupPlaces(t *testing.T) {
	localOnly(t, "the service of others is on the guests' network, where the servers of these places are not")
	both := plains(t, "p1", "p2")
	s3, sftp := lab.S3(t), lab.SFTP(t)
	v := newVault(t, "places", nil, both[:1], lab.Bin, nil)
	g := v.guests[0]
	create(t, g.Guest, "db", "size=64mb")
	sh(t, g.Guest, "db", fillTree).OK(t)
	v.detached(t, "db")
	kits := map[string]string{"main": filepath.Join(t.TempDir(), "main.kit")}
	for name, place := range map[string]harness.Place{"s3": s3, "sftp": sftp} {
		v.Mooring(t.Context(), append([]string{"repository", "create", team + "/" + name}, place.All()...)...).OK(t)
		kits[name] = filepath.Join(t.TempDir(), name+".kit")
	}
	points := map[string]wire.Point{}
	for name, kit := range kits {
		for range 2 { // the second one is an increment
			id := v.Mooring(t.Context(), "backup", "run", team+"/db", "--repository="+name, "-o", "name").OK(t).Stdout
			p, err := v.admin.Point(t.Context(), team, filepath.Base(id))
			require.NoError(t, err)
			require.Equal(t, name, p.Repository)
			points[name] = p
		}
		require.Contains(t, points[name].Tracking, "changed extents")
		restoring(t, g, string(points[name].ID), "copy", func() { sh(t, g.Guest, "copy", checkTree).OK(t) })
		v.Mooring(t.Context(), "repository", "check", team+"/"+name).OK(t)
		args := []string{"repository", "kit", team + "/" + name, "--out=" + kit}
		if name == "sftp" {
			args = append(args, "--with-credentials")
		}
		v.Mooring(t.Context(), args...).OK(t)
	}
	for _, dir := range []string{s3.Dir, sftp.Dir, v.place} {
		require.NotEmpty(t, blobsIn(t, dir))
	}
	v.byStandardKopia(t, points["main"])
	v.settled(t)

	// The second installation knows nothing but the kits, and the keys of the
	// S3 server, which were not put into its kit.
	w := newRig(t, "places-second", lab.Folder(t, own("places-second")), both[1:], lab.Bin, nil)
	h := w.guests[0]
	for name, kit := range kits {
		args := []string{"repository", "attach", team + "/found-" + name, "--kit=" + kit}
		if name == "s3" {
			w.Mooring(t.Context(), args...).Fails(t, "needs an access key and a secret key")
			args = append(args, "--credentials-file="+s3.Credentials)
		}
		w.Mooring(t.Context(), args...).OK(t)
		require.Contains(t, w.Mooring(t.Context(), "backup", "ls", team, "--repository=found-"+name, "-o", "json").OK(t).Stdout, string(points[name].ID))
		restoring(t, h, string(points[name].ID), "db", func() { sh(t, h.Guest, "db", checkTree).OK(t) })
	}
	w.Mooring(t.Context(), "backup", "restore", team+"/db@latest", "--name=db2", "-o", "name").OK(t)
	sh(t, h.Guest, "db2", checkTree).OK(t)
}

// byStandardKopia restores a point of the repository "main" with the standard
// kopia and compares it with our own export, byte by byte.
func (v *vault) byStandardKopia(t *testing.T, p wire.Point) {
	t.Helper()
	k := v.standard(t, team, "main", v.place)
	var all []struct {
		ID   string            `json:"id"`
		Tags map[string]string `json:"tags"`
		Root struct {
			Object string `json:"obj"`
		} `json:"rootEntry"`
	}
	text := k.run(t, "snapshot", "list", "--all", "--json").OK(t).Stdout
	require.NoError(t, json.Unmarshal([]byte(text), &all), "%s", text)
	require.Len(t, all, len(v.points(t, "db"))-4, "those of the other two repositories are not here")
	for _, s := range all {
		out := filepath.Join(t.TempDir(), "out")
		k.run(t, "restore", "--write-sparse-files", s.Root.Object, out).OK(t)
		about, err := os.ReadFile(filepath.Join(out, "point.json"))
		require.NoError(t, err)
		if !strings.Contains(string(about), string(p.ID)) {
			continue
		}
		lab.Run(t, "cmp", v.export(t, string(p.ID)), filepath.Join(out, "disk.img")).OK(t)
		sound(t, "ext4", filepath.Join(out, "disk.img"))
		return
	}
	t.Fatalf("kopia does not list point %s: %s", p.ID, text)
}
