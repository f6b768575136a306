package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
)

// vsite is an installation on a vCenter: a mooringd on the guests' network,
// and guests that are VMs with certificates.
type vsite struct {
	*harness.Daemon
	vc           *harness.VCenter
	gold, silver *harness.Datastore
	h1, h2       *plain
}

// newVSite starts one whose vmgroup team has both guests, and 2 GB on gold.
func newVSite(t *testing.T) *vsite {
	t.Helper()
	s := &vsite{gold: lab.Folder(t, "vcenter/gold"), silver: lab.Folder(t, "vcenter/silver")}
	both := plains(t, "h1", "h2")
	s.h1, s.h2 = both[0], both[1]
	stores := []*harness.Datastore{s.gold, s.silver}
	s.Daemon = lab.Daemon(t, "vsphere", stores, nil, func(c *harness.Config) { c.DefaultVMGroup = false })
	s.vc = vcenter(t, "vcenter", s.Daemon, stores, s.h1.Guest, s.h2.Guest)
	t.Cleanup(func() { require.NoError(t, s.vc.End()) })
	s.Start(t)
	t.Cleanup(func() { s.finish(t) })
	s.mooring(t, "vmgroup", "create", "--name="+team, "--vm-list=h1,h2")
	s.mooring(t, "vmgroup", "access", "add", "--name="+team, "--datastore=gold", "--allow-create", "--default-datastore", "--volume-totalsize=2GB")
	for _, g := range both {
		s.enroll(t, g)
		g.binary = lab.Bin.Plugin
		g.start(t)
	}
	return s
}

// mooring runs the command line, which must succeed.
func (s *vsite) mooring(t *testing.T, args ...string) harness.Result {
	t.Helper()
	return s.Mooring(t.Context(), args...).OK(t)
}

// enroll gives a guest's plugin a code to become its VM with.
func (s *vsite) enroll(t *testing.T, g *plain) {
	t.Helper()
	invite(t, s.Daemon, g.Name, g.invitation())
	g.settings = []string{"MOORING_HOST=" + s.GuestURL(), "MOORING_ENROLL=/srv/enroll"}
}

// finish removes everything and checks that vCenter has none of it.
func (s *vsite) finish(t *testing.T) {
	t.Helper()
	ctx := cleanup()
	if t.Failed() {
		t.Log(lab.Logs(60))
	}
	var errs []error
	for _, g := range []*plain{s.h1, s.h2} {
		if g.EngineRuns() {
			errs = append(errs, g.empty(ctx))
		}
	}
	if r := s.Mooring(ctx, "vmgroup", "rm", "--name="+team, "--force", "--remove-volumes"); r.Code != 0 {
		errs = append(errs, fmt.Errorf("%s", r))
	}
	errs = append(errs, harness.Eventually(20*time.Second, func() error { return s.clean(ctx) }))
	for _, g := range []*plain{s.h1, s.h2} {
		if g.PlainPlugin != nil && g.Running() {
			g.Stop(t)
		}
		errs = append(errs, os.RemoveAll(filepath.Join(g.Disk(), rootName)))
	}
	if err := errors.Join(append(errs, s.End())...); err != nil {
		t.Errorf("the test left something behind: %v", err)
	}
}

// clean describes disks and files of volumes that are left.
func (s *vsite) clean(ctx context.Context) error {
	var left []string
	for _, g := range []*plain{s.h1, s.h2} {
		disks, err := s.vc.Disks(ctx, g.Guest)
		if err != nil {
			return err
		}
		for _, d := range disks {
			left = append(left, d.File+" in "+g.Name)
		}
	}
	for _, ds := range []*harness.Datastore{s.gold, s.silver} {
		files, err := ds.Files()
		if err != nil {
			return err
		}
		left = append(left, files...)
	}
	if len(left) > 0 {
		return fmt.Errorf("still there: %v", left)
	}
	return nil
}

func (s *vsite) attachedTo(t *testing.T, name, vm string) {
	t.Helper()
	becomesAttached(t, s.Daemon, team, name+"@gold", vm)
}

// Everything goes through the whole stack: a Docker engine, the plugin, TLS,
// mooringd, the API of vSphere, a real filesystem on a real block device.
func TestVSphere(t *testing.T) {
	s := newVSite(t)
	for _, part := range []struct {
		name string
		run  func(*testing.T, *vsite)
	}{
		{"the life of a volume", vsphereLife},
		{"what a vmgroup may not do", vsphereLimits},
		{"a machine without power loses its disks", vspherePower},
		{"a machine moves to another host", vsphereMigration},
		{"a snapshot of the machine pins its volumes", vspherePinned},
		{"vCenter is away", vsphereAway},
		{"snapshot, clone and growth", vsphereCare},
		{"backup and restore", vsphereBackup},
		{"a whole machine", vsphereMachine},
		{"the service restarts", vsphereRestart},
		{"a certificate is withdrawn", vsphereRevoked},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, s) })
	}
}

func vsphereLife(t *testing.T, s *vsite) {
	for _, fs := range []string{"ext4", "xfs"} {
		name := "life-" + fs
		create(t, s.h1.Guest, name, "size=400mb", "fstype="+fs)
		require.Contains(t, listed(t, s.h2.Guest), name+"@gold")
		sh(t, s.h1.Guest, name, write).OK(t)
		s.attachedTo(t, name, "")
		sh(t, s.h2.Guest, name, read).OK(t)
		holder(t, s.h1, name, read)
		s.h1.Docker(t.Context(), "start", name).OK(t)
		s.attachedTo(t, name, "h1")
		disks, err := s.vc.Disks(t.Context(), s.h1.Guest)
		require.NoError(t, err)
		require.Len(t, disks, 1)
		require.EqualValues(t, 400<<20, disks[0].Capacity)
		require.NotEmpty(t, disks[0].FCD, "a first-class disk")
		sh(t, s.h2.Guest, name, read).Fails(t, "is attached to VM h1")
		s.h1.Docker(t.Context(), "volume", "rm", name).Fails(t, "in use")
		drop(t, s.h1.Guest, name)
		sh(t, s.h2.Guest, name, read).OK(t)
		s.attachedTo(t, name, "")
		remove(t, s.h2.Guest, name)
		require.NotContains(t, listed(t, s.h1.Guest), name+"@gold")
	}
}

func vsphereLimits(t *testing.T, s *vsite) {
	tryCreate(t, s.h1.Guest, "far@silver", "size=16mb").Fails(t, "No create privilege")
	create(t, s.h1.Guest, "much", "size=1500mb")
	tryCreate(t, s.h2.Guest, "more", "size=1gb").Fails(t, "The total volume size exceeds the usage quota")
	remove(t, s.h1.Guest, "much")
}

func vspherePower(t *testing.T, s *vsite) {
	create(t, s.h1.Guest, "power", "size=64mb")
	holder(t, s.h1, "power", write+"; sync")
	s.h1.Docker(t.Context(), "start", "power").OK(t)
	s.attachedTo(t, "power", "h1")
	require.NoError(t, harness.Eventually(10*time.Second, func() error {
		if r := s.h1.Docker(t.Context(), "exec", "power", "sh", "-ec", read); r.Code != 0 {
			return fmt.Errorf("%s", r)
		}
		return nil
	}))
	s.h1.PowerOff(t)
	s.attachedTo(t, "power", "")
	sh(t, s.h2.Guest, "power", read).OK(t)
	s.h1.PowerOn(t)
	s.h1.start(t)
	s.h1.StartEngine(t)
	drop(t, s.h1.Guest, "power")
	remove(t, s.h1.Guest, "power")
}

func vsphereMigration(t *testing.T, s *vsite) {
	create(t, s.h1.Guest, "moving", "size=64mb")
	keep(t, s.h1.Guest, "moving", "moving")
	here, err := s.vc.VM(t.Context(), "h1")
	require.NoError(t, err)
	there := map[string]string{"DC0_C0_H0": "DC0_C0_H1", "DC0_C0_H1": "DC0_C0_H0"}[here.Host]
	require.NoError(t, s.vc.Migrate(t.Context(), "h1", there))
	time.Sleep(3 * time.Second) // longer than a round of the service
	s.attachedTo(t, "moving", "h1")
	s.h1.Docker(t.Context(), "exec", "moving", "sh", "-ec", "echo more >>/vol/log").OK(t)
	drop(t, s.h1.Guest, "moving")
	s.attachedTo(t, "moving", "")
	remove(t, s.h1.Guest, "moving")
}

func vspherePinned(t *testing.T, s *vsite) {
	create(t, s.h1.Guest, "pinned", "size=64mb")
	keep(t, s.h1.Guest, "pinned", "pinned")
	require.NoError(t, s.vc.Snapshot(t.Context(), "h1", "before-upgrade"))
	drop(t, s.h1.Guest, "pinned")
	require.NoError(t, harness.Eventually(20*time.Second, func() error {
		r := s.Mooring(t.Context(), "volume", "detach", "--force", "--yes", team+"/pinned@gold")
		if r.Code == 0 || !strings.Contains(r.Stderr, "before-upgrade") {
			return fmt.Errorf("the snapshot is not named: %s", r)
		}
		return nil
	}))
	require.NoError(t, s.vc.RemoveSnapshot(t.Context(), "h1", "before-upgrade"))
	s.attachedTo(t, "pinned", "")
	remove(t, s.h1.Guest, "pinned")
}

func vsphereAway(t *testing.T, s *vsite) {
	create(t, s.h1.Guest, "away", "size=64mb")
	sh(t, s.h1.Guest, "away", write).OK(t)
	s.attachedTo(t, "away", "")
	require.NoError(t, s.vc.Kill())
	s.Mooring(t.Context(), "doctor").Fails(t, "the connection to vCenter was lost")
	sh(t, s.h2.Guest, "away", read).Fails(t, "vCenter")
	require.NoError(t, s.vc.Restart(context.WithoutCancel(t.Context())))
	sh(t, s.h2.Guest, "away", read).OK(t)
	require.NoError(t, s.vc.EndSessions(t.Context()))
	sh(t, s.h1.Guest, "away", read).OK(t)
	s.attachedTo(t, "away", "")
	remove(t, s.h1.Guest, "away")
}

func vsphereCare(t *testing.T, s *vsite) {
	create(t, s.h1.Guest, "care", "size=64mb")
	sh(t, s.h1.Guest, "care", write).OK(t)
	s.attachedTo(t, "care", "")
	s.mooring(t, "volume", "resize", team+"/care@gold", "128mb")
	sh(t, s.h2.Guest, "care", read+"; test $(df -Pm /vol | tail -1 | awk '{print $2}') -gt 100").OK(t)
	s.mooring(t, "volume", "snapshot", "create", team+"/care@gold", "s1")
	sh(t, s.h1.Guest, "care", "echo other >/vol/f").OK(t)
	s.mooring(t, "volume", "clone", team+"/care@gold", "old", "--from-snapshot=s1")
	sh(t, s.h1.Guest, "old", read).OK(t)
	s.mooring(t, "volume", "snapshot", "rm", "--yes", team+"/care@gold", "s1")
	remove(t, s.h1.Guest, "care", "old")
}

func vsphereBackup(t *testing.T, s *vsite) {
	create(t, s.h1.Guest, "db", "size=128mb")
	s.mooring(t, "repository", "create", team+"/main", "--type=directory", "--path="+filepath.Join(lab.Dir, "vsphere-backups"))
	keep(t, s.h1.Guest, "db", "db")
	s.h1.Docker(t.Context(), "exec", "db", "sh", "-ec", write+"; seq 1 300000 >/vol/numbers; sync").OK(t)
	file := func() string { // a disk that has a snapshot runs on another one
		disks, err := s.vc.Disks(t.Context(), s.h1.Guest)
		require.NoError(t, err)
		require.Len(t, disks, 1)
		return disks[0].File
	}
	before := file()
	s.mooring(t, "backup", "run", team+"/db")
	require.Equal(t, before, file(), "no snapshot is left")
	require.Contains(t, s.mooring(t, "backup", "ls", team).Stdout, "filesystem", "the plugin held the filesystem still")
	s.h1.Docker(t.Context(), "exec", "db", "sh", "-ec", "seq 1 1000 >/vol/more; sync").OK(t)
	require.Contains(t, s.mooring(t, "backup", "run", team+"/db").Stdout, "changed")
	require.Equal(t, before, file(), "no snapshot is left")
	sum := s.h1.Docker(t.Context(), "exec", "db", "sh", "-ec", "cd /vol && sha256sum f numbers more").OK(t).Stdout
	drop(t, s.h1.Guest, "db")
	create(t, s.h2.Guest, "copy", "restore-from=db@latest")
	require.Equal(t, sum, sh(t, s.h2.Guest, "copy", "cd /vol && sha256sum f numbers more").OK(t).Stdout)
	s.mooring(t, "backup", "drill", team+"/db@latest")
	s.attachedTo(t, "copy", "")
	remove(t, s.h2.Guest, "copy", "db")
	s.mooring(t, "repository", "detach", "--yes", team+"/main")
}

func vsphereRestart(t *testing.T, s *vsite) {
	create(t, s.h1.Guest, "lasting", "size=64mb")
	keep(t, s.h1.Guest, "lasting", "lasting")
	s.Kill(t)
	s.Start(t)
	s.attachedTo(t, "lasting", "h1")
	s.h1.Docker(t.Context(), "exec", "lasting", "sh", "-ec", "echo more >>/vol/log").OK(t)
	drop(t, s.h1.Guest, "lasting")
	s.attachedTo(t, "lasting", "")
	s.h1.restart(t)
	sh(t, s.h1.Guest, "lasting", "grep -q more /vol/log").OK(t)
	s.attachedTo(t, "lasting", "")
	remove(t, s.h1.Guest, "lasting")
}

func vsphereRevoked(t *testing.T, s *vsite) {
	create(t, s.h1.Guest, "kept", "size=64mb")
	s.mooring(t, "vm", "revoke", "--yes", "h2")
	tryCreate(t, s.h2.Guest, "refused", "size=16mb").Fails(t, "enroll")
	s.enroll(t, s.h2)
	s.h2.restart(t)
	require.Contains(t, listed(t, s.h2.Guest), "kept@gold")
	remove(t, s.h2.Guest, "kept")
}

// vsphereMachine backs a whole VM up while its disk is written to from outside
// the guest, as no volume is, and makes another VM of it.
func vsphereMachine(t *testing.T, s *vsite) {
	s.mooring(t, "repository", "create", team+"/machines", "--type=directory", "--path="+filepath.Join(lab.Dir, "vsphere-machines"))
	vm, err := s.vc.VM(t.Context(), "h1")
	require.NoError(t, err)
	own := vm.Disks[0]
	put := func(off int64, text string) {
		t.Helper()
		f, err := os.OpenFile(own.Path, os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = f.WriteAt([]byte(text), off)
		require.NoError(t, errors.Join(err, f.Close()))
	}
	system := filepath.Join(t.TempDir(), "system")
	said, err := exec.CommandContext(t.Context(), "mkfs.ext4", "-q", system, "3m").CombinedOutput()
	require.NoError(t, err, "%s", said)
	root, err := os.ReadFile(system)
	require.NoError(t, err)
	put(1<<20, string(root))
	put(446, "\x00\x00\x00\x00\x83\x00\x00\x00\x00\x08\x00\x00\x00\x18\x00\x00") // a partition: the 3 MiB from the first on
	put(510, "\x55\xAA")
	put(5<<20, "first")
	s.mooring(t, "backup", "run", team+"/vm/h1")
	put(40<<20, "second")
	s.mooring(t, "backup", "run", team+"/vm/h1")
	require.Contains(t, s.mooring(t, "backup", "inspect", team+"/vm/h1@latest").Stdout, "changed extents")
	want, err := os.ReadFile(own.Path)
	require.NoError(t, err)
	put(40<<20, "beyond")

	s.mooring(t, "backup", "verify", team+"/vm/h1@latest")
	s.mooring(t, "backup", "restore", team+"/vm/h1@latest", "--as=h1-again", "--datastore=silver")
	again, err := s.vc.VM(t.Context(), "h1-again")
	require.NoError(t, err)
	require.Equal(t, "poweredOff", again.Power)
	require.NotEqual(t, vm.InstanceUUID, again.InstanceUUID)
	require.Len(t, again.Disks, 1)
	require.Equal(t, "silver", again.Disks[0].Datastore)
	got, err := os.ReadFile(again.Disks[0].Path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got), "the content is that of the point")
	require.Contains(t, s.mooring(t, "backup", "drill", team+"/vm/h1@latest").Stdout, "partition 1 ext4 checked and mounted")
	require.Contains(t, s.mooring(t, "backup", "inspect", team+"/vm/h1@latest").Stdout, "proven")

	// The copy is a point as good as the original, which is gone then.
	s.mooring(t, "repository", "create", team+"/machines2", "--type=directory", "--path="+filepath.Join(lab.Dir, "vsphere-machines2"))
	s.mooring(t, "backup", "copy", team+"/vm/h1@latest", "--to=machines2")
	s.mooring(t, "repository", "detach", "--yes", team+"/machines")
	s.mooring(t, "backup", "restore", team+"/vm/h1@latest", "--as=h1-copied", "--datastore=silver")
	copied, err := s.vc.VM(t.Context(), "h1-copied")
	require.NoError(t, err)
	got, err = os.ReadFile(copied.Disks[0].Path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got), "the content is that of the point")
	s.mooring(t, "vmgroup", "vm", "rm", "--name="+team, "--vm-list=h1-again,h1-copied")
	require.NoError(t, errors.Join(s.vc.RemoveVM(t.Context(), "h1-again"), s.vc.RemoveVM(t.Context(), "h1-copied")))
	s.mooring(t, "repository", "detach", "--yes", team+"/machines2")
}
