package identity

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"mooring.dev/mooring/pkg/durable"
	"mooring.dev/mooring/pkg/errkind"
)

// state is what outlives a restart.
type state struct {
	Version     int       `json:"version"`
	Name        string    `json:"name"` // of the VM
	Pin         string    `json:"pin"`  // of the service's authority
	Code        string    `json:"code"` // that was used to enrol
	Boot        string    `json:"boot"` // in which the certificate was issued
	RenewAfter  time.Time `json:"renew_after"`
	Certificate []byte    `json:"certificate"`
	Key         []byte    `json:"key"`
}

const stateVersion = 1

func statePath(dir string) string { return filepath.Join(dir, "identity.json") }

func write(path string, s state, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return errkind.Wrap(errkind.Internal, err, "keep the certificate")
	}
	s.Version, s.Key = stateVersion, der
	data, err := json.Marshal(s)
	if err != nil {
		return errkind.Wrap(errkind.Internal, err, "keep the certificate")
	}
	return errkind.Wrap(errkind.Unavailable, durable.WriteFile(path, data, 0o600), "keep the certificate in %s", path)
}

// read gives no certificate when there is none.
func read(path string) (state, *tls.Certificate, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, nil, nil
	}
	if err != nil {
		return state{}, nil, errkind.Wrap(errkind.Unavailable, err, "read the certificate")
	}
	var s state
	if err := json.Unmarshal(data, &s); err != nil {
		return state{}, nil, errkind.Wrap(errkind.Corrupt, err, "the certificate in %s is damaged", path)
	}
	if s.Version != stateVersion {
		return state{}, nil, errkind.New(errkind.Unsupported, "the certificate in %s was kept by another version of the plugin (form %d)", path, s.Version)
	}
	key, err := x509.ParseECPrivateKey(s.Key)
	if err != nil {
		return state{}, nil, errkind.Wrap(errkind.Corrupt, err, "the certificate in %s is damaged", path)
	}
	leaf, err := x509.ParseCertificate(s.Certificate)
	if err != nil {
		return state{}, nil, errkind.Wrap(errkind.Corrupt, err, "the certificate in %s is damaged", path)
	}
	s.Key = nil
	return s, &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}, nil
}
