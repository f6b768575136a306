package hostclient

import (
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// What every method puts on the wire.
func TestEveryMethod(t *testing.T) {
	var got, answer string
	path := socket(t)
	host(t, path, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		got = r.Method + " " + r.RequestURI + " " + string(body)
		_, _ = io.WriteString(w, answer)
	})
	g, a := guest(t, path, Options{}), admin(t, path, Options{})
	ctx := t.Context()
	only := func(_ any, err error) error { return err }
	yes, size := true, 10*volspec.GiB
	for _, tc := range []struct {
		call func() error
		want string
		list bool
	}{
		{func() error { return only(g.Hello(ctx)) }, "GET /api/v1/hello ", false},
		{func() error {
			return only(g.Create(ctx, wire.CreateVolume{Name: "v", Options: map[string]string{"size": "1gb"}}))
		}, `POST /api/v1/volumes {"name":"v","options":{"size":"1gb"}}`, false},
		{func() error { return g.Remove(ctx, "v@ds") }, "DELETE /api/v1/volumes/v@ds ", false},
		{func() error { return only(g.Get(ctx, "a b")) }, "GET /api/v1/volumes/a%20b ", false},
		{func() error { return only(g.List(ctx)) }, "GET /api/v1/volumes ", false},
		{func() error { return only(g.Attach(ctx, "v", wire.Attach{BootID: "b", WaitMS: 5})) }, `POST /api/v1/volumes/v/attach {"boot_id":"b","wait_ms":5}`, false},
		{func() error { return g.Detach(ctx, "v", wire.Detach{Epoch: 7}) }, `POST /api/v1/volumes/v/detach {"epoch":7}`, false},
		{func() error { return g.SetFormat(ctx, "v", wire.SetFormat{Epoch: 7, State: volspec.Formatted}) }, `POST /api/v1/volumes/v/format {"epoch":7,"state":"formatted"}`, false},
		{func() error { return only(g.Heartbeat(ctx, wire.Heartbeat{BootID: "b"})) }, `POST /api/v1/heartbeat {"boot_id":"b","plugin":"","uses":null}`, false},

		{func() error { return only(g.Renew(ctx, wire.Renew{Request: []byte{1}})) }, `POST /api/v1/certificate {"request":"AQ=="}`, false},
		{func() error {
			return only(NewStranger("unix://"+path, Options{}).Enroll(ctx, wire.Enroll{Code: "c", Proof: []byte{1}, Request: []byte{2}}))
		}, `POST /api/v1/enroll {"code":"c","proof":"AQ==","request":"Ag=="}`, false},
		{func() error { return only(a.InviteVM(ctx, "web 01", wire.Invite{GuestInfo: true})) }, `POST /api/v1/vms/web%2001/enroll {"guestinfo":true}`, false},
		{func() error { return a.RevokeVM(ctx, "v") }, "POST /api/v1/vms/v/revoke ", false},
		{func() error { return only(a.Hello(ctx)) }, "GET /api/v1/hello ", false},
		{func() error { return only(a.Status(ctx)) }, "GET /api/v1/status ", false},
		{func() error { return only(a.Doctor(ctx)) }, "GET /api/v1/doctor ", true},
		{func() error { return only(a.DoctorIsolation(ctx)) }, "POST /api/v1/doctor/isolation ", true},
		{func() error { return only(a.Audit(ctx, AuditQuery{VMGroup: "g", Limit: 9})) }, "GET /api/v1/audit?limit=9&vmgroup=g ", false},
		{func() error {
			return only(a.UserList(ctx, "g", ListQuery{Words: "a b", Sort: "role", Desc: true, After: "c", Limit: 5}))
		}, "GET /api/v1/vmgroups/g/users?after=c&desc=true&limit=5&q=a+b&sort=role ", true},
		{func() error { return only(a.UserList(ctx, "", ListQuery{})) }, "GET /api/v1/users ", true},
		{func() error { return only(a.PolicyList(ctx, "g", ListQuery{})) }, "GET /api/v1/vmgroups/g/policies ", true},
		{func() error { return only(a.RepositoryList(ctx, "", ListQuery{})) }, "GET /api/v1/repositories ", true},
		{func() error { return only(a.RepositoryList(ctx, "g", ListQuery{})) }, "GET /api/v1/vmgroups/g/repositories ", true},
		{func() error { return only(a.AlarmList(ctx, ListQuery{Desc: true})) }, "GET /api/v1/alarms?desc=true ", true},
		{func() error { return only(a.TransporterList(ctx, ListQuery{Limit: 2})) }, "GET /api/v1/transporters?limit=2 ", true},
		{func() error { return only(a.VerifyAudit(ctx, "g", []string{"a", "b"})) }, "GET /api/v1/audit/verify?head=a&head=b&vmgroup=g ", true},
		{func() error { return only(a.Audit(ctx, AuditQuery{})) }, "GET /api/v1/audit ", false},
		{func() error { return only(a.VMs(ctx)) }, "GET /api/v1/vms ", true},
		{func() error { return only(a.Datastores(ctx)) }, "GET /api/v1/datastores ", true},
		{func() error { return only(a.Scan(ctx, "d", wire.Scan{Adopt: true})) }, `POST /api/v1/datastores/d/scan {"adopt":true}`, false},

		{func() error { return only(a.VMGroups(ctx)) }, "GET /api/v1/vmgroups ", true},
		{func() error { return only(a.VMGroup(ctx, "g")) }, "GET /api/v1/vmgroups/g ", false},
		{func() error { return only(a.CreateVMGroup(ctx, wire.CreateVMGroup{Name: "g"})) }, `POST /api/v1/vmgroups {"name":"g"}`, false},
		{func() error { return only(a.UpdateVMGroup(ctx, "g", wire.UpdateVMGroup{NewName: new("h")})) }, `PATCH /api/v1/vmgroups/g {"new_name":"h"}`, false},
		{func() error { return a.RemoveVMGroup(ctx, "g", false, false) }, "DELETE /api/v1/vmgroups/g ", false},
		{func() error { return a.RemoveVMGroup(ctx, "g", true, true) }, "DELETE /api/v1/vmgroups/g?force=true&remove_volumes=true ", false},
		{func() error { return only(a.ExportVMGroup(ctx, "g")) }, "GET /api/v1/vmgroups/g/export ", false},
		{func() error { return only(a.GroupVMs(ctx, "g")) }, "GET /api/v1/vmgroups/g/vms ", true},
		{func() error { return a.AddVMs(ctx, "g", []string{"x", "y"}) }, `POST /api/v1/vmgroups/g/vms {"vms":["x","y"]}`, false},
		{func() error { return a.ReplaceVMs(ctx, "g", []string{"x"}) }, `PUT /api/v1/vmgroups/g/vms {"vms":["x"]}`, false},
		{func() error { return a.RemoveVMs(ctx, "g", []string{"x y", "z"}) }, "DELETE /api/v1/vmgroups/g/vms?vm=x+y&vm=z ", false},
		{func() error { return only(a.AccessRows(ctx, "g")) }, "GET /api/v1/vmgroups/g/access ", true},
		{func() error { return a.AddAccess(ctx, "g", wire.SetAccess{Datastore: "d", MaxSize: &size}) }, `POST /api/v1/vmgroups/g/access {"datastore":"d","max_size":"10gb"}`, false},
		{func() error { return a.SetAccess(ctx, "g", "d", wire.SetAccess{AllowCreate: &yes}) }, `PATCH /api/v1/vmgroups/g/access/d {"datastore":"","allow_create":true}`, false},
		{func() error { return a.RemoveAccess(ctx, "g", "d") }, "DELETE /api/v1/vmgroups/g/access/d ", false},
		{func() error { return only(a.GroupFolders(ctx, "g")) }, "GET /api/v1/vmgroups/g/folders ", true},
		{func() error { return a.AddFolder(ctx, "g", "a/b") }, `POST /api/v1/vmgroups/g/folders {"folder":"a/b"}`, false},
		{func() error { return a.RemoveFolder(ctx, "g", "/d/vm/a b") }, "DELETE /api/v1/vmgroups/g/folders?folder=%2Fd%2Fvm%2Fa+b ", false},

		{func() error {
			return only(a.Volumes(ctx, VolumesQuery{VMGroup: "*", State: "ready", Datastore: "d", After: "z", Limit: 3}))
		}, "GET /api/v1/volumes?after=z&datastore=d&limit=3&state=ready&vmgroup=%2A ", false},
		{func() error { return only(a.CreateVolume(ctx, "g", wire.CreateVolume{Name: "v"})) }, `POST /api/v1/vmgroups/g/volumes {"name":"v"}`, false},
		{func() error { return only(a.Volume(ctx, "g", "v")) }, "GET /api/v1/vmgroups/g/volumes/v ", false},
		{func() error { return only(a.SetVolume(ctx, "g", "v", wire.SetVolume{Protect: &yes})) }, `PATCH /api/v1/vmgroups/g/volumes/v {"protect":true}`, false},
		{func() error { return a.RemoveVolume(ctx, "g", "v", true) }, "DELETE /api/v1/vmgroups/g/volumes/v?purge=true ", false},
		{func() error { return only(a.ResizeVolume(ctx, "g", "v", wire.Resize{Size: size})) }, `POST /api/v1/vmgroups/g/volumes/v/resize {"size":"10gb"}`, false},
		{func() error { return a.DetachVolume(ctx, "g", "v", wire.DetachVolume{Force: true}) }, `POST /api/v1/vmgroups/g/volumes/v/detach {"force":true}`, false},
		{func() error { return only(a.UndeleteVolume(ctx, "g", "v", wire.Undelete{NewName: "w"})) }, `POST /api/v1/vmgroups/g/volumes/v/undelete {"new_name":"w"}`, false},
		{func() error { return only(a.Snapshots(ctx, "g", "v")) }, "GET /api/v1/vmgroups/g/volumes/v/snapshots ", true},
		{func() error { return only(a.CreateSnapshot(ctx, "g", "v", wire.CreateSnapshot{Name: "s"})) }, `POST /api/v1/vmgroups/g/volumes/v/snapshots {"name":"s"}`, false},
		{func() error { return a.DeleteSnapshot(ctx, "g", "v", "s") }, "DELETE /api/v1/vmgroups/g/volumes/v/snapshots/s ", false},
		{func() error { return only(a.Dashboard(ctx, "g", "Europe/Berlin")) }, "GET /api/v1/dashboard?vmgroup=g&zone=Europe%2FBerlin ", false},
		{func() error {
			return only(a.Calendar(ctx, CalendarQuery{VMGroup: "g", From: "2026-03-01", To: "2026-04-01", Zone: "UTC", Policy: "p", Limit: 5}))
		}, "GET /api/v1/calendar?from=2026-03-01&limit=5&policy=p&to=2026-04-01&vmgroup=g&zone=UTC ", false},
		{func() error { return only(a.Search(ctx, "", "a b")) }, "GET /api/v1/search?q=a+b ", true},
	} {
		got, answer = "", "{}"
		if tc.list {
			answer = "[]"
		}
		require.NoError(t, tc.call(), tc.want)
		assert.Equal(t, tc.want, got)
	}
}

// Names reach the service as they were, and never change the path's shape.
func TestOddNamesArriveWhole(t *testing.T) {
	var got string
	path := socket(t)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/vmgroups/{g}/volumes/{v}", func(w http.ResponseWriter, r *http.Request) {
		got = r.PathValue("g") + "|" + r.PathValue("v")
		_, _ = io.WriteString(w, "{}")
	})
	host(t, path, mux.ServeHTTP)
	a := admin(t, path, Options{})
	for _, name := range []string{"a b", "a/b", "../../status", "..", ".", "100%", "%2F", "a?b=c", "a#b", "ü@ds", "名前", "a;b", "a&b", "a+b", "\"", "//"} {
		_, err := a.Volume(t.Context(), "g", name)
		require.NoError(t, err, name)
		assert.Equal(t, "g|"+name, got)
	}
	_, err := a.Volume(context.Background(), "g", "")
	assert.Equal(t, errkind.Invalid, errkind.Of(err))
	assert.Equal(t, "a name is empty: give it at least one character", errkind.Text(err))
}
