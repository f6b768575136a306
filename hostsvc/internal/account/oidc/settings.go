package oidc

import (
	"context"
	"net/url"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

var errNone = errkind.New(errkind.NotFound, "no provider for log-in is set up here")

// Get describes the provider of a vmgroup, or with "" of the master, without
// its secret. None: not-found.
func (s *Service) Get(ctx context.Context, vmgroup string) (out wire.OIDC, err error) {
	err = s.o.Store.View(ctx, func(tx Tx) error {
		g, err := groupID(tx, vmgroup)
		if err != nil {
			return err
		}
		p, err := tx.Provider(g)
		if absent(err) {
			return errNone
		}
		out = s.describe(p)
		return err
	})
	return out, err
}

func (s *Service) describe(p Provider) wire.OIDC {
	b := p.Body
	return wire.OIDC{Issuer: b.Issuer, ClientID: b.ClientID, Claim: b.Claim, Role: b.Role, Callback: s.callback()}
}

// Master tells whether users of the master can log in by a provider.
func (s *Service) Master(ctx context.Context) (bool, error) {
	_, err := s.Get(ctx, "")
	if absent(err) {
		return false, nil
	}
	return err == nil, err
}

// Put sets the provider of a vmgroup, or with "" of the master, once it answers
// as one. Without a secret the one before is kept, as long as it is for the
// same client of the same issuer: another one must not learn it.
func (s *Service) Put(ctx context.Context, c volspec.Caller, vmgroup string, r wire.OIDC) (out wire.OIDC, err error) {
	if err := check(vmgroup, r); err != nil {
		return out, err
	}
	if s.o.URL() == "" {
		return out, errkind.New(errkind.Unsupported, "log-in by a provider needs the portal: set https.listen in the configuration of mooringd")
	}
	if _, err := s.known.discover(ctx, r.Issuer); err != nil {
		return out, err
	}
	err = s.o.Store.Update(ctx, func(tx Tx) error {
		g, err := groupID(tx, vmgroup)
		if err != nil {
			return err
		}
		before, err := tx.Provider(g)
		if err != nil && !absent(err) {
			return err
		}
		p := Provider{Group: g, Body: Settings{Issuer: r.Issuer, ClientID: r.ClientID, Claim: r.Claim, Role: r.Role}}
		switch {
		case r.Secret != "":
			if p.Sealed, err = s.o.Sealer.Seal([]byte(r.Secret), sealedFor(g)); err != nil {
				return err
			}
		case before.Body.Issuer == r.Issuer && before.Body.ClientID == r.ClientID:
			p.Sealed = before.Sealed
		}
		if err := tx.PutProvider(p); err != nil {
			return err
		}
		out = s.describe(p)
		return s.audit(ctx, tx, c, vmgroup, "oidc set", "issuer "+r.Issuer)
	})
	return out, err
}

// Remove takes the provider away. Its users stay, and cannot log in. None: nil.
func (s *Service) Remove(ctx context.Context, c volspec.Caller, vmgroup string) error {
	return s.o.Store.Update(ctx, func(tx Tx) error {
		g, err := groupID(tx, vmgroup)
		if err != nil {
			return err
		}
		p, err := tx.Provider(g)
		if absent(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := tx.DeleteProvider(g); err != nil {
			return err
		}
		return s.audit(ctx, tx, c, vmgroup, "oidc removed", "issuer "+p.Body.Issuer)
	})
}

// longest bounds what is kept of a provider, in bytes.
const longest = 500

func check(vmgroup string, r wire.OIDC) error {
	u, err := url.Parse(r.Issuer)
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || len(r.Issuer) > longest:
		return errkind.New(errkind.Invalid, "the issuer is not the address of a provider: write https://HOST, and a path if it has one, exactly as the provider names itself")
	case r.ClientID == "" || len(r.ClientID) > longest:
		return errkind.New(errkind.Invalid, "the client id is missing or too long: register the portal with the provider and write the id it gives")
	case len(r.Secret) > longest || len(r.Claim) > longest:
		return errkind.New(errkind.Invalid, "the secret or the claim is too long: write at most %d characters", longest)
	case r.Role == "":
		return nil
	case !r.Role.Known():
		return errkind.New(errkind.Invalid, "role %q does not exist: leave it out, or choose one of those of users", r.Role)
	case vmgroup == "" && !r.Role.Master():
		return errkind.New(errkind.Invalid, "role %s is of a tenant's users: choose %s or %s", r.Role, volspec.MasterAdmin, volspec.MasterViewer)
	case vmgroup != "" && r.Role.Master():
		return errkind.New(errkind.Invalid, "role %s is of the master's users: choose one of a tenant's", r.Role)
	}
	return nil
}
