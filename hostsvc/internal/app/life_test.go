package app

import (
	"context"
	"net/http"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/account/oidc"
	"mooring.dev/mooring/hostsvc/internal/audit"
	"mooring.dev/mooring/hostsvc/internal/transporter"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/invite"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/transport"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// live is a service's life, from the first visit on, in which every endpoint is
// used that changes something.
func (d *deeds) live() {
	const first, second = "seven quiet harbours", "nine small lanterns"
	stranger := d.visitor()
	d.refused(stranger, "POST /first-admin", wire.FirstAdmin{Code: "wrong", User: "root", Password: first, Mode: "multi"})
	root := d.visitor()
	root.enter("root", d.do(root, "POST /first-admin", wire.FirstAdmin{Code: d.d.web.first.code, User: "root", Password: first, Mode: "multi"}))
	d.refused(stranger, "POST /login", wire.Login{User: "root", Password: "wrong"})
	d.refused(stranger, "POST /login", wire.Login{Tenant: "absent", User: "root", Password: "wrong"})

	d.ownAccount(root, first)
	d.master(root)
	ann := d.tenant(root, second)
	d.acting(root)
	d.moving(root)
	d.backups(root, ann, d.storage(root, ann))
	d.virtualMachines(root)
	d.reads(root, ann)
	d.denials(root)
	d.mistakes(root)
	d.show(first+"s", second)
	d.farewell(root, ann)
}

// ownAccount is what people do with their own.
func (d *deeds) ownAccount(root *person, password string) {
	other := d.login("root", wire.Login{User: "root", Password: password})
	d.do(root, "PATCH /session/profile", wire.SessionProfile{Zone: new("UTC")})
	d.refused(root, "PUT /session/password", wire.ChangePassword{Old: "wrong", New: password + "s"})
	d.do(root, "PUT /session/password", wire.ChangePassword{Old: password, New: password + "s"})
	assert.Equal(d.t, http.StatusUnauthorized, d.refused(other, "GET /status", nil).status)
	d.login("root", wire.Login{User: "root", Password: password + "s"})
	for _, s := range read[[]wire.OpenSession](d.do(root, "GET /session/sessions", nil)) {
		if !s.Current {
			d.do(root, "DELETE /session/sessions/{session}", nil, s.ID)
		}
	}
	secret := read[wire.Secret](d.do(root, "POST /session/totp", nil))
	d.refused(root, "PUT /session/totp", wire.ConfirmTOTP{Code: "000000"})
	d.do(root, "PUT /session/totp", wire.ConfirmTOTP{Code: code(d.t, secret.Secret)})
	d.do(root, "DELETE /session/totp", nil)
	tok := read[wire.Token](d.do(root, "POST /session/tokens", wire.CreateToken{Name: "script"}))
	d.do(d.bearer("script of root", tok.Secret), "DELETE /session/tokens/{token}", nil, tok.ID)
	d.do(root, "POST /session/tokens", wire.CreateToken{Name: "other"})
	d.do(root, "DELETE /session/tokens/{token}", nil, "other")
}

// master is what is the service's own.
func (d *deeds) master(root *person) {
	made := read[wire.User](d.do(root, "POST /users", wire.CreateUser{Name: "vera", Role: volspec.MasterViewer}))
	require.NotEmpty(d.t, made.Password)
	d.do(root, "PATCH /users/{user}", wire.UpdateUser{Description: new("looks")}, "vera")
	d.do(root, "DELETE /users/{user}", nil, "vera")
	d.do(root, "PUT /settings", wire.Settings{Product: "Harbour", Mode: wire.ModeMulti})
	d.do(root, "PUT /pool", wire.Amounts{VMs: new(int64(20))})
	d.do(root, "PUT /notifications", wire.Notifications{Webhooks: []wire.NotifyWebhook{{Name: "ops", URL: d.hook, Secret: hookSecret}}})
	d.do(root, "POST /notifications/test", nil)
	d.provider("")
	d.do(root, "DELETE /oidc", nil)
	require.NoError(d.t, d.d.catalog.Transporters().Update(d.t.Context(), func(tx transporter.Tx) error {
		return tx.PutTransporter(transporter.Transporter{Name: "site-b"})
	}))
	d.do(root, "PATCH /transporters/{transporter}", wire.UpdateTransporter{Description: new("in Bremen")}, "site-b")
	d.do(root, "DELETE /transporters/{transporter}", nil, "site-b")
	d.do(root, "POST /datastores/{datastore}/scan", wire.Scan{Adopt: true}, "d1")
}

// clientSecret is what a provider of OIDC knows the service by.
const clientSecret = "the client secret of a provider"

// provider lets people log in by OIDC as if it had been set.
func (d *deeds) provider(g volspec.VMGroupID) {
	sealed, err := d.d.ring.Seal([]byte(clientSecret), "oidc client "+string(g))
	require.NoError(d.t, err)
	d.hidden = append(d.hidden, hidden{"secret", clientSecret, -1})
	require.NoError(d.t, d.d.catalog.Providers().Update(d.t.Context(), func(tx oidc.Tx) error {
		return tx.PutProvider(oidc.Provider{Group: g, Sealed: sealed, Body: oidc.Settings{Issuer: "https://id.example", ClientID: "c"}})
	}))
}

// tenant makes the tenant team, with a user who administers it.
func (d *deeds) tenant(root *person, password string) (ann *person) {
	d.do(root, "POST /tenants", wire.CreateTenant{
		CreateVMGroup: wire.CreateVMGroup{Name: "team", DefaultDatastore: "d1"}, Admin: &wire.CreateUser{Name: "ann", Password: password},
	})
	d.do(root, "PATCH /vmgroups/{vmgroup}/tenant", wire.UpdateTenant{GuestAccess: new(true)}, "team")
	d.do(root, "PUT /vmgroups/{vmgroup}/allowance", wire.Amounts{VMs: new(int64(5))}, "team")
	d.do(root, "PUT /vmgroups/{vmgroup}/backup-limit", wire.SetBackupLimit{MaxStored: volspec.GiB}, "team")
	d.do(root, "PUT /vmgroups/{vmgroup}/transporters", wire.SetTransporters{Transporters: []string{wire.BuiltInTransporter}}, "team")
	d.do(root, "POST /vmgroups/{vmgroup}/access", wire.SetAccess{Datastore: "d2"}, "team")
	d.do(root, "DELETE /vmgroups/{vmgroup}/access/{datastore}", nil, "team", "d2")
	d.do(root, "PATCH /vmgroups/{vmgroup}/access/{datastore}", wire.SetAccess{AllowCreate: new(true), MaxSize: new(64 * volspec.MiB)}, "team", "d1")
	d.do(root, "PUT /vmgroups/{vmgroup}/vms", wire.VMList{VMs: []string{"vm1"}}, "team")
	d.do(root, "POST /vmgroups/{vmgroup}/vms", wire.VMList{VMs: []string{"vm2"}}, "team")
	d.do(root, "DELETE /vmgroups/{vmgroup}/vms?vm=vm2", nil, "team")
	d.host.MakeFolder("Team")
	d.do(root, "POST /vmgroups/{vmgroup}/folders", wire.GrantFolder{Folder: "Team"}, "team")
	d.do(root, "DELETE /vmgroups/{vmgroup}/folders?folder=Team", nil, "team")

	ann = d.login("ann", wire.Login{Tenant: "team", User: "ann", Password: password})
	d.do(ann, "PUT /vmgroups/{vmgroup}/profile", wire.Profile{Email: "team@example.com"}, "team")
	d.do(ann, "PATCH /vmgroups/{vmgroup}/security", wire.UpdateSecurity{ContentRefused: new(true)}, "team")
	d.do(ann, "PATCH /vmgroups/{vmgroup}/security", wire.UpdateSecurity{ContentRefused: new(false)}, "team")
	d.do(ann, "POST /vmgroups/{vmgroup}/users", wire.CreateUser{Name: "otto", Role: volspec.Operator}, "team")
	d.do(ann, "PATCH /vmgroups/{vmgroup}/users/{user}", wire.UpdateUser{Enabled: new(false)}, "team", "otto")
	d.do(ann, "DELETE /vmgroups/{vmgroup}/users/{user}", nil, "team", "otto")
	d.do(ann, "PUT /vmgroups/{vmgroup}/notifications", wire.Notifications{Webhooks: []wire.NotifyWebhook{{Name: "own", URL: d.hook, Secret: hookSecret}}}, "team")
	d.do(ann, "POST /vmgroups/{vmgroup}/notifications/test", nil, "team")
	d.provider(d.group("team"))
	d.do(ann, "DELETE /vmgroups/{vmgroup}/oidc", nil, "team")
	return ann
}

func (d *deeds) group(name string) (id volspec.VMGroupID) {
	d.t.Helper()
	if name == "" {
		return ""
	}
	require.NoError(d.t, d.d.catalog.AuditLog().View(d.t.Context(), func(tx audit.Tx) error {
		g, err := tx.GroupByName(name)
		id = g.ID
		return err
	}))
	return id
}

// moving is what brings a tenant to another service, and what a service makes of
// one that comes.
func (d *deeds) moving(root *person) {
	d.refused(root, "POST /vmgroups/{vmgroup}/save", wire.SaveTenant{Passphrase: "short"}, "team")
	b := read[wire.Bundle](d.do(root, "POST /vmgroups/{vmgroup}/save", wire.SaveTenant{Passphrase: movePassphrase}, "team"))
	d.refused(root, "POST /tenants/load", wire.LoadTenant{Bundle: b, Passphrase: movePassphrase})
	d.refused(root, "POST /tenants/load", wire.LoadTenant{Bundle: b, Passphrase: movePassphrase + "s", Name: "moved"})
	d.do(root, "POST /tenants/load", wire.LoadTenant{Bundle: b, Passphrase: movePassphrase, Name: "moved"})
	d.do(root, "DELETE /vmgroups/{vmgroup}/tenant?now=true", nil, "moved")
}

// acting is what a user of the master does for a tenant.
func (d *deeds) acting(root *person) {
	d.do(root, "PUT /session/act-as", wire.ActAs{VMGroup: "team", Reason: "ticket 7"})
	d.do(root, "PUT /vmgroups/{vmgroup}/profile", wire.Profile{Phone: "1"}, "team")
	d.do(root, "DELETE /session/act-as", nil)
}

// storage is volumes, as people and as the VM see them.
func (d *deeds) storage(root, ann *person) wire.Volume {
	v := read[wire.Volume](d.do(ann, "POST /vmgroups/{vmgroup}/volumes", wire.CreateVolume{Name: "db", Options: map[string]string{"size": "16mb"}}, "team"))
	d.do(ann, "PATCH /vmgroups/{vmgroup}/volumes/{name}", wire.SetVolume{Protect: new(false)}, "team", "db")
	d.do(ann, "POST /vmgroups/{vmgroup}/volumes/{name}/snapshots", wire.CreateSnapshot{Name: "s"}, "team", "db")
	d.do(ann, "DELETE /vmgroups/{vmgroup}/volumes/{name}/snapshots/{snapshot}", nil, "team", "db", "s")
	d.do(ann, "DELETE /vmgroups/{vmgroup}/volumes/{name}", nil, "team", "db")
	d.do(ann, "POST /vmgroups/{vmgroup}/volumes/{name}/undelete", wire.Undelete{}, "team", "db")

	vm := d.socket("vm1", d.dir+"/run/guest/vm1.sock")
	d.do(vm, "POST /volumes", wire.CreateVolume{Name: "own", Options: map[string]string{"size": "16mb"}})
	d.refused(vm, "POST /volumes", wire.CreateVolume{Name: "large", Options: map[string]string{"size": "65mb"}})
	d.do(root, "PATCH /vmgroups/{vmgroup}/volumes/{name}", wire.SetVolume{Protect: new(true)}, "team", "own")
	d.refused(vm, "DELETE /volumes/{name}", nil, "own")
	d.do(root, "PATCH /vmgroups/{vmgroup}/volumes/{name}", wire.SetVolume{Protect: new(false)}, "team", "own")
	a := read[wire.Attachment](d.do(vm, "POST /volumes/{name}/attach", wire.Attach{BootID: "b"}, "own"))
	d.do(vm, "POST /volumes/{name}/format", wire.SetFormat{Epoch: a.Epoch, State: volspec.Formatting}, "own")
	d.do(vm, "POST /heartbeat", wire.Heartbeat{BootID: "b"})
	d.do(vm, "POST /volumes/{name}/detach", wire.Detach{}, "own")
	d.do(vm, "POST /volumes/{name}/attach", wire.Attach{BootID: "b"}, "own")
	d.do(root, "POST /vmgroups/{vmgroup}/volumes/{name}/detach", wire.DetachVolume{Force: true}, "team", "own")
	d.do(root, "POST /vmgroups/{vmgroup}/volumes/{name}/resize", wire.Resize{Size: 32 * volspec.MiB}, "team", "own")
	d.do(vm, "DELETE /volumes/{name}", nil, "own")
	return v
}

// backups is everything about repositories, policies, points and jobs.
func (d *deeds) backups(root, ann *person, v wire.Volume) {
	const one, at = "/vmgroups/{vmgroup}/repositories", "/vmgroups/{vmgroup}/points/{point}"
	place := func(name string) wire.CreateRepository {
		return wire.CreateRepository{Name: name, Location: wire.Location{Type: "directory", Path: d.t.TempDir()}}
	}
	d.do(root, "POST "+one, place("main"), "team")
	d.do(root, "POST /repositories", place("spare"))
	d.do(root, "POST /repositories/{repository}/assign", wire.Assign{VMGroup: "team"}, "spare")
	d.do(root, "POST /repositories", place("idle"))
	d.do(root, "DELETE /repositories/{repository}", nil, "idle")
	d.do(ann, "POST "+one+"/{repository}/check", nil, "team", "main")
	d.do(ann, "POST "+one+"/{repository}/kit", wire.KitOptions{}, "team", "main")
	d.do(root, "PUT "+one+"/{repository}/credentials", wire.Credentials{SecretKey: "a secret key of a place"}, "team", "main")
	d.do(root, "POST /keys/rotate", nil)
	d.do(root, "POST /self-backup", nil)
	d.do(root, "POST /self-backup/kit", nil)

	policy := wire.Policy{Name: "daily", Volumes: []string{"db"}, Repository: "main", Schedule: "daily", Keep: wire.Keep{Last: 9}}
	d.do(ann, "POST /vmgroups/{vmgroup}/policies", policy, "team")
	d.do(ann, "PUT /vmgroups/{vmgroup}/policies/{policy}", policy, "team", "daily")
	d.do(ann, "POST /vmgroups/{vmgroup}/policy-preview", policy, "team")
	d.do(ann, "POST /vmgroups/{vmgroup}/prune", wire.Prune{Policy: "daily"}, "team")

	d.paint(v, d.group("team"))
	jobs := read[[]wire.Job](d.do(ann, "POST /vmgroups/{vmgroup}/backups", wire.RunBackup{Volumes: []string{"db"}, Repository: "main"}, "team"))
	p := d.end(ann, "team", jobs[0], "done").Point
	d.do(ann, "DELETE /vmgroups/{vmgroup}/policies/{policy}", nil, "team", "daily")
	d.do(ann, "GET "+at+"/files?path=/", nil, "team", p)
	d.do(ann, "GET "+at+"/file?path=/hello", nil, "team", p)
	d.do(ann, "GET "+at+"/tar?path=/hello", nil, "team", p)
	d.do(ann, "GET "+at+"/image", nil, "team", p)
	d.refused(ann, "GET "+at+"/file?path=/absent", nil, "team", p)
	d.do(ann, "PATCH "+at, wire.SetPoint{Hold: new(true)}, "team", p)
	d.refused(ann, "DELETE "+at, nil, "team", p)
	d.do(ann, "PATCH "+at, wire.SetPoint{Hold: new(false)}, "team", p)
	d.end(ann, "team", read[wire.Job](d.do(ann, "POST "+at+"/verify", wire.RunVerify{Mode: "quick"}, "team", p)), "done")
	d.end(ann, "team", read[wire.Job](d.do(ann, "POST "+at+"/drill", nil, "team", p)), "done")
	d.end(ann, "team", read[wire.Job](d.do(ann, "POST "+at+"/copy", wire.RunCopy{Repository: "spare"}, "team", p)), "done")
	d.end(ann, "team", read[wire.Job](d.do(ann, "POST "+at+"/restore", wire.RunRestore{Name: "again"}, "team", p)), "done")
	d.halt(ann, p)
	d.do(ann, "DELETE "+at, nil, "team", p)
	d.do(root, "DELETE "+one+"/{repository}", nil, "team", "main")
}

// halt cancels a restore while the datastore keeps it waiting.
func (d *deeds) halt(ann *person, point string) {
	d.host.hold.Lock()
	restore := read[wire.Job](d.do(ann, "POST /vmgroups/{vmgroup}/points/{point}/restore", wire.RunRestore{Name: "more"}, "team", point))
	d.do(ann, "POST /vmgroups/{vmgroup}/jobs/{job}/cancel", nil, "team", string(restore.ID))
	d.host.hold.Unlock()
	d.end(ann, "team", restore, "canceled")
}

// virtualMachines is how VMs on the network are let in.
func (d *deeds) virtualMachines(root *person) {
	t := d.t
	in := read[wire.Invitation](d.do(root, "POST /vms/{vm}/enroll", wire.Invite{}, "vm1"))
	pin, err := transport.ReadPin(in.CA)
	require.NoError(t, err)
	once, err := invite.Parse(in.Code)
	require.NoError(t, err)
	key, der := csr(t)
	var first wire.Certificate
	d.call("stranger", "POST /enroll", func(ctx context.Context) error {
		first, err = hostclient.Enroll(ctx, in.URL, pin, once, der, hostclient.Options{})
		return err
	})
	d.call("stranger", "POST /enroll", func(ctx context.Context) error {
		_, err := hostclient.Enroll(ctx, in.URL, pin, once, der, hostclient.Options{})
		return err
	})
	vm := d.certified(t, certificate(first, key), pin)
	_, again := csr(t)
	d.call("vm1", "POST /certificate", func(ctx context.Context) error {
		_, err := vm.Renew(ctx, wire.Renew{Request: again})
		return err
	})
	d.do(root, "POST /vms/{vm}/revoke", nil, "vm1")
	d.call("vm1", "POST /certificate", func(ctx context.Context) error {
		_, err := vm.Renew(ctx, wire.Renew{Request: again})
		return err
	})
}

// call makes a request that needs the client of VMs.
func (d *deeds) call(who, endpoint string, do func(context.Context) error) {
	id := log.NewRequest()
	a := reply{t: d.t, status: http.StatusOK}
	if err := do(log.WithRequest(d.t.Context(), id)); err != nil {
		a.status = http.StatusForbidden
	}
	a.lines = d.audited(id, false)
	d.tell(&person{name: who}, endpoint, a)
}

// farewell is what ends.
func (d *deeds) farewell(root, ann *person) {
	d.do(ann, "POST /logout", nil)
	d.do(root, "POST /vmgroups", wire.CreateVMGroup{Name: "crew"})
	d.do(root, "PATCH /vmgroups/{vmgroup}", wire.UpdateVMGroup{NewName: new("gang")}, "crew")
	d.do(root, "DELETE /vmgroups/{vmgroup}", nil, "gang")
	d.do(root, "DELETE /vmgroups/{vmgroup}/tenant?with_data=true", nil, "team")
}
