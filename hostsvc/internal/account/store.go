package account

import (
	"context"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// Store is the catalog as this package sees it; View and Update behave as in
// package volume.
type Store interface {
	View(ctx context.Context, fn func(Tx) error) error
	Update(ctx context.Context, fn func(Tx) error) error
}

// Tx is one transaction. Absent things are errkind.NotFound. Users and
// UserByName know only users of the vmgroup that the transaction is confined
// to, if it is.
type Tx interface {
	// Users lists those of one vmgroup, or with "" of the master, by name.
	Users(g volspec.VMGroupID) ([]User, error)
	// AllUsers lists those of the master and of all vmgroups.
	AllUsers() ([]User, error)
	User(id volspec.UserID) (User, error)
	UserByName(g volspec.VMGroupID, name string) (User, error)
	UserBySubject(g volspec.VMGroupID, subject string) (User, error)
	// PutUser inserts or replaces by ID. Another of that name in the vmgroup, or
	// with that subject: errkind.Exists.
	PutUser(u User) error
	DeleteUser(id volspec.UserID) error // with its sessions and tokens; absent: nil

	Session(hash string) (Session, error)
	// Sessions lists those of one user, or with "" of all, the oldest first.
	Sessions(user volspec.UserID) ([]Session, error)
	PutSession(s Session) error      // inserts or replaces by Hash
	DeleteSession(hash string) error // absent: nil

	Token(hash string) (Token, error)
	// Tokens lists those of one user, or with "" of all, by name.
	Tokens(user volspec.UserID) ([]Token, error)
	// PutToken inserts or replaces by ID. Another of that name and user:
	// errkind.Exists.
	PutToken(t Token) error
	DeleteToken(id string) error // absent: nil

	// Tenant and TenantByName are the facts about a vmgroup on which it depends
	// who may act in it; with the id "", of the master. TenantByName is confined
	// as users are.
	Tenant(id volspec.VMGroupID) (Tenant, error)
	TenantByName(name string) (Tenant, error)

	// Setting and PutSetting keep small facts of the installation.
	Setting(key string) (string, error) // "" when never put
	PutSetting(key, value string) error
	AddAudit(a volspec.Audit) error
}

// User is a person, or a program that acts as one.
type User struct {
	ID      volspec.UserID
	Group   volspec.VMGroupID // "": of the master
	Name    string
	Role    volspec.Role
	Enabled bool
	Subject string // of an OIDC provider: issuer and subject, "" for none
	Body    UserBody
}

// UserBody is the part of a user that no search needs.
type UserBody struct {
	Email       string    `json:"email,omitempty"`
	Description string    `json:"description,omitempty"`
	Zone        string    `json:"zone,omitempty"` // IANA time zone
	Created     time.Time `json:"created"`
	LastLogin   time.Time `json:"last_login,omitzero"`

	Password   string `json:"password,omitempty"`    // PHC string, "" for none
	MustChange bool   `json:"must_change,omitempty"` // it was generated

	Failures    int       `json:"failures,omitempty"` // refused log-ins since the last good one
	LockedUntil time.Time `json:"locked_until,omitzero"`

	Factor     string `json:"factor,omitempty"`      // sealed secret of the second factor, "" for none
	NewFactor  string `json:"new_factor,omitempty"`  // the same, not confirmed yet
	FactorStep int64  `json:"factor_step,omitempty"` // of the last code that was accepted
}

// Session is an open log-in. Hash is that of its secret.
type Session struct {
	Hash    string
	User    volspec.UserID
	Expires time.Time // whatever is done in it
	Body    SessionBody
}

// SessionBody is the part of a session that no search needs.
type SessionBody struct {
	ID      string            `json:"id"`
	Created time.Time         `json:"created"`
	Seen    time.Time         `json:"seen"`
	From    string            `json:"from"`
	Agent   string            `json:"agent"`
	As      volspec.VMGroupID `json:"as,omitempty"` // the vmgroup for which a user of the master acts
	AsName  string            `json:"as_name,omitempty"`
	AsUntil time.Time         `json:"as_until,omitzero"`
	Reason  string            `json:"reason,omitempty"`
}

// Token lets a program act as a user. Hash is that of its secret.
type Token struct {
	ID      string
	Hash    string
	User    volspec.UserID
	Name    string
	Expires time.Time
	Used    time.Time
	Body    TokenBody
}

// TokenBody is the part of a token that no search needs.
type TokenBody struct {
	Scope   volspec.Scope `json:"scope,omitempty"`
	Created time.Time     `json:"created"`
	From    string        `json:"from,omitempty"` // of the last use
}

// Tenant is what the users of a vmgroup depend on.
type Tenant struct {
	ID          volspec.VMGroupID
	Name        string
	Enabled     bool // neither disabled nor deleted
	GuestAccess bool // users with the role guest may log in
	GuestFiles  bool // they may recover files

	ContentRefused bool // users of the master may not read content
	FactorRequired bool // users who have a password need a second factor
}

func absent(err error) bool { return errkind.Is(err, errkind.NotFound) }
