// Command rootfs assembles what docker plugin create takes: a folder with
// config.json and rootfs/, the latter with the static plugin, the filesystem
// tools of this machine, the libraries they need and nothing else.
//
//	go run ./packaging/plugin/rootfs -out dist/plugin
//
// It needs e2fsprogs, xfsprogs and btrfs-progs installed; it runs none of
// them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
)

func main() {
	out := flag.String("out", "dist/plugin", "folder to make; what is there is replaced")
	source := flag.String("source", ".", "the repository")
	binary := flag.String("plugin", "", "a static mooring-plugin; without it one is built")
	version := flag.String("version", "dev", "version to link into the plugin")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	size, err := assemble(ctx, *source, *out, *binary, *version)
	if err != nil {
		fmt.Fprintln(os.Stderr, "rootfs:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
	fmt.Printf("%s: %.1f MiB\n", *out, float64(size)/(1<<20))
}

// folders that the plugin and the engine mount things on.
var folders = []string{"bin", "dev", "etc", "host/run", "mnt/vsphere", "proc", "run/docker/plugins", "sys", "tmp"}

func assemble(ctx context.Context, source, out, binary, version string) (size int64, err error) {
	if err := clear(out); err != nil {
		return 0, err
	}
	root := filepath.Join(out, "rootfs")
	for _, d := range folders {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return 0, err
		}
	}
	if err := copyFile(filepath.Join(source, "packaging/plugin/config.json"), filepath.Join(out, "config.json"), 0o644); err != nil {
		return 0, err
	}
	target := filepath.Join(root, "bin/mooring-plugin")
	if binary != "" {
		err = copyFile(binary, target, 0o755)
	} else {
		err = build(ctx, source, target, version)
	}
	if err == nil {
		err = static(target)
	}
	if err == nil {
		err = tools(root)
	}
	if err != nil {
		return 0, err
	}
	err = filepath.WalkDir(out, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	return size, err
}

// clear removes an earlier result, and only that.
func clear(out string) error {
	if _, err := os.Stat(out); errors.Is(err, os.ErrNotExist) {
		return os.MkdirAll(out, 0o755)
	}
	if _, err := os.Stat(filepath.Join(out, "config.json")); err != nil {
		entries, err := os.ReadDir(out)
		if err != nil {
			return err
		}
		if len(entries) > 0 {
			return fmt.Errorf("%s is not an earlier result: remove it or choose another folder", out)
		}
	}
	return errors.Join(os.RemoveAll(filepath.Join(out, "rootfs")), os.RemoveAll(filepath.Join(out, "config.json")))
}

func build(ctx context.Context, source, target, version string) error {
	abs, err := filepath.Abs(target)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w -X mooring.dev/mooring/pkg/version.stamp="+version, "-o", abs, "./plugin/cmd/mooring-plugin")
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}
