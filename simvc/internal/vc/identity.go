package vc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// identity is what stays the same over a restart: the port and the certificate.
type identity struct {
	Port       string
	dir        string
	cert       tls.Certificate
	file       string
	thumbprint string
	sha1       string
}

func loadIdentity(dir string) (identity, error) {
	i := identity{dir: dir, Port: "0", file: filepath.Join(dir, "ca.pem")}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return i, err
	}
	if b, err := os.ReadFile(filepath.Join(dir, "port")); err == nil {
		i.Port = strings.TrimSpace(string(b))
	}
	key := filepath.Join(dir, "key.pem")
	cert, err := tls.LoadX509KeyPair(i.file, key)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeCertificate(i.file, key); err == nil {
			cert, err = tls.LoadX509KeyPair(i.file, key)
		}
	}
	if err != nil {
		return i, err
	}
	i.cert = cert
	sum, old := sha256.Sum256(cert.Certificate[0]), sha1.Sum(cert.Certificate[0])
	i.thumbprint, i.sha1 = colons(sum[:]), colons(old[:])
	return i, nil
}

func colons(sum []byte) string {
	hex := make([]string, len(sum))
	for n, b := range sum {
		hex[n] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(hex, ":")
}

func (i *identity) setPort(port string) error {
	i.Port = port
	return os.WriteFile(filepath.Join(i.dir, "port"), []byte(port+"\n"), 0o600)
}

func makeCertificate(certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return err
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "mooring-simvc"},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true,
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return err
	}
	priv, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: priv}), 0o600); err != nil {
		return err
	}
	return os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)
}
