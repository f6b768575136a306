package dockvols_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/dockvols"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

const (
	team  = "5f0d2c3e-9a51-4c1f-8c3e-6b7212345678"
	deflt = "11111111-1111-1111-1111-111111111111"
)

func descriptor(mib int, parent string) string {
	return fmt.Sprintf("# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=%s\ncreateType=\"vmfs\"\nRW %d VMFS \"x-flat.vmdk\"\n", parent, mib*2048)
}

func sideFile(json string) string { return json + strings.Repeat(" ", 4096-len(json)) }

// store is a datastore in memory.
type store struct {
	files map[string]string
	users map[string]string
	meta  map[hypervisor.Ref]string
	taken map[hypervisor.Ref]string // by what file
	fail  map[string]error          // by file
}

func (s *store) ID(context.Context) (string, error) { return "ds:///vmfs/volumes/1/", nil }
func (s *store) Files(_ context.Context, folder string) (all []dockvols.File, _ error) {
	for f, content := range s.files {
		if strings.HasPrefix(f, folder+"/") {
			size := int64(len(content))
			if strings.HasSuffix(f, "-flat.vmdk") {
				size = 1 << 30
			}
			all = append(all, dockvols.File{Path: f, Size: size})
		}
	}
	return all, nil
}
func (s *store) Read(_ context.Context, file string, _ int64) ([]byte, error) {
	return []byte(s.files[file]), nil
}
func (s *store) Users(context.Context, string) (map[string]string, error) { return s.users, nil }
func (s *store) PutMeta(_ context.Context, r hypervisor.Ref, data []byte) error {
	s.meta[r] = string(data)
	return nil
}
func (s *store) Take(_ context.Context, file string, r hypervisor.Ref) error {
	if err := s.fail[file]; err != nil {
		return err
	}
	if s.meta[r] == "" {
		return errors.New("a disk without a record")
	}
	s.taken[r] = file
	delete(s.files, file)
	return nil
}

func world() *store {
	attached := `{"status": "attached", "attachedVMName": "vm9", "created": "Mon Aug 21 04:36:08 2017", "created-by": "vm1", "volOpts": {"size": "200mb", "fstype": "xfs", "access": "read-only", "diskformat": "eagerzeroedthick", "attach-as": "persistent", "vsan-policy-name": "gold", "clone-from": "None"}}`
	s := &store{
		files: map[string]string{
			"dockvols/" + team + "/db.vmdk":                     descriptor(200, "ffffffff"),
			"dockvols/" + team + "/db-flat.vmdk":                "",
			"dockvols/" + team + "/db-5a3c9c1f27f3d1aa.vmfd":    sideFile(attached),
			"dockvols/" + team + "/busy.vmdk":                   descriptor(100, "ffffffff"),
			"dockvols/" + team + "/snapped.vmdk":                descriptor(100, "ffffffff"),
			"dockvols/" + team + "/snapped-000001.vmdk":         descriptor(100, "1"),
			"dockvols/" + team + "/bad.vmdk":                    "garbage",
			"dockvols/" + team + "/plain.vmdk":                  descriptor(64, "ffffffff"),
			"dockvols/" + team + "/plain-0123456789abcdef.vmfd": "{not json",
			"dockvols/" + team + "/run-000007.vmdk":             descriptor(64, "ffffffff"), // a volume of that name
			"dockvols/" + deflt + "/web.vmdk":                   descriptor(100, "ffffffff"),
			"dockvols/legacy.vmdk":                              descriptor(100, "ffffffff"),
			"dockvols/policies/gold":                            "((\"hostFailuresToTolerate\" i1))",
			"dockvols/vmdkops_config.db":                        "SQLite format 3",
			"dockvols/" + team + "/tmp/inner.vmdk":              descriptor(1, "ffffffff"),
			"dockvols/" + deflt + "/huge.vmdk":                  strings.Repeat("x", 6000),
		},
		users: map[string]string{"dockvols/" + team + "/busy.vmdk": "vm1", "dockvols/" + team + "/snapped-000001.vmdk": "vm2"},
		meta:  map[hypervisor.Ref]string{}, taken: map[hypervisor.Ref]string{}, fail: map[string]error{},
	}
	for f, content := range s.files { // the link with the name of the vmgroup
		if rest, ok := strings.CutPrefix(f, "dockvols/"+team+"/"); ok {
			s.files["dockvols/team-a/"+rest] = content
		}
	}
	return s
}

func options() dockvols.Options {
	return dockvols.Options{Datastore: "ds", Record: func(v dockvols.Volume) ([]byte, error) { return []byte(v.Name + " of " + v.GroupName), nil }}
}

func byName(items []dockvols.Item) map[string]dockvols.Item {
	m := map[string]dockvols.Item{}
	for _, i := range items {
		m[i.Name] = i
	}
	return m
}

func TestPlanSaysWhatBecomesOfEachVolume(t *testing.T) {
	s := world()
	items, err := dockvols.Plan(t.Context(), s, options())
	require.NoError(t, err)
	got := byName(items)
	require.Len(t, got, len(items), "each once, although a link shows them again")
	db := got["db"]
	assert.Equal(t, dockvols.Adoptable, db.Action)
	assert.Equal(t, volspec.VMGroupID(team), db.Group)
	assert.Equal(t, "team-a", db.GroupName, "the link tells the name")
	assert.Equal(t, 200*volspec.MiB, db.Size)
	assert.Equal(t, volspec.Spec{Size: 200 * volspec.MiB, FSType: "xfs", DiskFormat: "eagerzeroedthick", Access: "read-only", AttachAs: "persistent"}.Defaulted(), db.Spec)
	assert.Equal(t, time.Date(2017, 8, 21, 4, 36, 8, 0, time.UTC), db.Created)
	assert.Equal(t, "vm1", db.CreatedBy)
	assert.Contains(t, db.Detail, "gold", "a policy file is no storage policy")
	for name, detail := range map[string]string{"busy": "VM vm1 has it", "snapped": "VM vm2 has it", "bad": "not the descriptor"} {
		assert.Equal(t, dockvols.Refused, got[name].Action, name)
		assert.Contains(t, got[name].Detail, detail)
	}
	assert.Equal(t, dockvols.Adoptable, got["plain"].Action)
	assert.Contains(t, got["plain"].Detail, "defaults")
	assert.Equal(t, "ext4", got["plain"].Spec.FSType)
	assert.Equal(t, dockvols.Refused, got["run-000007"].Action, "no volume may be called so")
	for _, name := range []string{"web", "legacy"} {
		assert.Equal(t, dockvols.DefaultGroupName, got[name].GroupName, name)
		assert.Equal(t, dockvols.DefaultGroup, got[name].Group, name)
	}
	for _, none := range []string{"inner", "huge", "gold", "snapped-000001"} {
		assert.NotContains(t, got, none)
	}
	assert.Empty(t, s.taken, "nothing was done")
	assert.Empty(t, s.meta)

	delete(s.users, "dockvols/"+team+"/snapped-000001.vmdk")
	items, err = dockvols.Plan(t.Context(), s, options())
	require.NoError(t, err)
	assert.Contains(t, byName(items)["snapped"].Detail, "snapshots")
}

func TestNamesOfVMGroupsCanBeGiven(t *testing.T) {
	s := world()
	for f := range s.files {
		if strings.HasPrefix(f, "dockvols/team-a/") {
			delete(s.files, f)
		}
	}
	items, err := dockvols.Plan(t.Context(), s, options())
	require.NoError(t, err)
	assert.Equal(t, "vmgroup-5f0d2c3e", byName(items)["db"].GroupName)
	o := options()
	o.Names = map[volspec.VMGroupID]string{team: "team-b"}
	items, err = dockvols.Plan(t.Context(), s, o)
	require.NoError(t, err)
	assert.Equal(t, "team-b", byName(items)["db"].GroupName)
}

func TestAdoptMovesAndGoesOn(t *testing.T) {
	s := world()
	web := "dockvols/" + deflt + "/web.vmdk"
	s.fail[web] = errkind.New(errkind.Unavailable, "the connection was lost")
	plan, err := dockvols.Plan(t.Context(), s, options())
	require.NoError(t, err)
	items, err := dockvols.Adopt(t.Context(), s, options())
	require.NoError(t, err)
	got := byName(items)
	assert.Equal(t, dockvols.Adopted, got["db"].Action)
	assert.Equal(t, dockvols.Refused, got["busy"].Action)
	assert.Equal(t, dockvols.Refused, got["web"].Action)
	assert.Contains(t, got["web"].Detail, "the connection was lost")
	ref := hypervisor.Ref{Datastore: "ds", Group: team, Volume: byName(plan)["db"].ID}
	assert.Equal(t, "dockvols/"+team+"/db.vmdk", s.taken[ref])
	assert.Equal(t, "db of team-a", s.meta[ref])

	// what broke off is completed, under the same id
	delete(s.fail, web)
	items, err = dockvols.Adopt(t.Context(), s, options())
	require.NoError(t, err)
	again := byName(items)
	assert.Equal(t, dockvols.Adopted, again["web"].Action)
	assert.Equal(t, got["web"].ID, again["web"].ID)
	assert.NotContains(t, again, "db", "it is where we keep disks")
	for r := range s.meta {
		_, taken := s.taken[r]
		assert.True(t, taken, "no record without a disk: %v", r)
	}
}

func TestAdoptEndsWithItsContext(t *testing.T) {
	s := world()
	ctx, cancel := context.WithCancel(t.Context())
	for f := range s.files {
		s.fail[f] = errors.New("cut")
	}
	o := options()
	record := o.Record
	o.Record = func(v dockvols.Volume) ([]byte, error) { cancel(); return record(v) }
	_, err := dockvols.Adopt(ctx, s, o)
	require.Error(t, err)
	assert.Len(t, s.meta, 1)
}
