package e2e

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
)

// One name on two datastores is two volumes, also across a restart of the
// engine; the short and the full name of one volume are one use.
func TestSameNameOnTwoDatastores(t *testing.T) {
	s := newSite(t)
	create(t, s.vm1, "twin", "size=32mb")
	create(t, s.vm1, "twin@ds2", "size=32mb")
	keep(t, s.vm1, "short", "twin", "--restart=always")
	keep(t, s.vm1, "full", "twin@ds1", "--restart=always")
	keep(t, s.vm1, "other", "twin@ds2", "--restart=always")
	s.vm1.StopEngine(t)
	s.attachedTo(t, "twin@ds1", "")
	s.attachedTo(t, "twin@ds2", "")
	s.vm1.StartEngine(t)
	for _, c := range []string{"short", "full", "other"} {
		running(t, s.vm1, c)
	}
	lines := func(container string) []string {
		return s.vm1.Docker(t.Context(), "exec", container, "sort", "-u", "/vol/log").OK(t).Lines()
	}
	require.Equal(t, lines("short"), lines("full"))
	require.Len(t, lines("short"), 2, "both containers wrote to the one volume")
	require.Len(t, lines("other"), 1)
	drop(t, s.vm1, "short")
	s.attachedTo(t, "twin@ds1", "vm1")
	drop(t, s.vm1, "full")
	s.attachedTo(t, "twin@ds1", "")
	s.attachedTo(t, "twin@ds2", "vm1")
	drop(t, s.vm1, "other")
	s.attachedTo(t, "twin@ds2", "")
	remove(t, s.vm1, "twin", "twin@ds2")
}

// What the administrator's command says of a volume is what Docker says, for
// every disk format, detached and attached.
func TestPropertiesAgree(t *testing.T) {
	s := newSite(t)
	for _, format := range []string{"thin", "zeroedthick", "eagerzeroedthick"} {
		create(t, s.vm1, "props", "size=48mb", "diskformat="+format)
		agree := func(vm string) {
			t.Helper()
			s.attachedTo(t, "props", vm)
			st, v := status(t, s.vm1, "props"), s.volume(t, "props")
			require.Equal(t, format, st["diskformat"])
			require.Equal(t, format, v.Spec.DiskFormat)
			require.EqualValues(t, v.SizeBytes, st["size-bytes"])
			require.EqualValues(t, 48<<20, v.SizeBytes)
			require.Equal(t, string(v.ID), st["id"])
			require.Equal(t, vm != "", st["status"] == "attached")
			if vm != "" {
				require.Equal(t, vm, st["attached to VM"])
			}
			if format != "thin" {
				require.GreaterOrEqual(t, v.UsedBytes, int64(48<<20), "the room is really taken")
			}
			columns := s.Mooring(t.Context(), "volume", "ls", "-c", "volume,capacity,disk-format,attached-to").OK(t).Lines()
			require.Contains(t, columns[2], format)
		}
		agree("")
		keep(t, s.vm1, "user", "props")
		agree("vm1")
		drop(t, s.vm1, "user")
		agree("")
		remove(t, s.vm1, "props")
	}
}

// A VM that the hypervisor no longer has stays a member by name; the lists go
// on, and its vmgroup can be removed.
func TestMemberThatIsGone(t *testing.T) {
	s := newSite(t)
	s.group(t, "dev", "ds1", "vm1", "vm3")
	s.forgetVM(t, "vm3")
	require.Equal(t, []string{"vm1", "vm3"}, s.Mooring(t.Context(), "vmgroup", "vm", "ls", "--name=dev", "-o", "name").OK(t).Lines())
	require.Contains(t, s.Mooring(t.Context(), "vmgroup", "ls").OK(t).Stdout, "vm1,vm3")
	create(t, s.vm1, "here", "size=32mb")
	remove(t, s.vm1, "here")
	s.admin(t, "vmgroup rm succeeded", "vmgroup", "rm", "--name=dev", "--force")
}

// The configuration is read again at a signal: a new datastore and a vmgroup
// from the file are there, and the vmgroup cannot be changed otherwise.
func TestReload(t *testing.T) {
	s := newSite(t)
	config := s.Config
	s.Config.VMGroups = []harness.ConfigVMGroup{{
		Name: "declared", DefaultDatastore: "ds2", VMs: []string{"vm2"},
		Access: []harness.ConfigAccess{{Datastore: "ds2", AllowCreate: true, MaxSize: "64mb"}},
	}}
	s.Reload(t)
	t.Cleanup(func() {
		s.Config = config
		s.Stop(t)
		s.Start(t)
		s.dropGroup(cleanup(), "declared")
	})
	require.NoError(t, harness.Eventually(10e9, func() error {
		if names := s.Mooring(t.Context(), "vmgroup", "ls", "-o", "name").Lines(); !slices.Contains(names, "declared") {
			return fmt.Errorf("vmgroups: %v", names)
		}
		return nil
	}))
	tryCreate(t, s.vm2, "large", "size=65mb").Fails(t, tooLarge)
	create(t, s.vm2, "small", "size=64mb")
	require.Equal(t, []string{"small@ds2"}, listed(t, s.vm2))
	s.Mooring(t.Context(), "vmgroup", "access", "set", "--name=declared", "--datastore=ds2", "--volume-maxsize=unset").Fails(t, s.ConfigFile())
	remove(t, s.vm2, "small")
}
