package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/hostsvc/internal/app"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/secret"
	"mooring.dev/mooring/pkg/terminal"
)

// initialise is mooringd init.
func initialise(args []string, out, errs io.Writer) int {
	o := app.InitOptions{Out: out}
	f := flag.NewFlagSet("mooringd init", flag.ContinueOnError)
	f.SetOutput(errs)
	f.StringVar(&o.Config, "config", config.DefaultPath, "configuration `file`")
	f.StringVar(&o.Mode, "mode", "", "`multi` for many tenants, single for exactly one; single can become multi later")
	f.StringVar(&o.User, "user", "admin", "`name` of the first administrator")
	file := f.String("password-file", "", "`file` with its password, - for standard input; without one it is asked for on a terminal, and generated elsewhere")
	if err := f.Parse(args); err != nil {
		return 2
	}
	if f.NArg() > 0 {
		fmt.Fprintf(errs, "mooringd: unexpected argument %q\n", f.Arg(0))
		f.Usage()
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, stop)
	o.Password = func() (string, error) { return firstPassword(ctx, *file) }
	err := app.Init(ctx, o)
	if err != nil {
		fmt.Fprintf(errs, "mooringd: %s\n", errkind.Text(err))
	}
	return app.ExitCode(err)
}

// firstPassword is what the first administrator will log in with, "" if it is
// to be generated.
func firstPassword(ctx context.Context, file string) (string, error) {
	switch {
	case file != "":
		text, err := secret.ReadLineOr(file, os.Stdin, "the password of the first administrator")
		return text.Reveal(), err
	case !terminal.Is(os.Stdin) || !terminal.Is(os.Stderr):
		return "", nil
	}
	first, err := terminal.ReadSecret(ctx, os.Stdin, os.Stderr, "Password of the first administrator (empty: one is generated): ")
	if err != nil || first == "" {
		return "", err
	}
	again, err := terminal.ReadSecret(ctx, os.Stdin, os.Stderr, "The same again: ")
	if err == nil && again != first {
		err = errors.New("the two passwords differ: nothing was made")
	}
	return first, err
}
