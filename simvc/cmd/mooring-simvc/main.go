// Command mooring-simvc is a vCenter for tests, with bytes in its disks.
package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"mooring.dev/mooring/simvc/internal/socket"
	"mooring.dev/mooring/simvc/internal/vc"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "mooring-simvc:", err)
		os.Exit(1)
	}
}

func run() error {
	var o vc.Options
	var stores string
	var withParent, unplug bool
	flag.StringVar(&o.Dir, "dir", "", "directory of the datastores and of the state; needed")
	flag.IntVar(&o.Hosts, "hosts", 2, "hosts of the cluster")
	flag.IntVar(&o.VMs, "vms", 0, "machines to make at the first start")
	flag.StringVar(&stores, "datastores", "ds-0,ds-1", "names of the datastores")
	flag.Int64Var(&o.Capacity, "capacity", 100<<30, "bytes of each datastore")
	flag.BoolVar(&o.ESX, "esx", false, "one host without a vCenter")
	flag.StringVar(&o.User, "user", "administrator@vsphere.local", "who may log in")
	flag.StringVar(&o.Password, "password", "", "with this; default: a random one, kept in the directory")
	flag.BoolVar(&o.PinSnapshots, "pin-snapshots", false, "storage motion refuses first-class disks that have snapshots")
	flag.BoolVar(&withParent, "with-parent", false, "end when standard input ends")
	flag.BoolVar(&unplug, "unplug", false, "only free the devices that a killed predecessor left plugged")
	flag.Parse()
	if o.Dir == "" || flag.NArg() > 0 {
		return errors.New("give -dir and nothing but flags")
	}
	if unplug {
		return vc.UnplugLeft(o.Dir)
	}
	o.Datastores = strings.Split(stores, ",")
	if err := password(&o); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if withParent {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			stop()
		}()
	}
	s, err := vc.New(o)
	if err != nil {
		return err
	}
	path := socketPath(o.Dir)
	l, err := socket.Listen(ctx, path)
	if err != nil {
		return err
	}
	errs := make(chan error, 2)
	go func() { errs <- socket.Serve(ctx, l, s) }()
	go func() {
		errs <- s.Serve(ctx, func() {
			_ = json.NewEncoder(os.Stdout).Encode(map[string]string{
				"URL": s.URL(), "User": o.User, "Password": o.Password, "Thumbprint": s.Thumbprint(),
				"CAFile": s.CAFile(), "Dir": o.Dir, "Socket": path,
			})
		})
	}()
	err = <-errs
	stop()
	return errors.Join(err, <-errs, s.UnplugAll())
}

// socketPath is in the directory, unless that makes it longer than the path of
// a socket may be.
func socketPath(dir string) string {
	const limit = 100
	path := filepath.Join(dir, "control.sock")
	if len(path) <= limit {
		return path
	}
	sum := sha256.Sum256([]byte(dir))
	return filepath.Join(os.TempDir(), fmt.Sprintf("simvc-%x.sock", sum[:8]))
}

// password makes one, or takes the one from before.
func password(o *vc.Options) error {
	if o.Password != "" {
		return nil
	}
	file := filepath.Join(o.Dir, "state", "password")
	if b, err := os.ReadFile(file); err == nil {
		o.Password = strings.TrimSpace(string(b))
		return nil
	}
	o.Password = rand.Text()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(o.Password+"\n"), 0o600)
}
