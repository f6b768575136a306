package oidc

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"net/url"
	"time"

	coreos "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Life is how long somebody may take at the provider.
const Life = 10 * time.Minute

var (
	errTenant  = errkind.New(errkind.Denied, "log-in by an organisation is not set up for this tenant, or there is no such tenant: check its name, or log in with a password")
	errExpired = errkind.New(errkind.Denied, "this log-in was begun too long ago, or in another browser: begin again")
	errBad     = errkind.New(errkind.Denied, badAnswer)
)

const badAnswer = "the provider's answer is not valid: begin the log-in again, and tell your administrator if it happens again"

// pending is a log-in between here and the provider. It lies sealed in the
// browser.
type pending struct {
	Group    volspec.VMGroupID `json:"group,omitempty"`
	Issuer   string            `json:"issuer"`
	State    string            `json:"state"`
	Nonce    string            `json:"nonce"`
	Verifier string            `json:"verifier"`
	Until    time.Time         `json:"until"`
}

const pendingContext = "oidc log-in"

// Begin starts the log-in of a user of a tenant, or with "" of the master: the
// browser is to be sent to target, and to bring back kept, which nobody else
// can read or make.
func (s *Service) Begin(ctx context.Context, c volspec.Caller, tenant string) (target, kept string, err error) {
	if err := s.o.Attempt(c.From); err != nil {
		return "", "", err
	}
	var p Provider
	err = s.o.Store.View(ctx, func(tx Tx) error {
		g, err := groupID(tx, tenant)
		if err != nil {
			return err
		}
		p, err = tx.Provider(g)
		return err
	})
	if absent(err) {
		return "", "", errTenant
	}
	if err != nil {
		return "", "", err
	}
	provider, err := s.known.get(ctx, p.Body.Issuer)
	if err != nil {
		return "", "", err
	}
	config, err := s.config(p, provider)
	if err != nil {
		return "", "", err
	}
	n := pending{
		Group: p.Group, Issuer: p.Body.Issuer,
		State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Until: s.o.Now().Add(Life).UTC(),
	}
	plain, err := json.Marshal(n)
	if err != nil {
		return "", "", errkind.Wrap(errkind.Internal, err, "keep a log-in")
	}
	if kept, err = s.o.Sealer.Seal(plain, pendingContext); err != nil {
		return "", "", err
	}
	return config.AuthCodeURL(n.State, coreos.Nonce(n.Nonce), oauth2.S256ChallengeOption(n.Verifier)), kept, nil
}

func (s *Service) config(p Provider, provider *coreos.Provider) (oauth2.Config, error) {
	c := oauth2.Config{
		ClientID: p.Body.ClientID, Endpoint: provider.Endpoint(), RedirectURL: s.callback(),
		Scopes: []string{coreos.ScopeOpenID, "profile", "email"},
	}
	if p.Sealed == "" {
		return c, nil
	}
	secret, err := s.o.Sealer.Open(p.Sealed, sealedFor(p.Group))
	c.ClientSecret = string(secret)
	return c, err
}

// Finish ends a log-in: answer is the query with which the provider sent the
// browser back, kept what Begin gave it. It opens a session and returns it
// with its secret.
func (s *Service) Finish(ctx context.Context, c volspec.Caller, kept string, answer url.Values, agent string) (wire.Session, string, error) {
	if err := s.o.Attempt(c.From); err != nil {
		return wire.Session{}, "", err
	}
	plain, err := s.o.Sealer.Open(kept, pendingContext)
	var n pending
	if err != nil || json.Unmarshal(plain, &n) != nil || !s.o.Now().Before(n.Until) {
		return wire.Session{}, "", errExpired
	}
	if subtle.ConstantTimeCompare([]byte(answer.Get("state")), []byte(n.State)) != 1 {
		return wire.Session{}, "", errExpired
	}
	if answer.Get("error") != "" || answer.Get("code") == "" {
		return wire.Session{}, "", errkind.New(errkind.Denied, "the provider has not let you in: try again there, or ask whoever runs it")
	}
	var p Provider
	err = s.o.Store.View(ctx, func(tx Tx) error {
		p, err = tx.Provider(n.Group)
		return err
	})
	if absent(err) || err == nil && p.Body.Issuer != n.Issuer {
		return wire.Session{}, "", errTenant
	}
	if err != nil {
		return wire.Session{}, "", err
	}
	person, err := s.ask(ctx, p, n, answer.Get("code"))
	if err != nil {
		return wire.Session{}, "", err
	}
	return s.o.Enter(ctx, c, person, agent)
}

// ask takes the code to the provider, and believes what it signed.
func (s *Service) ask(ctx context.Context, p Provider, n pending, code string) (Person, error) {
	provider, err := s.known.get(ctx, p.Body.Issuer)
	if err != nil {
		return Person{}, err
	}
	config, err := s.config(p, provider)
	if err != nil {
		return Person{}, err
	}
	ctx = s.known.with(ctx)
	token, err := config.Exchange(ctx, code, oauth2.VerifierOption(n.Verifier))
	if err != nil {
		if noAnswer(err) {
			return Person{}, silent(p.Body.Issuer, err)
		}
		return Person{}, errkind.Wrap(errkind.Unavailable, err, "the provider does not confirm the log-in: begin again, and let an administrator check the client id and its secret if it happens again")
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return Person{}, errBad
	}
	id, err := provider.Verifier(&coreos.Config{ClientID: p.Body.ClientID, Now: s.o.Now}).Verify(ctx, raw)
	if err != nil {
		if noAnswer(err) { // for its keys
			return Person{}, silent(p.Body.Issuer, err)
		}
		return Person{}, errkind.Wrap(errkind.Denied, err, badAnswer)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(n.Nonce)) != 1 || id.Subject == "" || len(id.Subject) > longest {
		return Person{}, errBad
	}
	var claims map[string]any
	if err := id.Claims(&claims); err != nil {
		return Person{}, errkind.Wrap(errkind.Denied, err, badAnswer)
	}
	text := func(claim string) string { v, _ := claims[claim].(string); return v }
	name := text(p.Body.Claim)
	if p.Body.Claim == "" {
		name = cmp.Or(text("preferred_username"), text("email"))
	}
	return Person{
		Group: p.Group, Subject: p.Body.Issuer + " " + id.Subject,
		Name: name, Email: text("email"), Role: p.Body.Role,
	}, nil
}
