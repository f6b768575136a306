package harness

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Tools gives a guest of this vCenter the program of VMware's guest tools that
// asks its own VM's guestinfo, until the end of the test, and returns the
// guest's folder with it.
func (v *VCenter) Tools(t testing.TB, g *Guest) (dir string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Join(g.Disk(), "tools"), 0o755))
	g.Put(t, v.lab.program(t, "rpctool"), "tools/vmware-rpctool")
	socket := filepath.Join(g.Disk(), "tools.sock")
	require.NoError(t, os.RemoveAll(socket))
	l, err := new(net.ListenConfig).Listen(lasting(t), "unix", socket)
	require.NoError(t, err)
	ended := make(chan struct{})
	go func() { // ends with Close below
		defer close(ended)
		for {
			conn, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				v.answer(t, g, conn)
			}
		}
	}()
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		<-ended
	})
	return "/srv/tools"
}

// answer serves one command of a guest: "1 " and the value, or "0 " and why not.
func (v *VCenter) answer(t testing.TB, g *Guest, conn net.Conn) {
	defer conn.Close()
	command, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return // the guest was switched off
	}
	key, ok := strings.CutPrefix(strings.TrimSpace(command), "info-get ")
	if !ok {
		fmt.Fprint(conn, "0 Unknown command")
		return
	}
	info, err := v.GuestInfo(lasting(t), g.vm)
	if value := info[key]; err == nil && value != "" {
		fmt.Fprint(conn, "1 "+value)
		return
	}
	fmt.Fprint(conn, "0 No value found")
}
