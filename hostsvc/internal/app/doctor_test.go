package app

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// finding is the first that begins with check, which must be there.
func finding(t *testing.T, all []wire.Finding, check string) wire.Finding {
	t.Helper()
	for _, f := range all {
		if strings.HasPrefix(f.Check, check) {
			return f
		}
	}
	t.Fatalf("no finding about %s in %+v", check, all)
	return wire.Finding{}
}

func (s *site) doctor(t *testing.T) []wire.Finding {
	t.Helper()
	all, err := s.admin(t).Doctor(t.Context())
	require.NoError(t, err)
	for i := 1; i < len(all); i++ {
		assert.LessOrEqual(t, rank[all[i-1].Level], rank[all[i].Level], "the worst comes first")
	}
	for _, f := range all {
		assert.NotEmpty(t, f.Detail, f.Check)
		if f.Level != levelOK {
			assert.NotEmpty(t, f.Remedy, f.Check)
		}
	}
	return all
}

func TestDoctorOfAHealthyService(t *testing.T) {
	s := newSite(t, twoVMs).start(t).ready(t)
	all := s.doctor(t)
	for _, check := range []string{"datastore d1", "catalog", "operations", "attachments", "virtual machines", "sockets"} {
		assert.Equal(t, levelOK, finding(t, all, check).Level, check)
	}
	assert.Equal(t, "3, all in place", finding(t, all, "sockets").Detail)
	finding(t, all, "clock")
}

func TestDoctorOfDatastores(t *testing.T) {
	s := newSite(t, twoVMs).start(t).ready(t)
	s.host.SetDatastore(hypervisor.Datastore{Name: "d1", ID: "id-d1", Path: "/d1", State: hypervisor.Offline, Detail: "it is an empty mount point"})
	f := finding(t, s.doctor(t), "datastore d1")
	assert.Equal(t, levelError, f.Level)
	assert.Equal(t, "offline: it is an empty mount point", f.Detail)
	assert.Contains(t, f.Remedy, "/d1")
	st, err := s.admin(t).Status(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"datastore d1: offline: it is an empty mount point"}, st.Problems)
}

func TestDatastoreFindingsByFreeSpace(t *testing.T) {
	gib := int64(volspec.GiB)
	for _, c := range []struct {
		free  int64
		level string
	}{{50 * gib, levelOK}, {5 * gib, levelOK}, {4 * gib, levelWarning}, {gib / 8, levelError}, {0, levelError}} {
		f := datastoreFindings([]wire.Datastore{{Name: "d", State: "online", Free: c.free, Capacity: 100 * gib}}, localWords{}.storeRemedy)
		assert.Equal(t, c.level, f[0].Level, c.free)
	}
	f := datastoreFindings([]wire.Datastore{{Name: "d", State: "read-only", Free: gib, Capacity: gib}}, localWords{}.storeRemedy)
	assert.Equal(t, levelError, f[0].Level)
}

// What to do about a datastore is in the words of where it is.
func TestDatastoreFindingsByHypervisor(t *testing.T) {
	for _, c := range []struct {
		name   string
		remedy func(wire.Datastore) string
		state  hypervisor.DatastoreState
		says   string
		not    string
	}{
		{"local", localWords{}.storeRemedy, hypervisor.Offline, "mount it at /d", "vSphere"},
		{"local", localWords{}.storeRemedy, hypervisor.ReadOnlyStore, "mount it writable", "vSphere"},
		{"vsphere", vsphereWords{}.storeRemedy, hypervisor.Offline, "in vSphere", "mount"},
		{"vsphere", vsphereWords{}.storeRemedy, hypervisor.ReadOnlyStore, "in vSphere", "mount"},
	} {
		f := datastoreFindings([]wire.Datastore{{Name: "d", Path: "/d", State: string(c.state)}}, c.remedy)
		assert.Equal(t, levelError, f[0].Level, "%s %s", c.name, c.state)
		assert.Contains(t, f[0].Remedy, c.says, "%s %s", c.name, c.state)
		assert.NotContains(t, f[0].Remedy, c.not, "%s %s", c.name, c.state)
	}
}

func TestDoctorFindsSocketsThatChanged(t *testing.T) {
	s := newSite(t, twoVMs).start(t).ready(t)
	require.NoError(t, os.Remove(s.dir+"/run/guest/vm1.sock"))
	require.NoError(t, os.Chmod(s.dir+"/run/guest/vm2.sock", 0o666))
	all := s.doctor(t)
	assert.Equal(t, levelError, finding(t, all, "socket of VM vm1").Level)
	assert.Equal(t, levelWarning, finding(t, all, "socket of VM vm2").Level)
	assert.Contains(t, finding(t, all, "socket of VM vm2").Detail, "0666 instead of 0600")
}

func TestDoctorFindsAttachmentsThatTheCatalogDoesNotKnow(t *testing.T) {
	s := newSite(t, twoVMs).start(t).ready(t)
	ref := hypervisor.Ref{Datastore: "d1", Group: "11111111-1111-1111-1111-111111111111", Volume: "22222222-2222-2222-2222-222222222222"}
	require.NoError(t, s.host.Memory.Create(t.Context(), ref, volspec.GiB, volspec.Thin))
	_, err := s.host.Attach(t.Context(), s.host.id("vm1"), ref, false)
	require.NoError(t, err)
	f := finding(t, s.doctor(t), "attachments")
	assert.Equal(t, levelWarning, f.Level)
	assert.Contains(t, f.Detail, string(ref.Volume))
}

func TestHealthFinding(t *testing.T) {
	r := volume.Record{Key: volume.Key{Datastore: "ds-0", Name: "db"}, Health: "its disk lies at [ds-1] vm-0/vm-0_1.vmdk; it is moved back when VM vm-0 lets go of it"}
	assert.Equal(t, wire.Finding{
		Level: levelWarning, Check: "volume db@ds-0", Detail: "its disk lies at [ds-1] vm-0/vm-0_1.vmdk", Remedy: "it is moved back when VM vm-0 lets go of it",
	}, healthFinding(r))
}

func TestLoopFinding(t *testing.T) {
	assert.Equal(t, wire.Finding{Level: levelOK, Check: "loop devices", Detail: "available, the next free one is loop7"}, loopFinding(7, nil))
	f := loopFinding(0, os.ErrPermission)
	assert.Equal(t, levelError, f.Level)
	assert.NotEmpty(t, f.Remedy)
}
