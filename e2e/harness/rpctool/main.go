// Command rpctool stands in a guest for VMware's vmware-rpctool:
//
//	vmware-rpctool 'info-get guestinfo.KEY'
//
// It prints what the hypervisor has under the key, or says that there is
// nothing and fails, as the real one does. See harness.VCenter: Tools.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
)

// socket is where the guest's hypervisor is asked.
const socket = "/srv/tools.sock"

func main() {
	if err := call(strings.Join(os.Args[1:], " ")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func call(command string) error {
	conn, err := new(net.Dialer).DialContext(context.Background(), "unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := fmt.Fprintln(conn, command); err != nil {
		return err
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		return err
	}
	text, ok := strings.CutPrefix(string(answer), "1 ")
	if !ok {
		return errors.New(strings.TrimPrefix(string(answer), "0 "))
	}
	fmt.Println(text)
	return nil
}
