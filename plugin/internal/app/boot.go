package app

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
)

// BootID identifies this boot of this guest: the same for every process of
// the plugin until the guest is started anew.
//
// It is the kernel's boot id together with the cookie of the network
// namespace, a number that the kernel never gives twice. In a virtual machine
// the second part adds nothing. Guests that are namespaces of one machine
// share a kernel and its boot id; each has its own network namespace, made
// when it is started, in which the engine and (with network type host) the
// plugin live. Neither needs a file to be written or the machine's processes
// to be seen.
func BootID() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", errkind.Wrap(errkind.Unavailable, err, "read the boot id")
	}
	id := strings.TrimSpace(string(data))
	cookie, err := netnsCookie()
	if errors.Is(err, unix.ENOPROTOOPT) { // before Linux 5.14
		return id, nil
	}
	if err != nil {
		return "", errkind.Wrap(errkind.Unavailable, err, "read the cookie of the network namespace")
	}
	return fmt.Sprintf("%s-%x", id, cookie), nil
}

func netnsCookie() (cookie uint64, err error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(fd) }()
	return unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
}
