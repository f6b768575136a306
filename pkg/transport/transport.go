// Package transport makes the channels between guests, the command line and
// the host service. A channel is named by a URL whose scheme chooses its kind:
//
//	unix:///run/mooring/guest/web01.sock   a socket on this machine
//	vsock://2:1019                         from a KVM guest to its host
//	tls://host:1020                        with a client certificate
//
// This build speaks unix and tls. What follows from a channel (who the peer
// is) is the listener's to say, see PeerOf and TLSOf; what is spoken on it is
// package wire's.
package transport

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"syscall"

	"mooring.dev/mooring/pkg/errkind"
)

// maxUnixPath is what fits into sockaddr_un with its final NUL.
const maxUnixPath = 107

// Check reports what is wrong with a channel's URL, without connecting.
func Check(url string) error {
	_, err := parse(url)
	return err
}

// IsTLS reports whether url names a channel that DialTLS opens.
func IsTLS(url string) bool { return strings.HasPrefix(url, "tls://") }

// Dial connects to url, but to a tls:// channel, which needs DialTLS. The
// caller closes the connection. Kinds: invalid for
// a URL nobody could connect to, unsupported for a scheme that this build
// lacks, denied when the peer's socket may not be used by this process,
// unavailable for everything that may pass when repeated.
func Dial(ctx context.Context, url string) (net.Conn, error) {
	a, err := parse(url)
	if err != nil {
		return nil, err
	}
	if a.network == "tcp" {
		return nil, errkind.New(errkind.Invalid, "channel %q cannot be used here: it needs a certificate", url)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, a.network, a.address)
	if err == nil {
		return conn, nil
	}
	if errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM) {
		return nil, errkind.Wrap(errkind.Denied, err, "connect to %s", url)
	}
	return nil, errkind.Wrap(errkind.Unavailable, err, "connect to %s", url)
}

type address struct{ network, address string }

func parse(url string) (address, error) {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		return address{}, errkind.New(errkind.Invalid, "channel %q is not valid: write it as a URL such as unix:///run/mooring/admin.sock", url)
	}
	switch scheme {
	case "unix":
		if err := checkUnixPath(rest); err != nil {
			return address{}, err
		}
		return address{"unix", rest}, nil
	case "tls":
		host, port, err := net.SplitHostPort(rest)
		n, perr := strconv.ParseUint(port, 10, 16)
		if err != nil || perr != nil || host == "" || n == 0 || strings.ContainsAny(host, "/?#@ ") {
			return address{}, errkind.New(errkind.Invalid, "channel %q is not valid: write tls://HOST:PORT", url)
		}
		return address{"tcp", rest}, nil
	case "vsock":
		return address{}, errkind.New(errkind.Unsupported, "channel %q cannot be used: this build has no %s channels, only unix:// and tls://", url, scheme)
	}
	return address{}, errkind.New(errkind.Invalid, "channel %q is not valid: its scheme is %q, known are unix, vsock and tls", url, scheme)
}

func checkUnixPath(path string) error {
	switch {
	case !strings.HasPrefix(path, "/"):
		return errkind.New(errkind.Invalid, "socket path %q is not valid: it must be absolute", path)
	case len(path) > maxUnixPath:
		return errkind.New(errkind.Invalid, "socket path %q is not valid: it has %d bytes, the system allows %d", path, len(path), maxUnixPath)
	case strings.ContainsRune(path, 0):
		return errkind.New(errkind.Invalid, "socket path %q is not valid: it contains a NUL", path)
	}
	return nil
}
