package api

import (
	"context"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Accounts is everything the interface wants of the account use cases.
type Accounts interface {
	logins
	ownAccount
	userAccounts
}

// logins open sessions; agent is what the caller's program calls itself, and the
// text beside a session its secret, "" if none was opened.
type logins interface {
	Welcome(ctx context.Context) (wire.Welcome, error)
	FirstVisit(ctx context.Context, c volspec.Caller, r wire.FirstAdmin, agent string) (wire.Session, string, error)
	Login(ctx context.Context, c volspec.Caller, r wire.Login, agent string) (wire.Session, string, error)
	// Still refuses a caller who is not what it was when its request came.
	Still(ctx context.Context, c volspec.Caller) error
	// MayRead refuses a caller whom a vmgroup does not show its content.
	MayRead(ctx context.Context, c volspec.Caller, group string) error
}

// ownAccount is about the caller alone.
type ownAccount interface {
	Session(ctx context.Context, c volspec.Caller) (wire.Session, error)
	Logout(ctx context.Context, c volspec.Caller) error
	SetProfile(ctx context.Context, c volspec.Caller, r wire.SessionProfile) (wire.Session, error)
	ChangePassword(ctx context.Context, c volspec.Caller, r wire.ChangePassword) error
	ActAs(ctx context.Context, c volspec.Caller, r wire.ActAs) (wire.Session, error)
	StopActing(ctx context.Context, c volspec.Caller) (wire.Session, error)
	BeginTOTP(ctx context.Context, c volspec.Caller) (wire.Secret, error)
	ConfirmTOTP(ctx context.Context, c volspec.Caller, r wire.ConfirmTOTP) (wire.Session, error)
	RemoveTOTP(ctx context.Context, c volspec.Caller) (wire.Session, error)
	Sessions(ctx context.Context, c volspec.Caller) ([]wire.OpenSession, error)
	EndSession(ctx context.Context, c volspec.Caller, id string) error
	Tokens(ctx context.Context, c volspec.Caller) ([]wire.Token, error)
	CreateToken(ctx context.Context, c volspec.Caller, r wire.CreateToken) (wire.Token, error)
	RemoveToken(ctx context.Context, c volspec.Caller, id string) error
}

// userAccounts are those of a vmgroup, with "" of the master.
type userAccounts interface {
	Users(ctx context.Context, group string) ([]wire.User, error)
	User(ctx context.Context, group, name string) (wire.User, error)
	CreateUser(ctx context.Context, c volspec.Caller, group string, r wire.CreateUser) (wire.User, error)
	UpdateUser(ctx context.Context, c volspec.Caller, group, name string, r wire.UpdateUser) (wire.User, error)
	RemoveUser(ctx context.Context, c volspec.Caller, group, name string) error
}
