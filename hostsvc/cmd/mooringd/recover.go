package main

import (
	"context"
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
	"mooring.dev/mooring/pkg/volspec"
)

// recovery is mooringd recover.
func recovery(args []string, out, errs io.Writer) int {
	o := app.RecoverOptions{Out: out}
	f := flag.NewFlagSet("mooringd recover", flag.ContinueOnError)
	f.SetOutput(errs)
	f.StringVar(&o.Config, "config", config.DefaultPath, "configuration `file`; made if there is none")
	kit := f.String("kit", "", "`file` with the kit that mooring self-backup kit made; needed")
	f.StringVar(&o.Path, "path", "", "`folder` of the repository, if it is not where the kit says")
	f.StringVar(&o.Credentials, "credentials-file", "", "`file` with credentials of the place, if those in the kit are not valid any more")
	f.Func("copy", "`id` of the copy to take; without it the newest", func(s string) error {
		o.Copy = volspec.PointID(s)
		return nil
	})
	if err := f.Parse(args); err != nil {
		return 2
	}
	if f.NArg() > 0 || *kit == "" {
		fmt.Fprintln(errs, "mooringd: nothing can be recovered without a kit: add --kit=FILE")
		f.Usage()
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, stop)
	text, err := secret.ReadFile(*kit, "the recovery kit")
	if err == nil {
		o.Kit = text.Reveal()
		err = app.Recover(ctx, o)
	}
	if err != nil {
		fmt.Fprintf(errs, "mooringd: %s\n", errkind.Text(err))
	}
	return app.ExitCode(err)
}
