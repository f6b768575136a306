package wire

import (
	"time"

	"mooring.dev/mooring/pkg/volspec"
)

// HeaderCSRF carries Session.CSRF in every request that changes something and
// shows a session's cookie.
const HeaderCSRF = "X-Csrf-Token"

// HeaderIdempotency names a POST: the same again within a day has the same
// effect and answer once.
const HeaderIdempotency = "Idempotency-Key"

// Login opens a session. Tenant is the name of the vmgroup whose user it is, ""
// for the master's. Code is that of the second factor, where the user has one.
type Login struct {
	Tenant   string `json:"tenant,omitempty"`
	User     string `json:"user"`
	Password string `json:"password"`
	Code     string `json:"code,omitempty"`
}

// FirstAdmin makes the first user of the master, with the one-time code that
// mooringd printed into its log.
type FirstAdmin struct {
	Code     string `json:"code"`
	User     string `json:"user"`
	Password string `json:"password"`
	Email    string `json:"email,omitempty"`
	Mode     string `json:"mode"` // multi or single
}

// Welcome is what the service says of itself to somebody who has not logged in.
type Welcome struct {
	Product string   `json:"product"` // the installation's name
	Logo    bool     `json:"logo"`    // it has one
	First   bool     `json:"first"`   // there is no user of the master yet
	OIDC    []string `json:"oidc"`    // "" if the master's users can log in so; the tenants that can are not told
}

// Session is who is logged in. In the answer to a log-in over HTTPS it comes
// with a cookie.
type Session struct {
	User        string       `json:"user"`
	Tenant      string       `json:"tenant,omitempty"` // of the user, "" for the master's
	Role        volspec.Role `json:"role"`
	As          string       `json:"as,omitempty"` // the vmgroup for which a user of the master acts
	AsUntil     time.Time    `json:"as_until,omitzero"`
	Permissions []string     `json:"permissions"`
	CSRF        string       `json:"csrf,omitempty"` // "" with a token or on the admin socket
	Expires     time.Time    `json:"expires,omitzero"`
	Zone        string       `json:"zone,omitempty"`        // IANA time zone that the user chose, "" for the browser's
	MustChange  bool         `json:"must_change,omitempty"` // the password was generated: nothing else is possible before it is changed
	MustFactor  bool         `json:"must_factor,omitempty"` // a second factor is required: nothing else is possible before it is set up
	TOTP        bool         `json:"totp,omitempty"`        // a second factor is set up
	Email       string       `json:"email,omitempty"`
	NeedsCode   bool         `json:"needs_code,omitempty"` // the password is right, but nothing was opened: log in again with the code of the second factor
}

// SessionProfile changes what is not nil of what users say of themselves.
type SessionProfile struct {
	Zone  *string `json:"zone,omitempty"`
	Email *string `json:"email,omitempty"`
}

// OpenSession is one of a user's sessions. ID is not its secret.
type OpenSession struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	Seen    time.Time `json:"seen"`
	Expires time.Time `json:"expires"`
	From    string    `json:"from"`
	Agent   string    `json:"agent"`
	Current bool      `json:"current"`
}

// ActAs lets a user of the master act for a tenant, for some minutes; 0 is the
// service's default.
type ActAs struct {
	VMGroup string `json:"vmgroup"`
	Minutes int    `json:"minutes,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// ChangePassword changes one's own. All other sessions of the user end.
type ChangePassword struct {
	Old string `json:"old"`
	New string `json:"new"`
}

// Secret is shown once and never again.
type Secret struct {
	Secret string `json:"secret"`
	URI    string `json:"uri,omitempty"` // otpauth://… of a second factor
}

// ConfirmTOTP ends the setting up of a second factor.
type ConfirmTOTP struct {
	Code string `json:"code"`
}

// User is a person, or a program that acts as one.
type User struct {
	ID          volspec.UserID `json:"id"`
	Name        string         `json:"name"`
	Tenant      string         `json:"tenant,omitempty"`
	Role        volspec.Role   `json:"role"`
	Enabled     bool           `json:"enabled"`
	Email       string         `json:"email"`
	Description string         `json:"description"`
	Created     time.Time      `json:"created"`
	LastLogin   time.Time      `json:"last_login,omitzero"`
	LockedUntil time.Time      `json:"locked_until,omitzero"`
	TOTP        bool           `json:"totp"`
	OIDC        bool           `json:"oidc"` // logs in by an OIDC provider
	Sessions    int            `json:"sessions"`
	Tokens      int            `json:"tokens"`
	Password    string         `json:"password,omitempty"` // generated; only in the answer that made it
}

// CreateUser makes a user. Without a password one is generated.
type CreateUser struct {
	Name        string       `json:"name"`
	Role        volspec.Role `json:"role"`
	Password    string       `json:"password,omitempty"`
	Email       string       `json:"email,omitempty"`
	Description string       `json:"description,omitempty"`
}

// UpdateUser changes what is not nil. ResetPassword generates a new one,
// ResetTOTP takes the second factor away; both end all sessions.
type UpdateUser struct {
	Role          *volspec.Role `json:"role,omitempty"`
	Enabled       *bool         `json:"enabled,omitempty"`
	Email         *string       `json:"email,omitempty"`
	Description   *string       `json:"description,omitempty"`
	Zone          *string       `json:"zone,omitempty"`
	ResetPassword bool          `json:"reset_password,omitempty"`
	ResetTOTP     bool          `json:"reset_totp,omitempty"`
	Unlock        bool          `json:"unlock,omitempty"`
}

// Token lets a program act as a user. Secret is only in the answer that made it.
type Token struct {
	ID       string        `json:"id"`
	Name     string        `json:"name"`
	Scope    volspec.Scope `json:"scope"` // permissions, "" for all of the user's
	Created  time.Time     `json:"created"`
	Expires  time.Time     `json:"expires"`
	LastUsed time.Time     `json:"last_used,omitzero"`
	LastFrom string        `json:"last_from,omitempty"`
	Secret   string        `json:"secret,omitempty"`
}

// CreateToken makes a token. Days is its life, 0 the service's default.
type CreateToken struct {
	Name  string        `json:"name"`
	Scope volspec.Scope `json:"scope,omitempty"`
	Days  int           `json:"days,omitempty"`
}

// OIDC lets users log in by a provider of OpenID Connect. A user who is not
// known yet is made with Role, if that is not "". Secret is only ever written.
type OIDC struct {
	Issuer   string       `json:"issuer"`
	ClientID string       `json:"client_id"`
	Secret   string       `json:"secret,omitempty"`
	Claim    string       `json:"claim,omitempty"` // that holds the user's name; "": preferred_username, else email
	Role     volspec.Role `json:"role,omitempty"`
	Callback string       `json:"callback,omitempty"` // to be registered with the provider; only ever read
}

// String hides the secrets.
func (Login) String() string { return "[redacted]" }

// GoString hides the secrets.
func (Login) GoString() string { return "[redacted]" }

// String hides the secrets.
func (ChangePassword) String() string { return "[redacted]" }

// GoString hides the secrets.
func (ChangePassword) GoString() string { return "[redacted]" }
