package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring.dev/mooring/e2e/harness"
	"mooring.dev/mooring/pkg/volspec"
)

// formatting is a rig in which the disk that the guest finds can be exchanged
// between two steps of the plugin.
type formatting struct {
	*rig
	g    *plain
	host *relay
}

const diskSize = 16 << 20

// The steps after which a disk is exchanged: the service has attached it, or
// has granted that it is formatted.
const (
	attached = "attached"
	granted  = "granted"
)

// fake is a disk that is not the volume's own.
type fake struct {
	name string
	size int64
	fill func(f *os.File) error
	cut  int64 // reads behind this byte fail; 0 with broken: all do
	bad  bool  // reads fail
}

var precious = bytes.Repeat([]byte("precious "), 100)

func dataAt(at int64) func(*os.File) error {
	return func(f *os.File) error {
		_, err := f.WriteAt(precious, at)
		return err
	}
}

// unreadable disks may be all right in a moment; wrong ones never are.
var (
	unreadable = []fake{
		{name: "nothing but errors", size: diskSize, bad: true},
		{name: "a short read at the start", size: diskSize, cut: 512 << 10, bad: true},
		{name: "errors at the end", size: diskSize, cut: diskSize - 512<<10, bad: true},
	}
	wrongSize = []fake{{name: "half the size", size: diskSize / 2}, {name: "twice the size", size: 2 * diskSize}}
	withData  = []fake{
		{name: "data at the start", size: diskSize, fill: dataAt(0)},
		{name: "data behind the first sectors", size: diskSize, fill: dataAt(700 << 10)},
		{name: "data at the end", size: diskSize, fill: dataAt(diskSize - int64(len(precious)))},
	}
	zeros = fake{name: "zeros", size: diskSize}
)

// A disk is formatted once, when it is known to be new and reads as such. At
// no step, with whatever the disk answers, is anything formatted that could
// hold data, and no image changes that does.
func TestNeverFormattedTwice(t *testing.T) {
	all := plains(t, "p1")
	f := &formatting{g: all[0]}
	f.g.throughRelay(t)
	f.g.settings = append(f.g.settings, "MOORING_RECONCILE=10m") // no container stands behind the uses
	var change func(*harness.Config)
	f.host, change = hostRelay(t, f.g.Guest)
	f.rig = newRig(t, "format", lab.Folder(t, own("format")), all, lab.Bin, func(c *harness.Config) {
		change(c)
		c.Volume.AttachWait = "1s"
	})

	t.Run("a new disk", f.newDisk)
	t.Run("a disk that should be new but has data", f.notNew)
	t.Run("a disk with data that answers otherwise", f.lying)
	t.Run("a formatted disk that is not what it was", f.formatted)
	t.Run("an image that is damaged, and repaired", f.damaged)
	t.Run("a volume created again", f.createdAgain)
	t.Run("a plugin killed while mkfs runs", f.orphaned)
}

// A blank volume and a disk that is not blank, at both steps.
func (f *formatting) newDisk(t *testing.T) {
	n := 0
	for _, step := range []string{attached, granted} {
		for _, d := range append(append(append([]fake{}, unreadable...), wrongSize...), withData...) {
			if step == granted && d.size != diskSize {
				continue // its size was compared before
			}
			n++
			name := fmt.Sprint("new", n)
			what := step + ": " + d.name
			f.create(t, name)
			before := sum(t, f.image(t, name))
			f.refused(t, name, map[string]fake{step: d}, what)
			require.Equal(t, before, sum(t, f.image(t, name)), what)
			if step == granted && d.fill != nil {
				// Data appeared on a disk that was to be formatted: for people to look at.
				require.NotEmpty(t, f.mount(t, name), what)
				require.Equal(t, before, sum(t, f.image(t, name)), what)
				continue
			}
			f.works(t, name, what)
		}
	}
}

// The catalog says blank, the image has data: it was put there by hand.
func (f *formatting) notNew(t *testing.T) {
	for i, at := range []int64{0, 1024, 700 << 10, diskSize - int64(len(precious))} {
		name := fmt.Sprint("notnew", i)
		f.create(t, name)
		before := f.precious(t, name, at)
		f.refused(t, name, nil, "has data")
		f.g.restart(t)
		f.refused(t, name, nil, "after a restart of the plugin")
		require.Equal(t, before, sum(t, f.image(t, name)))
	}
	f.Stop(t)
	f.Start(t)
	f.refused(t, "notnew0", nil, "after a restart of the service")
	require.Equal(t, volspec.Blank, f.volume(t, "notnew0").Format)
}

// The same, and at first the disk does not show what it holds.
func (f *formatting) lying(t *testing.T) {
	for i, after := range unreadable {
		name := fmt.Sprint("lying", i)
		f.create(t, name)
		before := f.precious(t, name, 0)
		f.refused(t, name, map[string]fake{attached: zeros, granted: after}, "zeros, then "+after.name)
		f.refused(t, name, nil, "then data")
		require.Equal(t, before, sum(t, f.image(t, name)), "zeros, then %s, then data", after.name)
	}
	name := "lying"
	f.create(t, name)
	before := f.precious(t, name, 0)
	f.refused(t, name, map[string]fake{attached: zeros, granted: withData[0]}, "zeros, then data")
	f.refused(t, name, nil, "and data again")
	require.Equal(t, before, sum(t, f.image(t, name)))
}

// A volume with a filesystem and data, whose disk answers otherwise.
func (f *formatting) formatted(t *testing.T) {
	const name = "formatted"
	f.create(t, name)
	f.works(t, name, "the first time")
	before := sum(t, f.image(t, name))
	for _, d := range append(append(append([]fake{zeros}, unreadable...), wrongSize...), withData...) {
		f.refused(t, name, map[string]fake{attached: d}, d.name)
		require.Equal(t, before, sum(t, f.image(t, name)), d.name)
	}
	f.works(t, name, "the own disk again")
}

// The image itself is damaged. It is left as it is; put right, it works.
func (f *formatting) damaged(t *testing.T) {
	const name = "damaged"
	f.create(t, name)
	f.works(t, name, "the first time")
	image := f.image(t, name)
	whole, err := os.ReadFile(image)
	require.NoError(t, err)
	overwrite := func(n int) error {
		f, err := os.OpenFile(image, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.Write(make([]byte, n))
		return errors.Join(err, f.Close())
	}
	for _, d := range []struct {
		what string
		do   func() error
	}{
		{"cut in half", func() error { return os.Truncate(image, diskSize/2) }},
		{"cut to nothing", func() error { return os.Truncate(image, 0) }},
		{"its head overwritten", func() error { return overwrite(128 << 10) }},
		{"overwritten with zeros", func() error { return overwrite(diskSize) }},
		{"away", func() error { return os.Rename(image, image+".away") }},
	} {
		require.NoError(t, d.do())
		before := sum(t, image)
		f.refused(t, name, nil, d.what)
		require.Equal(t, before, sum(t, image), d.what)
		require.NoError(t, os.RemoveAll(image+".away"))
		require.NoError(t, os.WriteFile(image, whole, 0o600))
		f.works(t, name, "repaired after: "+d.what)
		whole, err = os.ReadFile(image)
		require.NoError(t, err)
	}
}

func (f *formatting) createdAgain(t *testing.T) {
	const name = "again"
	f.create(t, name)
	f.works(t, name, "the first time")
	before := sum(t, f.image(t, name))
	for range 3 {
		create(t, f.g.Guest, name)
		create(t, f.g.Guest, name+"@"+f.ds.Name, "size=16mb")
	}
	_, answer, err := ask(t.Context(), f.g.ownSocket(), "/VolumeDriver.Create", fmt.Appendf(nil, `{"Name":%q,"Opts":{"size":"32mb"}}`, name))
	require.NoError(t, err)
	require.Contains(t, answer, "already exists with other options")
	require.Equal(t, before, sum(t, f.image(t, name)))
	f.works(t, name, "the second time")
}

// slowMkfs stands in for mkfs.ext4: it says that it is there, waits, and then
// is what it stands for.
const slowMkfs = `#!/bin/bash
touch /srv/mkfs.here
until test -e /srv/mkfs.go; do sleep 0.05; done
exec -a mkfs.ext4 /srv/mkfs.real "$@"
`

// The plugin dies when its mkfs has not even opened the disk. As long as that
// mkfs lives the disk stays where it is, and is nobody else's to format: what
// it does late it does to the disk that it was started for.
func (f *formatting) orphaned(t *testing.T) {
	const name = "orphaned"
	f.create(t, name)
	require.NoError(t, os.WriteFile(filepath.Join(f.g.Disk(), "mkfs.slow"), []byte(slowMkfs), 0o755))
	f.g.Shell(t.Context(), "cp /usr/sbin/mke2fs /srv/mkfs.real; mount --bind /srv/mkfs.slow /usr/sbin/mke2fs").OK(t)
	t.Cleanup(func() { f.g.Shell(cleanup(), "umount /usr/sbin/mke2fs; rm -f /srv/mkfs.*").OK(t) })
	died := make(chan struct{})
	go func() {
		defer close(died)
		_, _, _ = ask(t.Context(), f.g.ownSocket(), "/VolumeDriver.Mount", fmt.Appendf(nil, `{"Name":%q,"ID":"test"}`, name))
	}()
	require.NoError(t, harness.Eventually(10*time.Second, func() error {
		_, err := os.Stat(filepath.Join(f.g.Disk(), "mkfs.here"))
		return err
	}))
	f.g.Kill(t)
	<-died
	f.g.start(t)
	require.Contains(t, f.mount(t, name), "attached to VM p1")
	require.Equal(t, volspec.Formatting, f.volume(t, name).Format)
	f.g.Shell(t.Context(), "touch /srv/mkfs.go; while pidof -x mkfs.ext4 mkfs.real; do sleep 0.1; done").OK(t)
	f.works(t, name, "after that mkfs has ended")
}

func (f *formatting) create(t *testing.T, name string) {
	t.Helper()
	create(t, f.g.Guest, name, "size="+strconv.Itoa(diskSize)+"b")
}

// precious writes data into a blank volume's image and returns its hash.
func (f *formatting) precious(t *testing.T, name string, at int64) string {
	t.Helper()
	img, err := os.OpenFile(f.image(t, name), os.O_RDWR, 0)
	require.NoError(t, err)
	require.NoError(t, dataAt(at)(img))
	require.NoError(t, img.Close())
	return sum(t, f.image(t, name))
}

// mount asks the plugin for a mount and returns its error, "" for none.
func (f *formatting) mount(t *testing.T, name string) string {
	t.Helper()
	_, answer, err := ask(t.Context(), f.g.ownSocket(), "/VolumeDriver.Mount", fmt.Appendf(nil, `{"Name":%q,"ID":"test"}`, name))
	require.NoError(t, err)
	var reply struct{ Err string }
	require.NoError(t, json.Unmarshal([]byte(answer), &reply))
	return reply.Err
}

// refused mounts a volume whose disk is exchanged after the steps named. The
// mount must fail, nothing may be written to any of these disks, and the
// volume's own must have been given back.
func (f *formatting) refused(t *testing.T, name string, disks map[string]fake, what string) {
	t.Helper()
	var mu sync.Mutex
	var made []*fakeDisk
	f.host.follow(func(x exchange) reply {
		a := x.pass()
		step := ""
		switch {
		case strings.HasSuffix(x.What, "/attach"):
			step = attached
		case strings.HasSuffix(x.What, "/format") && strings.Contains(x.Body, string(volspec.Formatting)):
			step = granted
		}
		mu.Lock()
		defer mu.Unlock()
		if d, ok := disks[step]; ok && a.status == http.StatusOK {
			made = append(made, f.plug(t, name, d))
		}
		return a
	})
	text := f.mount(t, name)
	f.host.follow(nil)
	require.NotEmpty(t, text, what)
	require.Len(t, made, len(disks), "%s: the steps were reached: %s", what, text)
	f.detached(t, name)
	for _, d := range made {
		d.check(t, what)
	}
	t.Logf("%s: %s", what, text)
}

// works mounts a volume, which writes or finds its data, and unmounts it.
func (f *formatting) works(t *testing.T, name, what string) {
	t.Helper()
	require.Empty(t, f.mount(t, name), what)
	at := "/srv/" + rootName + "/" + string(f.volume(t, name).ID)
	file := at + "/f"
	if f.volume(t, name).Format == volspec.Formatted && f.g.Exec(t.Context(), "test", "-e", file).Code != 0 {
		f.g.Shell(t.Context(), "grep -q ' "+at+" ' /proc/mounts && echo kept >"+file).OK(t)
	}
	require.Equal(t, "kept", f.g.Exec(t.Context(), "cat", file).OK(t).Stdout, what)
	_, _, err := ask(t.Context(), f.g.ownSocket(), "/VolumeDriver.Unmount", fmt.Appendf(nil, `{"Name":%q,"ID":"test"}`, name))
	require.NoError(t, err)
	f.detached(t, name)
}

// fakeDisk is a fake that is plugged in.
type fakeDisk struct {
	fake
	file, dev, before string
}

// plug puts a fake in the place of a volume's disk: another loop device with
// the same label behind the same node.
func (f *formatting) plug(t *testing.T, name string, d fake) *fakeDisk {
	k := &fakeDisk{fake: d}
	v, err := f.admin.Volume(t.Context(), team, name)
	if err == nil {
		err = k.make(t, filepath.Join(f.g.DevDir(), "mooring", v.Serial))
	}
	if err != nil {
		t.Error(err)
	}
	t.Cleanup(func() { k.remove(t) })
	return k
}

func (k *fakeDisk) make(t *testing.T, node string) error {
	file, err := os.CreateTemp(lab.Dir, "fake-")
	if err != nil {
		return err
	}
	defer file.Close()
	k.file = file.Name()
	if err := file.Truncate(k.size); err != nil {
		return err
	}
	if k.fill != nil {
		if err := k.fill(file); err != nil {
			return err
		}
	}
	label := loopLabel(node)
	out := lab.Run(t, "losetup", "-f", "--show", k.file)
	if out.Code != 0 {
		return fmt.Errorf("%s", out)
	}
	k.dev = out.Stdout
	if err := setLoopLabel(k.dev, label); err != nil {
		return err
	}
	if k.bad {
		if err := file.Truncate(k.cut); err != nil {
			return err
		}
	}
	if k.before, err = hashOf(k.file); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Stat(k.dev, &st); err != nil {
		return err
	}
	if err := os.Remove(node); err != nil {
		return err
	}
	return unix.Mknod(node, unix.S_IFBLK|0o600, int(st.Rdev))
}

// check fails when anything was written to the fake, which is gone then.
func (k *fakeDisk) check(t *testing.T, what string) {
	t.Helper()
	lab.Run(t, "blockdev", "--flushbufs", k.dev).OK(t)
	require.Equal(t, k.before, sum(t, k.file), "%s: %s was written to", what, k.name)
	k.remove(t)
}

func (k *fakeDisk) remove(t *testing.T) {
	if k.dev != "" {
		lab.Run(t, "losetup", "-d", k.dev).OK(t)
		require.NoError(t, os.Remove(k.file))
	}
	k.dev = ""
}

func setLoopLabel(dev, label string) error {
	f, err := os.OpenFile(dev, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
	if err != nil {
		return err
	}
	info.File_name = [64]uint8{}
	copy(info.File_name[:], label)
	return unix.IoctlLoopSetStatus64(int(f.Fd()), info)
}

// sum is the hash of a file's content, "" when it is not there.
func sum(t *testing.T, path string) string {
	t.Helper()
	h, err := hashOf(path)
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	require.NoError(t, err)
	return h
}

func hashOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
