package transport

import (
	"net"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
)

// Peer is the process at the other end of a unix socket, as the kernel
// recorded it when it connected. PID is 0 for a process of a pid namespace
// that is not visible here.
type Peer struct {
	UID, GID, PID int
	Groups        []int // supplementary
}

// InGroup reports whether gid is among the peer's groups.
func (p Peer) InGroup(gid int) bool { return p.GID == gid || slices.Contains(p.Groups, gid) }

// PeerOf asks the kernel who is at the other end of conn, which must be a
// unix socket or unwrap to one through NetConn.
func PeerOf(conn net.Conn) (Peer, error) {
	for {
		w, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		conn = w.NetConn()
	}
	uc, ok := conn.(*net.UnixConn)
	if !ok {
		return Peer{}, errkind.New(errkind.Unsupported, "a %T has no peer credentials", conn)
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return Peer{}, errkind.Wrap(errkind.Unavailable, err, "peer credentials")
	}
	var p Peer
	cerr := raw.Control(func(fd uintptr) {
		var cred *unix.Ucred
		if cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err != nil {
			return
		}
		p = Peer{UID: int(cred.Uid), GID: int(cred.Gid), PID: int(cred.Pid)}
		p.Groups, err = peerGroups(fd)
	})
	if err == nil {
		err = cerr
	}
	return p, errkind.Wrap(errkind.Unavailable, err, "peer credentials")
}

// peerGroups reads SO_PEERGROUPS, for which x/sys has a number but no
// function. ERANGE says how much room the list needs.
func peerGroups(fd uintptr) ([]int, error) {
	buf := make([]uint32, 32)
	for {
		size := uint32(len(buf) * 4)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == syscall.ERANGE && int(size) > len(buf)*4:
			buf = make([]uint32, size/4)
			continue
		case errno != 0:
			return nil, errno
		}
		groups := make([]int, size/4)
		for i := range groups {
			groups[i] = int(buf[i])
		}
		return groups, nil
	}
}
