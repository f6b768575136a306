package main

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
)

// imageTar is the root filesystem of the image, made of this machine's
// busybox. A busybox that is not static brings its libraries.
func imageTar(ctx context.Context) ([]byte, error) {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return nil, errors.New("busybox is not installed: apt-get install busybox-static")
	}
	applets, err := exec.CommandContext(ctx, busybox, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("asking busybox for its applets: %w", err)
	}
	libs, err := libraries(ctx, busybox)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	var errs []error
	add := func(h tar.Header, body []byte) {
		h.Size = int64(len(body))
		errs = append(errs, w.WriteHeader(&h))
		_, err := w.Write(body)
		errs = append(errs, err)
	}
	file := func(from, to string) {
		body, err := os.ReadFile(from)
		errs = append(errs, err)
		add(tar.Header{Typeflag: tar.TypeReg, Name: to, Mode: 0o755}, body)
	}
	for _, dir := range []string{"bin", "etc", "proc", "sys", "dev", "tmp"} {
		add(tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}, nil)
	}
	file(busybox, "bin/busybox")
	for _, lib := range libs {
		file(lib, strings.TrimPrefix(lib, "/"))
	}
	for _, a := range strings.Fields(string(applets)) {
		if a != "busybox" {
			add(tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + a, Linkname: "busybox", Mode: 0o777}, nil)
		}
	}
	add(tar.Header{Typeflag: tar.TypeReg, Name: "etc/passwd", Mode: 0o644}, []byte("root:x:0:0:root:/:/bin/sh\n"))
	return buf.Bytes(), errors.Join(append(errs, w.Close())...)
}

var libraryLine = regexp.MustCompile(`(?m)^\s*(?:\S+ => )?(/\S+) \(0x`)

// libraries are the files a program is linked with at its start; none for a
// static one.
func libraries(ctx context.Context, program string) ([]string, error) {
	f, err := elf.Open(program)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	linked := false
	for _, p := range f.Progs {
		linked = linked || p.Type == elf.PT_INTERP
	}
	if !linked {
		return nil, nil
	}
	out, err := exec.CommandContext(ctx, "ldd", program).Output()
	if err != nil {
		return nil, fmt.Errorf("asking for the libraries of %s: %w", program, err)
	}
	var libs []string
	for _, m := range libraryLine.FindAllStringSubmatch(string(out), -1) {
		libs = append(libs, m[1])
	}
	return libs, nil
}
