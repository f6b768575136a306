package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
)

// Names that look odd and are valid: they are data, and come back as given.
func TestValidNames(t *testing.T) {
	s := newSite(t)
	for _, name := range []string{
		strings.Repeat("n", 100), "****-###", "digits-00001", "digits-0000000", "full@ds2", "at@@@@ds1",
		"Größe-ボリューム", "with blank in it", "percent%2Fname", "quote'\"$(x)`", "-dash", "UPPER", "upper",
	} {
		t.Run(name, func(t *testing.T) {
			create(t, s.vm1, name, "size=16mb")
			full := name
			if !strings.HasSuffix(name, "@ds1") && !strings.HasSuffix(name, "@ds2") {
				full += "@ds1"
			}
			require.Equal(t, []string{full}, listed(t, s.vm1))
			// Docker itself cannot mount a name with a colon or a comma only;
			// all of these can be used.
			r := s.vm2.Docker(t.Context(), "run", "--rm", "--network=none", "--mount", "type=volume,volume-driver=vsphere,dst=/vol,\"src="+strings.ReplaceAll(name, `"`, `""`)+"\"", harness.Image, "sh", "-c", "echo x >/vol/f && cat /vol/f")
			require.Equal(t, "x", r.OK(t).Stdout)
			s.attachedTo(t, full, "")
			remove(t, s.vm1, name)
		})
	}
}

// Names that are refused, at creation, with the sentence users know.
func TestInvalidNames(t *testing.T) {
	s := newSite(t)
	for name, text := range map[string]string{
		strings.Repeat("n", 101):          "Volume name is too long (max len is 100)",
		"snapshot-000000":                 "Volume names ending with '-NNNNNN' (where N is a digit) are not supported",
		"slash/name":                      "Volume name contains illegal characters: /",
		"../../etc/x":                     "illegal characters: /",
		`back\slash`:                      "illegal characters",
		"vol@nowhere":                     "Invalid datastore 'nowhere'",
		"vol@" + strings.Repeat("d", 101): "Datastore name is too long (max len is 100)",
		"tab\tname":                       "",
		"new\nline":                       "",
	} {
		tryCreate(t, s.vm1, name).Fails(t, "Error response from daemon: create", text)
	}
	require.Empty(t, s.volumes(t))
}

// Options that are refused: the answer names what is valid.
func TestInvalidOptions(t *testing.T) {
	s := newSite(t)
	noPolicy := "Cannot use a VSAN policy on a non-VSAN datastore"
	if onVSphere {
		noPolicy = "no storage policy gold in vCenter"
	}
	for option, text := range map[string]string{
		"size=100mbb":           "size",
		"size=100gbEE":          "size",
		"size=0mb":              "size",
		"size=-1gb":             "size",
		"size=":                 "size",
		"sizes=100mb":           "Invalid options: ['sizes']",
		"fstype=ext5":           "Not found mkfs for ext5",
		"diskformat=thickest":   "Disk Allocation Format 'thickest' is not supported. Valid options are: ['thin', 'zeroedthick', 'eagerzeroedthick']",
		"diskformat=Thin":       "Disk Allocation Format 'Thin' is not supported.",
		"access=read-often":     "Access type 'read-often' is not supported. Valid options are: ['read-write', 'read-only']",
		"attach-as=independent": "Attach type 'independent' is not supported.",
		"clone-from=absent":     "Could not find volume for cloning absent",
		"datastore=nowhere":     "nowhere",
		"datastore=ds2":         "write the name as refused@ds2",
		"mkfsopts=-F":           "mkfsopts",
		"mountopts=remount":     "mountopts",
		"mode=99999":            "mode",
		"uid=root":              "uid",
		"fstype=xfs,size":       "",
		"vsan-policy-name=gold": noPolicy,
	} {
		tryCreate(t, s.vm1, "refused", option).Fails(t, text)
	}
	require.Empty(t, s.volumes(t))
}

// Every valid option shows in Status as asked for, with the defaults beside.
func TestOptionsShowInStatus(t *testing.T) {
	s := newSite(t)
	create(t, s.vm1, "plain")
	st := status(t, s.vm1, "plain")
	require.Equal(t, "detached", st["status"])
	require.Equal(t, "ds1", st["datastore"])
	require.Equal(t, "vm1", st["created by VM"])
	require.Equal(t, "ext4", st["fstype"])
	require.Equal(t, "thin", st["diskformat"])
	require.Equal(t, "read-write", st["access"])
	require.Equal(t, "independent_persistent", st["attach-as"])
	require.Equal(t, "None", st["clone-from"])
	require.Equal(t, "_DEFAULT", st["vmgroup"])
	require.EqualValues(t, 100<<20, st["size-bytes"])
	require.Equal(t, "100MB", st["capacity"].(map[string]any)["size"])
	require.NotEmpty(t, st["id"])
	created := s.vm1.Docker(t.Context(), "volume", "inspect", "-f", "{{.CreatedAt}}", "plain").OK(t).Stdout
	require.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d`, created)
	require.Equal(t, "global", s.vm1.Docker(t.Context(), "volume", "inspect", "-f", "{{.Scope}}", "plain").OK(t).Stdout)

	for _, c := range []struct {
		options []string
		field   string
		want    any
	}{
		{[]string{"size=10gb"}, "size-bytes", float64(10 << 30)},
		{[]string{"size=512MiB"}, "size-bytes", float64(512 << 20)},
		{[]string{"diskformat=zeroedthick", "size=32mb"}, "diskformat", "zeroedthick"},
		{[]string{"diskformat=eagerzeroedthick", "size=32mb"}, "diskformat", "eagerzeroedthick"},
		{[]string{"attach-as=persistent"}, "attach-as", "persistent"},
		{[]string{"access=read-only"}, "access", "read-only"},
		{[]string{"fstype=xfs", "size=320mb"}, "fstype", "xfs"},
		{[]string{"clone-from=plain"}, "clone-from", "plain"},
		{[]string{"datastore=ds1"}, "datastore", "ds1"},
	} {
		create(t, s.vm1, "opt", c.options...)
		require.Equal(t, c.want, status(t, s.vm1, "opt")[c.field], "%v", c.options)
		remove(t, s.vm1, "opt")
	}
	remove(t, s.vm1, "plain")
}

// What a filesystem is made with shows inside the container: owner and mode
// of the root, and mount options.
func TestOwnerModeAndMountOptions(t *testing.T) {
	s := newSite(t)
	create(t, s.vm1, "owned", "uid=1001", "gid=1002", "mode=0750", "mountopts=noatime,noexec")
	out := s.vm1.Docker(t.Context(), "run", "--rm", "--network=none", "--user=1001:1002", "-v", "owned:/vol", harness.Image, "sh", "-ec",
		"stat -c '%u:%g %a' /vol; echo mine >/vol/f; stat -c %u /vol/f; grep ' /vol ' /proc/mounts").OK(t).Stdout
	require.Contains(t, out, "1001:1002 750\n1001\n")
	for _, opt := range []string{"noatime", "noexec", "nodev", "nosuid"} {
		require.Contains(t, out, opt)
	}
	s.attachedTo(t, "owned", "")
	// Neither owner nor mode is applied again to existing data.
	sh(t, s.vm1, "owned", "chmod 0700 /vol; chown 7:7 /vol").OK(t)
	s.attachedTo(t, "owned", "")
	require.Equal(t, "7:7 700", sh(t, s.vm2, "owned", "stat -c '%u:%g %a' /vol").OK(t).Stdout)
	s.attachedTo(t, "owned", "")
	remove(t, s.vm1, "owned")
}

// A volume exists with other options: the user is told, and nothing changes.
// The engine itself answers for names it knows, so the second guest asks.
func TestExistingWithOtherOptions(t *testing.T) {
	s := newSite(t)
	create(t, s.vm1, "fixed", "size=32mb")
	create(t, s.vm1, "fixed", "size=64mb") // Docker finds it and asks nobody
	require.EqualValues(t, 32<<20, s.volume(t, "fixed").SizeBytes)
	s.Mooring(t.Context(), "volume", "create", "_DEFAULT/fixed@ds1", "--size=64mb").Fails(t, "fixed")
	require.EqualValues(t, 32<<20, s.volume(t, "fixed").SizeBytes)
	remove(t, s.vm1, "fixed")
}

// A volume switched to read-only refuses writes at its next use, on both
// guests, also below the filesystem; switched back it takes them again.
func TestAccessUpdate(t *testing.T) {
	s := newSite(t)
	create(t, s.vm1, "toggle", "size=32mb")
	sh(t, s.vm1, "toggle", "echo x >/vol/f").OK(t)
	s.attachedTo(t, "toggle", "")
	require.Equal(t, "Successfully updated settings for toggle@ds1",
		s.Mooring(t.Context(), "volume", "set", "--vmgroup=_DEFAULT", "--volume=toggle@ds1", "--options=access=read-only").OK(t).Stdout)
	for _, g := range s.guests() {
		require.Equal(t, "x", sh(t, g, "toggle", "cat /vol/f").OK(t).Stdout)
		s.attachedTo(t, "toggle", "")
		sh(t, g, "toggle", "echo y >/vol/f").Fails(t, "Read-only file system")
		s.attachedTo(t, "toggle", "")
	}
	require.Equal(t, "read-only", status(t, s.vm1, "toggle")["access"])
	s.Mooring(t.Context(), "volume", "set", "--vmgroup=_DEFAULT", "--volume=toggle@ds1", "--options=access=read-write").OK(t)
	sh(t, s.vm2, "toggle", "echo z >/vol/f").OK(t)
	s.attachedTo(t, "toggle", "")
	remove(t, s.vm1, "toggle")
}

// A volume created read-only can be used at once (it is formatted all the
// same) and becomes writable later.
func TestCreatedReadOnly(t *testing.T) {
	s := newSite(t)
	create(t, s.vm1, "ro", "size=32mb", "access=read-only")
	sh(t, s.vm1, "ro", "ls /vol").OK(t)
	s.attachedTo(t, "ro", "")
	sh(t, s.vm1, "ro", "touch /vol/x").Fails(t, "Read-only file system")
	s.attachedTo(t, "ro", "")
	s.Mooring(t.Context(), "volume", "set", "--vmgroup=_DEFAULT", "--volume=ro@ds1", "--options=access=read-write").OK(t)
	sh(t, s.vm1, "ro", "touch /vol/x").OK(t)
	s.attachedTo(t, "ro", "")
	remove(t, s.vm1, "ro")
}

// A clone has the data of its source and goes its own way.
func TestClone(t *testing.T) {
	s := newSite(t)
	for _, ds := range []string{"ds1", "ds2"} {
		create(t, s.vm1, "source@"+ds, "size=64mb")
		sh(t, s.vm1, "source@"+ds, "echo original >/vol/f").OK(t)
		s.attachedTo(t, "source@"+ds, "")
		create(t, s.vm1, "copy@"+ds, "clone-from=source@"+ds)
		require.Equal(t, "original", sh(t, s.vm2, "copy@"+ds, "cat /vol/f; echo changed >/vol/f").OK(t).Stdout)
		s.attachedTo(t, "copy@"+ds, "")
		require.Equal(t, "original", sh(t, s.vm2, "source@"+ds, "cat /vol/f").OK(t).Stdout)
		s.attachedTo(t, "source@"+ds, "")
		tryCreate(t, s.vm1, "bad@"+ds, "clone-from=source@"+ds, "size=1gb").Fails(t, "Cannot define the size for a clone")
		tryCreate(t, s.vm1, "bad@"+ds, "clone-from=source@"+ds, "fstype=xfs").Fails(t, "Cannot define the filesystem type for a clone")
		remove(t, s.vm1, "source@"+ds)
		require.Equal(t, "changed", sh(t, s.vm1, "copy@"+ds, "cat /vol/f").OK(t).Stdout)
		s.attachedTo(t, "copy@"+ds, "")
		remove(t, s.vm1, "copy@"+ds)
	}
}
