// Command demo plays Mooring's story on this machine: two teams share two
// datastores, each with its own vmgroup, limits and names, and containers of
// both write to volumes. Every command is shown with its real answer, and
// every answer is checked.
//
//	demo up     start over and play the story; the parts stay for looking around
//	demo down   remove everything the demo made
//
// "make demo" and "make demo-down" build what is needed and run it. It may be
// killed at any point: the next up or down clears what is left. It uses the
// Docker engine at /var/run/docker.sock if one answers, else one of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

func main() {
	// Commands die with this process; the kernel ties that to the thread which
	// starts them.
	runtime.LockOSThread()
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	if len(args) > 2 && args[0] == "exec" {
		return become(args[1], args[2:])
	}
	if len(args) != 1 || (args[0] != "up" && args[0] != "down") {
		fmt.Fprintln(os.Stderr, "usage: demo up | demo down")
		return 2
	}
	if os.Geteuid() != 0 {
		target := map[string]string{"up": "demo", "down": "demo-down"}[args[0]]
		fmt.Fprintf(os.Stderr, "The demo starts daemons, mounts filesystems and uses loop devices: it needs root. Run:\n  sudo env \"PATH=$PATH\" make %s\n", target)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	t := newTerminal()
	s, err := openSite()
	if err == nil {
		defer s.close()
		err = map[string]func(context.Context, *terminal, *site) error{"up": up, "down": down}[args[0]](ctx, t, s)
	}
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		t.fail("interrupted; \"make demo-down\" removes what is there")
		return 130
	}
	t.fail(err.Error())
	if args[0] == "up" && s != nil {
		fmt.Fprintf(os.Stderr, "Everything is left as it is, for looking: logs are in %s and %s.\n\"make demo\" starts over, \"make demo-down\" removes it.\n", s.log("mooringd"), s.log("dockerd"))
	}
	return 1
}

// up clears what an earlier demo left, starts everything and plays the story.
func up(ctx context.Context, t *terminal, s *site) error {
	start := time.Now()
	if len(leftovers()) > 0 {
		t.say("Clearing what an earlier demo left …")
		if err := clear(ctx, t, s); err != nil {
			return err
		}
	}
	w, err := build(ctx, t, s)
	if err != nil {
		return err
	}
	if err := play(ctx, t, w, told(story(s.config(), s.portal()), s.hypervisor)); err != nil {
		return err
	}
	logins, err := s.logins()
	if err != nil {
		return err
	}
	if err := os.WriteFile(loginsFile(), []byte(logins), 0o600); err != nil {
		return err
	}
	t.title("That was it, in %s, every answer checked", time.Since(start).Round(time.Second))
	t.say("Everything still runs. To look around, in this shell:")
	for _, line := range w.exports() {
		t.plain("  " + line)
	}
	t.plain("  mooring volume ls")
	t.plain("  docker volume create -d vsphere -o size=50mb mine")
	t.say("And in a browser; from another machine: ssh -L %s:%s THIS-MACHINE", s.door[len("127.0.0.1:"):], s.door)
	t.plain(logins)
	t.say("This is in %s, too. The configuration is %s, the documents begin with README.md.\nmake demo-down removes everything again.", loginsFile(), s.config())
	return nil
}

// down removes everything that any demo made.
func down(ctx context.Context, t *terminal, s *site) error {
	if len(leftovers()) == 0 {
		t.say("There is nothing of the demo on this machine.")
		return nil
	}
	if err := clear(ctx, t, s); err != nil {
		return err
	}
	if left := leftovers(); len(left) > 0 {
		return errors.New("something of the demo could not be removed: " + list(left))
	}
	t.say("Everything the demo made is gone: containers, volumes, plugins, daemons, loop devices, folders.")
	return nil
}
