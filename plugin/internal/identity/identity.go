// Package identity gets, keeps and renews the certificate that proves to the
// host service which VM this is. Key and certificate lie in the plugin's
// state, readable for root only.
//
// Without a certificate it waits for an invitation: a one-time code that an
// administrator, or the VM's hypervisor, has put where Invitation looks. A new
// invitation is taken even while there is a certificate: it is how a VM whose
// certificate was revoked comes back. A certificate is renewed when two thirds
// of its life are over, and at every boot of the VM, so that a copy of the VM
// cannot go on for long beside it.
package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"sync"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/invite"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/transport"
	"mooring.dev/mooring/pkg/wire"
)

// Options are the parts and settings of an Identity.
type Options struct {
	URL  string // of the host service
	Dir  string // for the state
	CA   string // pin of the service's authority, or a file with its certificate; "": as the invitation says
	Boot string // of this VM

	// Invitation reads what was put there for this VM; not-found when there is
	// nothing. Place says where that is, for people.
	Invitation func(ctx context.Context) (invite.Invitation, error)
	Place      string

	Client hostclient.Options
	Every  time.Duration // between two looks; 0: 5 seconds
}

// Identity is the VM's certificate. It is safe for concurrent use.
type Identity struct {
	o    Options
	path string

	mu   sync.Mutex // guards what follows
	kept state
	cert *tls.Certificate // nil until enrolled
	why  string           // the last attempt to enrol failed

	tried string // code that was refused; of Run alone
	next  time.Time
}

// Pauses after a renewal that was made and one that failed.
const (
	renewedPause = 10 * time.Second
	failedPause  = 30 * time.Second
)

// Open reads the state. A damaged one is reported, and is as good as none.
func Open(o Options) (*Identity, error) {
	if o.Every == 0 {
		o.Every = 5 * time.Second
	}
	i := &Identity{o: o, path: statePath(o.Dir)}
	kept, cert, err := read(i.path)
	i.kept, i.cert = kept, cert
	return i, err
}

// TLS is how the channel is opened now. Without a certificate it is denied,
// with what to do about that.
func (i *Identity) TLS() (*tls.Config, error) {
	i.mu.Lock()
	cert, kept, why := i.cert, i.kept.Pin, i.why
	i.mu.Unlock()
	if cert == nil {
		text := "this VM is not enrolled at the host service: run `mooring vm enroll` for it there, and put the code into " + i.o.Place
		if why != "" {
			text += " (the last attempt: " + why + ")"
		}
		return nil, errkind.New(errkind.Denied, "%s", text)
	}
	pin, err := i.pin(kept)
	if err != nil {
		return nil, err
	}
	return transport.ClientTLS(pin, cert), nil
}

// pin is the authority to trust: the setting's, else the other one.
func (i *Identity) pin(other string) (transport.Pin, error) {
	if i.o.CA != "" {
		return transport.ReadPin(i.o.CA)
	}
	if other == "" {
		return transport.Pin{}, errkind.New(errkind.Invalid, "MOORING_CA is not set: it takes the fingerprint that `mooring vm enroll` prints")
	}
	return transport.ReadPin(other)
}

// Renewer asks for a new certificate over the channel. Satisfied by
// *hostclient.Client.
type Renewer interface {
	Renew(ctx context.Context, r wire.Renew) (wire.Certificate, error)
}

// Run enrols and renews until ctx ends. changed is called after each change of
// the certificate: connections with the old one should not be used again.
func (i *Identity) Run(ctx context.Context, renewer Renewer, changed func()) error {
	tick := time.NewTicker(i.o.Every)
	defer tick.Stop()
	for {
		if i.look(ctx, renewer) {
			changed()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// look does what is due and reports whether the certificate has changed.
func (i *Identity) look(ctx context.Context, renewer Renewer) bool {
	i.mu.Lock()
	kept, enrolled := i.kept, i.cert != nil
	i.mu.Unlock()
	in, err := i.o.Invitation(ctx)
	switch {
	case err == nil && in.Code != kept.Code && in.Code != i.tried:
		if i.enroll(ctx, in) {
			return true
		}
	case err != nil && !errkind.Is(err, errkind.NotFound):
		i.failed(ctx, err)
	}
	if now := time.Now(); enrolled && now.After(i.next) && (now.After(kept.RenewAfter) || kept.Boot != i.o.Boot) {
		return i.renew(ctx, renewer)
	}
	return false
}

func (i *Identity) enroll(ctx context.Context, in invite.Invitation) bool {
	code, err := invite.Parse(in.Code)
	if err != nil {
		i.failed(ctx, err)
		return false
	}
	pin, err := i.pin(in.CA)
	if err != nil {
		i.failed(ctx, err)
		return false
	}
	key, request, err := newRequest()
	if err != nil {
		i.failed(ctx, err)
		return false
	}
	c, err := hostclient.Enroll(ctx, i.o.URL, pin, code, request, i.o.Client)
	if err != nil {
		if errkind.Is(err, errkind.Denied) {
			i.tried = in.Code // asking again helps nobody
		}
		i.failed(ctx, err)
		return false
	}
	if err := i.keep(c, key, pin.String(), in.Code); err != nil {
		i.tried = in.Code // it is used up
		i.failed(ctx, err)
		return false
	}
	log.G(ctx).WithField(log.VM, c.Name).WithField("until", c.Expires).Info("enrolled at the host service")
	return true
}

// failed keeps why, and says it once.
func (i *Identity) failed(ctx context.Context, err error) {
	text := errkind.Text(err)
	i.mu.Lock()
	news := i.why != text
	i.why = text
	i.mu.Unlock()
	if news && ctx.Err() == nil {
		log.G(ctx).WithField(log.Err, text).Warn("this VM could not be enrolled")
	}
}

func (i *Identity) renew(ctx context.Context, renewer Renewer) bool {
	i.next = time.Now().Add(failedPause)
	key, request, err := newRequest()
	if err == nil {
		var c wire.Certificate
		if c, err = renewer.Renew(ctx, wire.Renew{Request: request}); err == nil {
			i.mu.Lock()
			pin, code := i.kept.Pin, i.kept.Code
			i.mu.Unlock()
			if err = i.keep(c, key, pin, code); err == nil {
				i.next = time.Now().Add(renewedPause)
				log.G(ctx).WithField(log.VM, c.Name).WithField("until", c.Expires).Info("certificate renewed")
				return true
			}
		}
	}
	if ctx.Err() == nil {
		log.G(ctx).WithField(log.Err, err.Error()).Warn("the certificate could not be renewed yet")
	}
	return false
}

// keep makes a certificate the one in use, on disk first.
func (i *Identity) keep(c wire.Certificate, key *ecdsa.PrivateKey, pin, code string) error {
	leaf, err := x509.ParseCertificate(c.Certificate)
	if err == nil && !key.PublicKey.Equal(leaf.PublicKey) {
		err = errors.New("it is for another key")
	}
	if err != nil {
		return errkind.Wrap(errkind.Corrupt, err, "the host service issued a certificate that cannot be used")
	}
	next := state{Pin: pin, Code: code, Boot: i.o.Boot, Name: c.Name, RenewAfter: c.RenewAfter, Certificate: c.Certificate}
	cert := &tls.Certificate{Certificate: [][]byte{c.Certificate}, PrivateKey: key, Leaf: leaf}
	if err := write(i.path, next, key); err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.kept, i.cert, i.why = next, cert, ""
	return nil
}

func newRequest() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, errkind.Wrap(errkind.Internal, err, "make a key")
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	return key, der, errkind.Wrap(errkind.Internal, err, "make a certificate request")
}
