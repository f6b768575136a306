package oidc

import (
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Carry adds to a bundle by which provider users of a vmgroup log in, with the
// client's secret.
func (s *Service) Carry(tx Tx, g volspec.VMGroup, to *wire.Carried) error {
	p, err := tx.Provider(g.ID)
	if absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	r := wire.OIDC{Issuer: p.Body.Issuer, ClientID: p.Body.ClientID, Claim: p.Body.Claim, Role: p.Body.Role}
	if p.Sealed != "" {
		secret, err := s.o.Sealer.Open(p.Sealed, sealedFor(p.Group))
		if err != nil {
			return err
		}
		r.Secret = string(secret)
	}
	to.OIDC = &r
	return nil
}

// Arrive checks the provider of a bundle, for a vmgroup that is about to be
// made. It is not asked anything: it may be reachable only when people log in.
func (s *Service) Arrive(g volspec.VMGroup, from *wire.OIDC) (put func(Tx) ([]string, error), err error) {
	if from == nil {
		return func(Tx) ([]string, error) { return nil, nil }, nil
	}
	if err := check(g.Name, *from); err != nil {
		return nil, errkind.Wrap(errkind.Of(err), err, "the provider for log-in of the bundle")
	}
	if s.o.URL() == "" {
		left := []string{"Log-in by provider " + from.Issuer + " is not set up: this instance has no portal"}
		return func(Tx) ([]string, error) { return left, nil }, nil
	}
	p := Provider{Group: g.ID, Body: Settings{Issuer: from.Issuer, ClientID: from.ClientID, Claim: from.Claim, Role: from.Role}}
	if from.Secret != "" {
		if p.Sealed, err = s.o.Sealer.Seal([]byte(from.Secret), sealedFor(g.ID)); err != nil {
			return nil, err
		}
	}
	todo := []string{"Register " + s.callback() + " with provider " + from.Issuer + ": until then it sends nobody here"}
	return func(tx Tx) ([]string, error) { return todo, tx.PutProvider(p) }, nil
}
