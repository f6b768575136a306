package hostclient

import (
	"context"
	"net/http"

	"mooring.dev/mooring/pkg/wire"
)

// Welcome asks what somebody needs to know to log in.
func (a *Admin) Welcome(ctx context.Context) (wire.Welcome, error) {
	return get[wire.Welcome](ctx, a, nil, "welcome")
}

// FirstAdmin makes the first user of the master and is logged in as it from
// then on.
func (a *Admin) FirstAdmin(ctx context.Context, r wire.FirstAdmin) (wire.Session, error) {
	return a.enter(change[wire.Session](ctx, a, http.MethodPost, nil, r, "first-admin"))
}

// Login opens a session, in which the client's further calls are made. Where the
// answer says NeedsCode there is none.
func (a *Admin) Login(ctx context.Context, r wire.Login) (wire.Session, error) {
	return a.enter(change[wire.Session](ctx, a, http.MethodPost, nil, r, "login"))
}

// enter remembers what requests in a session must show beside its cookie.
func (a *Admin) enter(s wire.Session, err error) (wire.Session, error) {
	if err == nil && !s.NeedsCode {
		a.csrf.Store(&s.CSRF)
	}
	return s, err
}

// Logout ends the session.
func (a *Admin) Logout(ctx context.Context) error {
	return a.tell(ctx, http.MethodPost, nil, nil, "logout")
}

// Session tells who the caller is and what it may do.
func (a *Admin) Session(ctx context.Context) (wire.Session, error) {
	return get[wire.Session](ctx, a, nil, "session")
}

// SetSessionProfile changes what the caller says of itself.
func (a *Admin) SetSessionProfile(ctx context.Context, r wire.SessionProfile) (wire.Session, error) {
	return change[wire.Session](ctx, a, http.MethodPatch, nil, r, "session", "profile")
}

// ChangePassword changes the caller's own.
func (a *Admin) ChangePassword(ctx context.Context, r wire.ChangePassword) error {
	return a.tell(ctx, http.MethodPut, nil, r, "session", "password")
}

// ActAs lets the session act for one tenant.
func (a *Admin) ActAs(ctx context.Context, r wire.ActAs) (wire.Session, error) {
	return change[wire.Session](ctx, a, http.MethodPut, nil, r, "session", "act-as")
}

// StopActing ends that.
func (a *Admin) StopActing(ctx context.Context) (wire.Session, error) {
	return change[wire.Session](ctx, a, http.MethodDelete, nil, nil, "session", "act-as")
}

// BeginTOTP makes a second factor, which counts when it is confirmed.
func (a *Admin) BeginTOTP(ctx context.Context) (wire.Secret, error) {
	return change[wire.Secret](ctx, a, http.MethodPost, nil, nil, "session", "totp")
}

// ConfirmTOTP confirms it with a code.
func (a *Admin) ConfirmTOTP(ctx context.Context, code string) (wire.Session, error) {
	return change[wire.Session](ctx, a, http.MethodPut, nil, wire.ConfirmTOTP{Code: code}, "session", "totp")
}

// RemoveTOTP takes the caller's second factor away.
func (a *Admin) RemoveTOTP(ctx context.Context) (wire.Session, error) {
	return change[wire.Session](ctx, a, http.MethodDelete, nil, nil, "session", "totp")
}

// Sessions lists the caller's open sessions.
func (a *Admin) Sessions(ctx context.Context) ([]wire.OpenSession, error) {
	return get[[]wire.OpenSession](ctx, a, nil, "session", "sessions")
}

// EndSession ends one of them.
func (a *Admin) EndSession(ctx context.Context, id string) error {
	return a.tell(ctx, http.MethodDelete, nil, nil, "session", "sessions", id)
}

// Tokens lists the caller's tokens.
func (a *Admin) Tokens(ctx context.Context) ([]wire.Token, error) {
	return get[[]wire.Token](ctx, a, nil, "session", "tokens")
}

// CreateToken makes one; only the answer holds its secret.
func (a *Admin) CreateToken(ctx context.Context, r wire.CreateToken) (wire.Token, error) {
	return change[wire.Token](ctx, a, http.MethodPost, nil, r, "session", "tokens")
}

// RemoveToken ends one of them, by id or name.
func (a *Admin) RemoveToken(ctx context.Context, id string) error {
	return a.tell(ctx, http.MethodDelete, nil, nil, "session", "tokens", id)
}

// Users lists the users of a vmgroup, or with "" of the master.
func (a *Admin) Users(ctx context.Context, vmgroup string) ([]wire.User, error) {
	return get[[]wire.User](ctx, a, nil, below(vmgroup, "users")...)
}

// User is one of them.
func (a *Admin) User(ctx context.Context, vmgroup, name string) (wire.User, error) {
	return get[wire.User](ctx, a, nil, below(vmgroup, "users", name)...)
}

// CreateUser makes one; a generated password is only in the answer.
func (a *Admin) CreateUser(ctx context.Context, vmgroup string, r wire.CreateUser) (wire.User, error) {
	return change[wire.User](ctx, a, http.MethodPost, nil, r, below(vmgroup, "users")...)
}

// UpdateUser changes one; a generated password is only in the answer.
func (a *Admin) UpdateUser(ctx context.Context, vmgroup, name string, r wire.UpdateUser) (wire.User, error) {
	return change[wire.User](ctx, a, http.MethodPatch, nil, r, below(vmgroup, "users", name)...)
}

// RemoveUser removes one, with its sessions and tokens.
func (a *Admin) RemoveUser(ctx context.Context, vmgroup, name string) error {
	return a.tell(ctx, http.MethodDelete, nil, nil, below(vmgroup, "users", name)...)
}
