package portal_test

import (
	"time"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// fillTenants gives a world the answers about tenants, users and the rest that
// the pages of administrators ask for.
func (w *world) fillTenants() {
	now := time.Now().UTC().Truncate(time.Second)
	acme := wire.Tenant{
		ID: "g1", Name: "acme", Description: "Chandler of <ropes> & sails", State: wire.TenantEnabled, Health: wire.HealthAlarms, Alarms: 2,
		Profile:   wire.Profile{Email: "ops@acme.example", Phone: "+49 30 5550100", Website: "https://acme.example", Address: "1 Harbour Road", Labels: []string{"gold", "north"}},
		Readiness: wire.Readiness{Ready: false, Missing: []string{"repositories"}, Message: "Your service is not configured: it has no repository. Ask your provider to add one."},
		Users:     2, VMs: 2, Volumes: 5,
		Allowance: wire.Allowance{
			Sockets: wire.Share{Used: 3, Bounded: true, Desired: 2, Effective: 3}, VMs: wire.Share{Used: 2},
			Volumes: wire.Share{Used: 5, Bounded: true, Desired: 20, Effective: 20}, Storage: wire.Share{Used: 300 << 30, Bounded: true, Desired: 500 << 30, Effective: 500 << 30},
		},
	}
	globex := wire.Tenant{ID: "g2", Name: "globex", State: wire.TenantDisabled, Health: wire.HealthGood, Readiness: wire.Readiness{Ready: true}}
	group := wire.VMGroup{ID: "g1", Name: "acme", DefaultDatastore: "fast", VMs: []wire.VM{{Name: "web1", VMGroup: "acme", Power: "on", Datastore: "fast", LastSeen: now.Add(-time.Minute)}},
		Access: []wire.Access{{Datastore: "fast", AllowCreate: true, MaxSize: 10 << 30, TotalSize: 100 << 30, UsedBytes: 12 << 30}}, Folders: []volspec.Folder{"/dc/vm/acme"}}
	owner := wire.User{ID: "u3", Name: "owner", Tenant: "acme", Role: volspec.TenantAdmin, Enabled: true, Email: "owner@acme.example", Created: now, LastLogin: now.Add(-3 * time.Hour), TOTP: true, Sessions: 1}
	locked := wire.User{ID: "u5", Name: "late", Role: volspec.Operator, Enabled: true, Created: now, LockedUntil: now.Add(time.Hour)}
	pool := wire.Pool{Sockets: wire.PoolShare{Bounded: true, Size: 10, Delegated: 6, Used: 3}, Storage: wire.PoolShare{Used: 300 << 30, Delegated: 500 << 30}}
	repos := []wire.Repository{{Name: "main", VMGroup: "acme", State: "online", Location: wire.Location{Type: "directory", Path: "/srv/acme"}, Points: 12, Stored: 200 << 30}}
	notifications := wire.Notifications{Emails: []string{"ops@acme.example"}, Digest: "daily", Webhooks: []wire.NotifyWebhook{{Name: "chat", URL: "https://chat.example/hook"}}}
	entry := wire.AuditEntry{Time: now, Actor: "user:root", As: "acme", From: "192.0.2.7", VMGroup: "acme", Action: "vmgroup.users.create", Object: "owner", Outcome: "ok"}
	for path, a := range map[string]any{
		"/tenants": wire.TenantList{Tenants: []wire.Tenant{acme, globex}, Total: 2}, "/vmgroups/acme/tenant": acme, "/vmgroups/acme": group,
		"/pool": pool, "/vmgroups/acme/allowance": acme.Allowance, "/vms": []wire.VM{{Name: "web1", VMGroup: "acme", Power: "on", Datastore: "fast"}, {Name: "spare", Power: "off"}, {Name: "foreign", VMGroup: "globex"}},
		"/transporters": []wire.Transporter{{Name: "built-in", BuiltIn: true, State: "online", Host: "backup1", Version: "1.2.3", Tenants: []string{"acme", "globex"}, Seen: now},
			{Name: "branch", Description: "In the branch office", State: "offline", Host: "branch1", Seen: now.Add(-5 * time.Hour)}},
		"/status": wire.Status{Hypervisor: "vsphere"}, "/datastores": []wire.Datastore{{Name: "fast", Capacity: 1 << 40, Free: 400 << 30, State: "online"}, {Name: "large", Capacity: 8 << 40, Free: 3 << 40}},
		"/vmgroups/acme/folders": []wire.Folder{{Folder: "/dc/vm/acme", State: "there", VMs: []wire.VM{{Name: "web1"}}}}, "/vmgroups/acme/repositories": repos,
		"/repositories": append(repos, wire.Repository{Name: "spare", State: "prepared", Location: wire.Location{Type: "s3", Bucket: "spare", Endpoint: "s3.example"}}),
		"/users":        []wire.User{{ID: "u1", Name: "root", Role: volspec.MasterAdmin, Enabled: true, Created: now}, {ID: "u2", Name: "eye", Role: volspec.MasterViewer}},
		"/users/eye":    wire.User{ID: "u2", Name: "eye", Role: volspec.MasterViewer, Enabled: true, Created: now}, "/vmgroups/acme/users": []wire.User{owner, locked},
		"/vmgroups/acme/users/owner": owner, "/vmgroups/acme/users/late": locked,
		"/audit":         wire.AuditPage{Entries: []wire.AuditEntry{entry, {Time: now, Actor: "vm:web1", VMGroup: "acme", Action: "volume.create", Object: "db", Outcome: "quota", Detail: "over the limit"}}, Next: "n"},
		"/audit/verify":  []wire.AuditCheck{{Lines: 12, Whole: true, Head: "ab12"}, {VMGroup: "acme", Lines: 3, Broken: 2, Head: "cd34", Detail: "line 2 does not fit"}},
		"/settings":      wire.Settings{Product: "Test <Cloud>", Mode: wire.ModeMulti, URL: "https://portal.example"},
		"/notifications": notifications, "/vmgroups/acme/notifications": notifications,
		"/oidc":               wire.OIDC{Issuer: "https://login.example", ClientID: "mooring", Role: volspec.MasterViewer},
		"/vmgroups/acme/oidc": wire.OIDC{},
	} {
		w.answers["GET "+path] = a
	}
	w.answers["POST /notifications/test"] = []wire.NotifyTest{{Way: "email ops@acme.example", OK: true}, {Way: "webhook chat", Detail: "it answered 500"}}
}
