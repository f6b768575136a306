// Command mooring manages volumes, vmgroups and datastores of the host
// service on this machine. Package hostsvc/internal/cli is the command; this
// is its wiring to the process.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/hostsvc/internal/cli"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/terminal"
	"mooring.dev/mooring/pkg/version"
	"mooring.dev/mooring/pkg/wire"
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
		Interactive: terminal.Is(os.Stdin) && terminal.Is(os.Stderr),
		Color:       terminal.Is(os.Stderr) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb",
		Connect:     connect,
		Web:         web{},
		Password:    password,
		Config:      configuration{},
	})
}

func connect(address string) (cli.Admin, error) {
	return hostclient.NewAdmin(address, hostclient.Options{UserAgent: "mooring/" + version.String()}), nil
}

// web reaches services over HTTPS.
type web struct{}

func options(trust hostclient.Trust, token string) hostclient.Options {
	return hostclient.Options{UserAgent: "mooring/" + version.String(), Token: token, TLS: trust.TLS}
}

func (web) Connect(channel string, trust hostclient.Trust, token string) (cli.Admin, error) {
	return hostclient.NewAdmin(channel, options(trust, token)), nil
}

func (web) Probe(ctx context.Context, channel string) (hostclient.Shown, error) {
	return hostclient.Probe(ctx, channel)
}

func (web) Login(ctx context.Context, channel string, trust hostclient.Trust, r wire.Login) (cli.Visit, wire.Session, error) {
	a := hostclient.NewAdmin(channel, options(trust, ""))
	s, err := a.Login(ctx, r)
	if err != nil {
		a.Close()
		return nil, s, err
	}
	return a, s, nil
}

// password reads a line from the terminal that does not show.
func password(ctx context.Context, prompt string) (string, error) {
	return terminal.ReadSecret(ctx, os.Stdin, os.Stderr, prompt)
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
