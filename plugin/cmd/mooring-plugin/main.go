// Command mooring-plugin is Docker's volume plugin "vsphere": in a managed
// plugin or as a plain process.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/version"
	"mooring.dev/mooring/plugin/internal/app"
)

func main() { os.Exit(run()) }

func run() int {
	if code, is := app.Guard(os.Args[1:]); is {
		return code
	}
	s, onlyVersion, err := app.Parse(os.Args[1:], os.LookupEnv, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(os.Stderr, "mooring-plugin:", errkind.Text(err))
		return errkind.Invalid.ExitCode()
	case onlyVersion:
		fmt.Println("mooring-plugin", version.String())
		return 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := app.Run(ctx, s, version.String()); err != nil {
		fmt.Fprintln(os.Stderr, "mooring-plugin:", errkind.Text(err))
		return errkind.Of(err).ExitCode()
	}
	return 0
}
