package isolation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// The tenants of a check have names and descriptions that begin so. Their own
// users cannot change either, so what a killed check left is found by both.
const (
	prefix      = "isolation-check-"
	description = "Made by mooring doctor isolation, which removes it. "
)

const (
	cleanTime = time.Minute
	jobTime   = 20 * time.Second
)

// user is who asks.
type user struct {
	role  volspec.Role
	token string
}

// world is the two tenants. Everything of the second that has a name has the
// same one, and says secret wherever there is room for text.
type world struct {
	admin    *hostclient.Admin
	base     string // of addresses
	own      string // the first tenant
	theirs   string // the second
	never    string // none
	secret   string
	password string // of all users
	users    []user // of the first, one of each role
	other    user   // of the second
	pairs    []pair
	without  []string
}

func (w *world) names() pair { return pair{theirs: w.theirs, never: w.never} }

// secrets are words that only the second tenant may read.
func (w *world) secrets() []string {
	words := []string{w.secret}
	for _, p := range w.pairs {
		if !strings.Contains(p.theirs, "/") {
			words = append(words, p.theirs)
		}
	}
	return words
}

func random() string { return strings.ReplaceAll(uuid.NewString(), "-", "")[:12] }

// mine is how the first tenant's things are named.
const mine = "mine"

// visitor is who has not logged in.
const visitor volspec.Role = "visitor"

// newWorld makes the tenants.
func newWorld(ctx context.Context, o Options) (*world, error) {
	w := &world{admin: o.Admin, base: "https://mooringd", own: prefix + random(), theirs: prefix + random(), never: prefix + random(), secret: "sealed-" + random(), password: random() + random()}
	for _, name := range []string{w.own, w.theirs} {
		says := "own"
		if name == w.theirs {
			says = w.secret
		}
		_, err := o.Admin.CreateTenant(ctx, wire.CreateTenant{
			CreateVMGroup: wire.CreateVMGroup{Name: name, Description: description + says},
			Profile:       wire.Profile{Address: says, Labels: []string{says}},
			GuestAccess:   true, GuestFiles: true,
		})
		if err != nil {
			return nil, err
		}
	}
	for _, role := range volspec.TenantRoles {
		u, err := w.login(ctx, o.API, w.own, "own-"+string(role), role, "own")
		if err != nil {
			return nil, err
		}
		w.users = append(w.users, u)
	}
	var err error
	if w.other, err = w.login(ctx, o.API, w.theirs, w.theirs, volspec.TenantAdmin, w.secret); err != nil {
		return nil, err
	}
	w.pairs = []pair{w.names(), {theirs: w.theirs + "/" + w.theirs, never: w.never + "/" + w.never}}
	w.users = append(w.users, user{role: visitor})
	for group, thing := range map[string]string{w.own: mine, w.theirs: w.theirs} {
		if err := w.store(ctx, group, thing); err != nil {
			w.without = append(w.without, "a volume: "+err.Error())
			continue
		}
		if o.Repository == "" {
			continue
		}
		if err := w.backup(ctx, group, thing, filepath.Join(o.Repository, thing)); err != nil {
			w.without = append(w.without, "a backup: "+err.Error())
		}
	}
	all, err := o.Admin.Users(ctx, w.theirs)
	if err != nil {
		return nil, err
	}
	for _, u := range all {
		w.found(w.theirs, "user", string(u.ID))
	}
	return w, nil
}

// login makes a user and gives it a token.
func (w *world) login(ctx context.Context, api http.RoundTripper, group, name string, role volspec.Role, says string) (user, error) {
	if _, err := w.admin.CreateUser(ctx, group, wire.CreateUser{Name: name, Role: role, Password: w.password, Description: says}); err != nil {
		return user{}, err
	}
	var s wire.Session
	h := http.Header{}
	if err := w.post(ctx, api, h, "/login", wire.Login{Tenant: group, User: name, Password: w.password}, &s); err != nil {
		return user{}, err
	}
	h.Set(wire.HeaderCSRF, s.CSRF)
	var t wire.Token
	if err := w.post(ctx, api, h, "/session/tokens", wire.CreateToken{Name: "t-" + name, Days: 1}, &t); err != nil {
		return user{}, err
	}
	return user{role, t.Secret}, nil
}

// post is one call of a user with a session, whose cookie h keeps.
func (w *world) post(ctx context.Context, api http.RoundTripper, h http.Header, path string, in, out any) error {
	data, err := json.Marshal(in)
	if err != nil {
		return errkind.Wrap(errkind.Internal, err, "make the request %s", path)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.base+wire.Prefix+path, bytes.NewReader(data))
	if err != nil {
		return errkind.Wrap(errkind.Internal, err, "make the request %s", path)
	}
	r.Header = h.Clone()
	resp, err := api.RoundTrip(r)
	if err != nil {
		return errkind.Wrap(errkind.Unavailable, err, "ask %s", path)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var p wire.Problem
		_ = json.NewDecoder(resp.Body).Decode(&p) // what is not told is not known
		return errkind.New(errkind.FromHTTPStatus(resp.StatusCode), "%s answers %d: %s", path, resp.StatusCode, p.Detail)
	}
	for _, c := range resp.Cookies() {
		h.Set("Cookie", c.Name+"="+c.Value)
	}
	return errkind.Wrap(errkind.Internal, json.NewDecoder(resp.Body).Decode(out), "read the answer of %s", path)
}

// store lets a tenant use a datastore and makes a volume with a snapshot there.
func (w *world) store(ctx context.Context, group, thing string) error {
	stores, err := w.admin.Datastores(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(stores, func(d wire.Datastore) bool { return d.State == "online" })
	if i < 0 {
		return errkind.New(errkind.Unavailable, "no datastore is online")
	}
	most := 256 * volspec.MiB
	if group == w.own {
		most = 4 * volspec.GiB // its users make volumes
	}
	if err := w.admin.AddAccess(ctx, group, wire.SetAccess{Datastore: stores[i].Name, AllowCreate: new(true), TotalSize: &most, DefaultDatastore: true}); err != nil {
		return err
	}
	v, err := w.admin.CreateVolume(ctx, group, wire.CreateVolume{Name: thing, Options: map[string]string{"size": "16mb"}})
	if err != nil {
		return err
	}
	w.found(group, "volume", string(v.ID))
	_, err = w.admin.CreateSnapshot(ctx, group, thing, wire.CreateSnapshot{Name: thing})
	return err
}

// backup makes a repository in dir, a policy and a recovery point of the volume
// of a tenant.
func (w *world) backup(ctx context.Context, group, thing, dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return errkind.Wrap(errkind.Unavailable, err, "make a place for a repository")
	}
	r, err := w.admin.CreateRepository(ctx, group, wire.CreateRepository{Name: thing, Location: wire.Location{Type: "directory", Path: dir}})
	if err != nil {
		return err
	}
	w.found(group, "repository", string(r.ID))
	if _, err := w.admin.CreatePolicy(ctx, group, wire.Policy{Name: thing, Repository: thing, Volumes: []string{thing}}); err != nil {
		return err
	}
	jobs, err := w.admin.Backup(ctx, group, wire.RunBackup{Volumes: []string{thing}, Repository: thing})
	if err != nil {
		return err
	}
	for _, j := range jobs {
		w.found(group, "job", string(j.ID))
		if j, err = w.admin.Job(ctx, group, j.ID, int(jobTime.Milliseconds())); err != nil {
			return err
		}
		if j.State != "done" {
			return errkind.New(errkind.Unavailable, "the backup of its volume is %s: %s", j.State, j.Error)
		}
	}
	points, err := w.admin.Points(ctx, group, hostclient.PointsQuery{})
	for _, p := range points.Points {
		w.found(group, "point", string(p.ID))
	}
	return err
}

// found notes an id of the second tenant.
func (w *world) found(group, kind, id string) {
	if group == w.theirs {
		w.pairs = append(w.pairs, randomIDs(kind, id)...)
	}
}

// inventory is everything that the second tenant has, without what only time
// changes.
func (w *world) inventory(ctx context.Context) ([]string, error) {
	var all []string
	keep := func(v any, err error) error {
		all = append(all, fmt.Sprintf("%+v", v))
		return err
	}
	a := w.admin
	t, err := a.Tenant(ctx, w.theirs)
	if err := keep([]any{t.Name, t.Description, t.Profile, t.State, t.GuestAccess, t.Users > 0}, err); err != nil {
		return nil, err
	}
	users, err := a.Users(ctx, w.theirs)
	for _, u := range users {
		if u.Name == w.theirs { // repeats makes another
			if err := keep([]any{u.ID, u.Role, u.Enabled, u.Description, u.Tokens, u.TOTP}, err); err != nil {
				return nil, err
			}
		}
	}
	vols, err := a.Volumes(ctx, hostclient.VolumesQuery{VMGroup: w.theirs, State: "all"})
	for _, v := range vols.Volumes {
		all = append(all, fmt.Sprint(v.ID, v.Name, v.State, v.SizeBytes))
	}
	if err != nil {
		return nil, err
	}
	policies, err := a.Policies(ctx, w.theirs)
	if err := keep(len(policies), err); err != nil {
		return nil, err
	}
	points, err := a.Points(ctx, w.theirs, hostclient.PointsQuery{})
	for _, p := range points.Points {
		all = append(all, fmt.Sprint(p.ID, p.Hold))
	}
	repositories, err2 := a.GroupRepositories(ctx, w.theirs)
	if err := keep(len(repositories), err2); err != nil {
		return nil, err
	}
	return all, err
}

// Sweep removes what a check left that was killed: its tenants, with all they
// have. It disturbs a check that runs.
func Sweep(ctx context.Context, a *hostclient.Admin) error {
	for {
		l, err := a.Tenants(ctx, hostclient.TenantQuery{Words: prefix, Limit: 100})
		if err != nil {
			return err
		}
		gone := 0
		for _, t := range l.Tenants {
			if !strings.HasPrefix(t.Name, prefix) || !strings.HasPrefix(t.Description, description) {
				continue // somebody's who likes the name
			}
			if err := remove(ctx, a, t.Name); err != nil {
				return err
			}
			gone++
		}
		if gone == 0 {
			return nil
		}
	}
}

func remove(ctx context.Context, a *hostclient.Admin, group string) error {
	vols, err := a.Volumes(ctx, hostclient.VolumesQuery{VMGroup: group, State: "all"})
	if err != nil {
		return err
	}
	for _, v := range vols.Volumes {
		err := a.RemoveVolume(ctx, group, v.Name, true)
		if err != nil && !errkind.Is(err, errkind.NotFound) { // a user may have protected it
			if _, free := a.SetVolume(ctx, group, v.Name, wire.SetVolume{Protect: new(false)}); free != nil {
				return errors.Join(err, free)
			}
			err = a.RemoveVolume(ctx, group, v.Name, true)
		}
		if err != nil && !errkind.Is(err, errkind.NotFound) {
			return err
		}
	}
	err = a.DeleteTenant(ctx, group, true, true)
	if errkind.Is(err, errkind.NotFound) {
		return nil
	}
	return err
}
