// Command mooringd is Mooring's host service.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/hostsvc/internal/app"
	"mooring.dev/mooring/pkg/version"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// gcPercent lets the heap grow by half of what is live until the next
// collection. Most of it are buffers of running jobs, which cost a collection
// nothing, and there are few: memory is dearer. GOGC in the environment wins.
const gcPercent = 50

func run(args []string, out, errs io.Writer) int {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if len(args) > 0 && args[0] == "init" {
		return initialise(args[1:], out, errs)
	}
	if len(args) > 0 && args[0] == "recover" {
		return recovery(args[1:], out, errs)
	}
	f := flag.NewFlagSet("mooringd", flag.ContinueOnError)
	f.SetOutput(errs)
	path := f.String("config", config.DefaultPath, "configuration `file`; FILE.d/*.toml are read after it")
	check := f.Bool("check", false, "check the configuration and exit")
	show := f.Bool("version", false, "print the version and exit")
	// "config check" is the same as --check, before or after the flags.
	words := len(args) >= 2 && slices.Equal(args[:2], []string{"config", "check"})
	if words {
		args = args[2:]
	}
	if err := f.Parse(args); err != nil {
		return 2
	}
	*check = *check || words
	switch {
	case *show:
		fmt.Fprintln(out, "mooringd", version.String())
		return 0
	case slices.Equal(f.Args(), []string{"config", "check"}):
		*check = true
	case f.NArg() > 0:
		fmt.Fprintf(errs, "mooringd: unexpected argument %q\n", f.Arg(0))
		f.Usage()
		return 2
	}
	var err error
	if *check {
		if err = app.Check(*path); err == nil {
			fmt.Fprintf(out, "configuration %s is valid\n", *path)
		}
	} else {
		err = serve(*path)
	}
	if err != nil {
		fmt.Fprintf(errs, "mooringd: %s\n", err)
	}
	return app.ExitCode(err)
}

// serve runs until a signal. Once the first has arrived the next one has its
// default effect: the process ends at once.
func serve(path string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, stop)
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	return app.Run(ctx, app.Options{Config: path, Version: version.String(), Reload: reload})
}
