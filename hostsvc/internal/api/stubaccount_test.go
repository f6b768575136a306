package api

import (
	"context"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// stubAccounts stands for the account use cases. Its log-ins have the secret
// "secret".
type stubAccounts struct{ *stub }

func (s stubAccounts) Still(context.Context, volspec.Caller) error { return nil }

func (s stubAccounts) MayRead(context.Context, volspec.Caller, string) error { return nil }

func (s stubAccounts) Welcome(ctx context.Context) (wire.Welcome, error) {
	return wire.Welcome{}, s.note(ctx, "account.Welcome", nobody)
}

func (s stubAccounts) FirstVisit(ctx context.Context, c volspec.Caller, r wire.FirstAdmin, agent string) (wire.Session, string, error) {
	return wire.Session{User: r.User}, "secret", s.note(ctx, "account.FirstVisit", c, r, agent)
}

func (s stubAccounts) Login(ctx context.Context, c volspec.Caller, r wire.Login, agent string) (wire.Session, string, error) {
	return wire.Session{User: r.User}, "secret", s.note(ctx, "account.Login", c, r, agent)
}

func (s stubAccounts) Session(ctx context.Context, c volspec.Caller) (wire.Session, error) {
	return wire.Session{}, s.note(ctx, "account.Session", c)
}

func (s stubAccounts) Logout(ctx context.Context, c volspec.Caller) error {
	return s.note(ctx, "account.Logout", c)
}

func (s stubAccounts) SetProfile(ctx context.Context, c volspec.Caller, r wire.SessionProfile) (wire.Session, error) {
	return wire.Session{}, s.note(ctx, "account.SetProfile", c, r)
}

func (s stubAccounts) ChangePassword(ctx context.Context, c volspec.Caller, r wire.ChangePassword) error {
	return s.note(ctx, "account.ChangePassword", c, r)
}

func (s stubAccounts) ActAs(ctx context.Context, c volspec.Caller, r wire.ActAs) (wire.Session, error) {
	return wire.Session{}, s.note(ctx, "account.ActAs", c, r)
}

func (s stubAccounts) StopActing(ctx context.Context, c volspec.Caller) (wire.Session, error) {
	return wire.Session{}, s.note(ctx, "account.StopActing", c)
}

func (s stubAccounts) BeginTOTP(ctx context.Context, c volspec.Caller) (wire.Secret, error) {
	return wire.Secret{}, s.note(ctx, "account.BeginTOTP", c)
}

func (s stubAccounts) ConfirmTOTP(ctx context.Context, c volspec.Caller, r wire.ConfirmTOTP) (wire.Session, error) {
	return wire.Session{}, s.note(ctx, "account.ConfirmTOTP", c, r)
}

func (s stubAccounts) RemoveTOTP(ctx context.Context, c volspec.Caller) (wire.Session, error) {
	return wire.Session{}, s.note(ctx, "account.RemoveTOTP", c)
}

func (s stubAccounts) Sessions(ctx context.Context, c volspec.Caller) ([]wire.OpenSession, error) {
	return nil, s.note(ctx, "account.Sessions", c)
}

func (s stubAccounts) EndSession(ctx context.Context, c volspec.Caller, id string) error {
	return s.note(ctx, "account.EndSession", c, id)
}

func (s stubAccounts) Tokens(ctx context.Context, c volspec.Caller) ([]wire.Token, error) {
	return nil, s.note(ctx, "account.Tokens", c)
}

func (s stubAccounts) CreateToken(ctx context.Context, c volspec.Caller, r wire.CreateToken) (wire.Token, error) {
	return wire.Token{}, s.note(ctx, "account.CreateToken", c, r)
}

func (s stubAccounts) RemoveToken(ctx context.Context, c volspec.Caller, id string) error {
	return s.note(ctx, "account.RemoveToken", c, id)
}

func (s stubAccounts) Users(ctx context.Context, group string) ([]wire.User, error) {
	return nil, s.note(ctx, "account.Users", nobody, group)
}

func (s stubAccounts) User(ctx context.Context, group, name string) (wire.User, error) {
	return wire.User{}, s.note(ctx, "account.User", nobody, group, name)
}

func (s stubAccounts) CreateUser(ctx context.Context, c volspec.Caller, group string, r wire.CreateUser) (wire.User, error) {
	return wire.User{}, s.note(ctx, "account.CreateUser", c, group, r)
}

func (s stubAccounts) UpdateUser(ctx context.Context, c volspec.Caller, group, name string, r wire.UpdateUser) (wire.User, error) {
	return wire.User{}, s.note(ctx, "account.UpdateUser", c, group, name, r)
}

func (s stubAccounts) RemoveUser(ctx context.Context, c volspec.Caller, group, name string) error {
	return s.note(ctx, "account.RemoveUser", c, group, name)
}
