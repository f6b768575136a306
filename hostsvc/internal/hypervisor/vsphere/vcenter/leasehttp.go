package vcenter

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // vSphere names certificates of hosts so
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
)

const streamType = "application/x-vnd.vmware-streamVmdk"

func (l *Lease) get(ctx context.Context, d LeaseDisk) (io.ReadCloser, error) {
	res, err := l.send(ctx, http.MethodGet, d, nil, 0)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, errors.Join(l.status(res), res.Body.Close())
	}
	return res.Body, nil
}

func (l *Lease) post(ctx context.Context, d LeaseDisk, r io.Reader, length int64) error {
	res, err := l.send(ctx, http.MethodPost, d, r, length)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusCreated {
		return l.status(res)
	}
	return nil
}

// status is what an answer means that is not the expected one. The URL of a lease
// that is over is one that is not there.
func (l *Lease) status(res *http.Response) error {
	err := &StatusError{res.StatusCode}
	if res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusUnauthorized {
		return errkind.Wrap(errkind.Unavailable, &lost{&errEnded{err}}, "%s: vSphere ended the lease meanwhile; repeat it", l.what)
	}
	return err
}

// send makes one request to the host that has the disk. The connection ends with
// it: the next goes to another host.
func (l *Lease) send(ctx context.Context, method string, d LeaseDisk, r io.Reader, length int64) (*http.Response, error) {
	s, err := l.c.conn(ctx)
	if err != nil {
		return nil, err
	}
	conf, err := l.c.tlsOf(d.thumbprint)
	if err != nil {
		return nil, err
	}
	at, err := l.c.hostOf(d.url)
	if err != nil {
		return nil, errkind.Wrap(errkind.Internal, err, "%s: the address of the disk", l.what)
	}
	req, err := http.NewRequestWithContext(ctx, method, at, r)
	if err != nil {
		return nil, errkind.Wrap(errkind.Internal, err, "%s: the address of the disk", l.what)
	}
	req.Header.Set("User-Agent", l.c.o.UserAgent)
	if r != nil {
		req.ContentLength = length
		req.Header.Set("Content-Type", streamType)
	}
	t := s.vim.DefaultTransport().Clone()
	t.TLSClientConfig, t.DisableKeepAlives = conf, true
	return (&http.Client{Transport: t, Jar: s.vim.Client.Client.Jar}).Do(req)
}

// hostOf puts the server in the place of the "*" that an ESXi host writes for
// itself.
func (c *Client) hostOf(address string) (string, error) {
	u, err := url.Parse(strings.Replace(address, "://*", "://self", 1))
	if err != nil {
		return "", err
	}
	if u.Hostname() == "self" {
		u.Host = c.url.Host
	}
	return u.String(), nil
}

// tlsOf is how the host of a disk is told from an impostor: vCenter, which is
// trusted already, says which certificate the host has.
func (c *Client) tlsOf(thumbprint string) (*tls.Config, error) {
	if thumbprint == "" {
		return c.tls()
	}
	want, err := hex.DecodeString(strings.ReplaceAll(thumbprint, ":", ""))
	if err != nil || len(want) != sha1.Size && len(want) != sha256.Size {
		return nil, errkind.New(errkind.Denied, "vCenter names %q as the thumbprint of a host's certificate, which is none: the host is not trusted", thumbprint)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		// The thumbprint alone decides: it is compared at every handshake.
		InsecureSkipVerify: true, //nolint:gosec // see VerifyConnection
		VerifyConnection: func(cs tls.ConnectionState) error {
			if len(cs.PeerCertificates) == 0 {
				return errors.New("no certificate was shown")
			}
			raw := cs.PeerCertificates[0].Raw
			one, two := sha1.Sum(raw), sha256.Sum256(raw) //nolint:gosec // see above
			if bytes.Equal(want, one[:]) || bytes.Equal(want, two[:]) {
				return nil
			}
			return errkind.New(errkind.Denied, "host %s shows another certificate than the one that vCenter knows (%s): something between them reads along, or the host is to be reconnected in vCenter", cs.ServerName, thumbprint)
		},
	}, nil
}
