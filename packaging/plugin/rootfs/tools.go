package main

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// needed are the programs that plugin/internal/disk runs, with the Debian
// package that has each.
var needed = []struct{ program, from string }{
	{"mkfs.ext4", "e2fsprogs"},
	{"e2fsck", "e2fsprogs"},
	{"resize2fs", "e2fsprogs"},
	{"tune2fs", "e2fsprogs"},
	{"mkfs.xfs", "xfsprogs"},
	{"xfs_db", "xfsprogs"},
	{"mkfs.btrfs", "btrfs-progs"},
	{"btrfstune", "btrfs-progs"},
}

var (
	programDirs = []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin"}
	libraryDirs = []string{
		"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu",
		"/lib64", "/usr/lib64", "/lib", "/usr/lib",
	}
)

// tools copies the programs, and what they need, to the paths at which their
// loader looks.
func tools(root string) error {
	var missing []error
	libraries := map[string]bool{}
	for _, n := range needed {
		path, err := find(n.program, programDirs)
		if err != nil {
			missing = append(missing, fmt.Errorf("%s is missing: install %s", n.program, n.from))
			continue
		}
		if err := copyFile(path, filepath.Join(root, "usr/sbin", n.program), 0o755); err != nil {
			return err
		}
		if err := closure(path, libraries); err != nil {
			return err
		}
	}
	if len(missing) > 0 {
		return errors.Join(missing...)
	}
	for lib := range libraries {
		if err := copyFile(lib, filepath.Join(root, lib), 0o755); err != nil {
			return err
		}
	}
	return copyFile("/etc/mke2fs.conf", filepath.Join(root, "etc/mke2fs.conf"), 0o644)
}

// closure adds the loader and the libraries of a program, and of those.
func closure(path string, seen map[string]bool) (err error) {
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	add := func(lib string) error {
		if seen[lib] {
			return nil
		}
		seen[lib] = true
		return closure(lib, seen)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			name, err := io.ReadAll(p.Open())
			if err != nil {
				return err
			}
			if err := add(strings.TrimRight(string(name), "\x00")); err != nil {
				return err
			}
		}
	}
	libs, err := f.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, name := range libs {
		lib, err := find(name, libraryDirs)
		if err != nil {
			return fmt.Errorf("%s needs %s: %w", path, name, err)
		}
		if err := add(lib); err != nil {
			return err
		}
	}
	return nil
}

func find(name string, dirs []string) (string, error) {
	for _, d := range dirs {
		p := filepath.Join(d, name)
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() {
			return p, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, os.ErrNotExist)
}

// static makes sure that the plugin starts without any library.
func static(path string) error {
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	libs, err := f.ImportedLibraries()
	err = errors.Join(err, f.Close())
	if err == nil && len(libs) > 0 {
		err = fmt.Errorf("%s is not static, it needs %v: build it with CGO_ENABLED=0", path, libs)
	}
	return err
}

func copyFile(from, to string, perm os.FileMode) (err error) {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Chmod(perm), out.Close())
}
