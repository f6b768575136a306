package api

import (
	"context"
	"net/http"
	"slices"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

// accountEndpoints are all about people. They exist on every service, so that
// one without people can say so.
var accountEndpoints = peopled(slices.Concat(loginEndpoints, sessionEndpoints, factorEndpoints, tokenEndpoints, userEndpoints))

var noPeople = errkind.New(errkind.Unsupported, "this mooringd has no users")

// peopled lets endpoints answer noPeople on a service without accounts.
func peopled(rows []endpoint) []endpoint {
	for i := range rows {
		h := &rows[i].handler
		run := h.run
		h.run = func(ctx context.Context, s *Server, c *call, in any) (any, error) {
			if s.o.Accounts == nil {
				return nil, noPeople
			}
			return run(ctx, s, c, in)
		}
	}
	return rows
}

var loginEndpoints = []endpoint{
	{
		http.MethodGet, "/welcome", people, login, noTenant,
		"What somebody needs to know to log in", nil,
		give(func(ctx context.Context, s *Server, _ *call) (wire.Welcome, error) { return s.o.Accounts.Welcome(ctx) }),
	},
	{
		http.MethodPost, "/first-admin", visitors, login, noTenant,
		"Make the first user of the master, with the one-time code of mooringd's log, and log in", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.FirstAdmin) (wire.Session, error) {
			v, secret, err := s.o.Accounts.FirstVisit(ctx, c.caller, in, c.agent)
			return c.enter(v, secret, err)
		}),
	},
	{
		http.MethodPost, "/login", visitors, login, noTenant,
		"Open a session; its cookie comes with the answer", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.Login) (wire.Session, error) {
			v, secret, err := s.o.Accounts.Login(ctx, c.caller, in, c.agent)
			return c.enter(v, secret, err)
		}),
	},
	{
		http.MethodPost, "/logout", users, selfManage, ofUser,
		"End the caller's session", nil,
		give(func(ctx context.Context, s *Server, c *call) (wire.Message, error) {
			err := s.o.Accounts.Logout(ctx, c.caller)
			if err == nil {
				ClearSessionCookie(c.answer)
			}
			return said(err, "you are logged out")
		}),
	},
}

// enter puts the cookie of a new session into the answer.
func (c *call) enter(v wire.Session, secret string, err error) (wire.Session, error) {
	if err == nil && secret != "" {
		SetSessionCookie(c.answer, secret)
	}
	return v, err
}

var sessionEndpoints = []endpoint{
	{
		http.MethodGet, "/session", users, helloRead, ofUser,
		"Who the caller is and what it may do", nil,
		give(func(ctx context.Context, s *Server, c *call) (wire.Session, error) {
			return s.o.Accounts.Session(ctx, c.caller)
		}),
	},
	{
		http.MethodPatch, "/session/profile", users, selfManage, ofUser,
		"Change the caller's mail address and time zone", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.SessionProfile) (wire.Session, error) {
			return s.o.Accounts.SetProfile(ctx, c.caller, in)
		}),
	},
	{
		http.MethodPut, "/session/password", users, selfManage, ofUser,
		"Change the caller's password; its other sessions end", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.ChangePassword) (wire.Message, error) {
			return said(s.o.Accounts.ChangePassword(ctx, c.caller, in), "the password is changed")
		}),
	},
	{
		http.MethodPut, "/session/act-as", admins, serviceRead, noTenant,
		"Let the session of a user of the master act for one tenant, for some minutes", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.ActAs) (wire.Session, error) {
			return s.o.Accounts.ActAs(ctx, c.caller, in)
		}),
	},
	{
		http.MethodDelete, "/session/act-as", users, selfManage, ofUser,
		"End that", nil,
		give(func(ctx context.Context, s *Server, c *call) (wire.Session, error) {
			return s.o.Accounts.StopActing(ctx, c.caller)
		}),
	},
	{
		http.MethodGet, "/session/sessions", users, selfManage, ofUser,
		"The caller's open sessions", rowParams,
		rows(func(ctx context.Context, s *Server, c *call) ([]wire.OpenSession, error) {
			return s.o.Accounts.Sessions(ctx, c.caller)
		}, "created", "id"),
	},
	{
		http.MethodDelete, "/session/sessions/{session}", users, selfManage, ofUser,
		"End one of the caller's sessions", nil,
		give(func(ctx context.Context, s *Server, c *call) (wire.Message, error) {
			return said(s.o.Accounts.EndSession(ctx, c.caller, c.vars["session"]), "session", c.vars["session"], "is ended")
		}),
	},
}

var factorEndpoints = []endpoint{
	{
		http.MethodPost, "/session/totp", users, selfManage, ofUser,
		"Make a second factor, which counts when it is confirmed", nil,
		give(func(ctx context.Context, s *Server, c *call) (wire.Secret, error) {
			return s.o.Accounts.BeginTOTP(ctx, c.caller)
		}),
	},
	{
		http.MethodPut, "/session/totp", users, selfManage, ofUser,
		"Confirm the second factor with a code of it", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.ConfirmTOTP) (wire.Session, error) {
			return s.o.Accounts.ConfirmTOTP(ctx, c.caller, in)
		}),
	},
	{
		http.MethodDelete, "/session/totp", users, selfManage, ofUser,
		"Take the caller's second factor away", nil,
		give(func(ctx context.Context, s *Server, c *call) (wire.Session, error) {
			return s.o.Accounts.RemoveTOTP(ctx, c.caller)
		}),
	},
}

var tokenEndpoints = []endpoint{
	{
		http.MethodGet, "/session/tokens", users, selfManage, ofUser,
		"The caller's tokens", rowParams,
		rows(func(ctx context.Context, s *Server, c *call) ([]wire.Token, error) {
			return s.o.Accounts.Tokens(ctx, c.caller)
		}, "name", "id"),
	},
	{
		http.MethodPost, "/session/tokens", users, selfManage, ofUser,
		"Make a token with which a program acts as the caller", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.CreateToken) (wire.Token, error) {
			return s.o.Accounts.CreateToken(ctx, c.caller, in)
		}),
	},
	{
		http.MethodDelete, "/session/tokens/{token}", users, helloRead, ofUser,
		"End one of the caller's tokens, by id or name; a token only itself", nil,
		give(func(ctx context.Context, s *Server, c *call) (wire.Message, error) {
			return said(s.o.Accounts.RemoveToken(ctx, c.caller, c.vars["token"]), "token", c.vars["token"], "is removed")
		}),
	},
}
