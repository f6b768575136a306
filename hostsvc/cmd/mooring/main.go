// Command mooring manages volumes, vmgroups and datastores of the host
// service on this machine. Package hostsvc/internal/cli is the command; this
// is its wiring to the process.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/hostsvc/internal/cli"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/version"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal ends the call in flight, the second the process.
	context.AfterFunc(ctx, stop)
	return cli.Run(ctx, os.Args[1:], cli.Options{
		Version:     version.String(),
		In:          os.Stdin,
		Out:         os.Stdout,
		Err:         os.Stderr,
		Getenv:      os.Getenv,
		Interactive: terminal(os.Stdin) && terminal(os.Stderr),
		Color:       terminal(os.Stderr) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb",
		Connect:     connect,
		Config:      configuration{},
	})
}

func connect(address string) (cli.Admin, error) {
	return hostclient.NewAdmin(address, hostclient.Options{UserAgent: "mooring/" + version.String()}), nil
}

// terminal reports whether a person may sit at f.
func terminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// configuration reads the daemon's files for config check and config show.
type configuration struct{}

func (configuration) DefaultPath() string { return config.DefaultPath }

func (configuration) Effective(path string) (string, error) {
	if path == "" {
		c, err := config.Parse("defaults", nil)
		c.Files = nil
		return config.Render(c), err
	}
	c, err := config.Load(path)
	if err != nil {
		return "", err
	}
	return config.Render(c), nil
}
