package harness

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// tools are what the harness runs, each with its Debian package.
var tools = map[string]string{
	"dockerd": "docker.io", "docker": "docker.io", "docker-init": "docker.io", "containerd": "containerd", "runc": "runc",
	"busybox": "busybox-static", "docker-registry": "docker-registry", "ip": "iproute2", "iptables": "iptables",
	"nsenter": "util-linux", "mkfs.ext4": "e2fsprogs", "mkfs.xfs": "xfsprogs", "mkfs.btrfs": "btrfs-progs", "awk": "mawk",
	"xfs_repair": "xfsprogs", "e2fsck": "e2fsprogs", "btrfs": "btrfs-progs", "sshd": "openssh-server",
}

// checkTools names everything that is missing in one error.
func checkTools() error {
	missing := map[string]bool{}
	for tool, pkg := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			missing[pkg] = true
		}
	}
	if len(missing) == 0 {
		return nil
	}
	var pkgs []string
	for pkg := range missing {
		pkgs = append(pkgs, pkg)
	}
	return fmt.Errorf("the end-to-end tests need programs that are not installed: apt-get install %s (or: make setup)", strings.Join(pkgs, " "))
}

// writeImage writes the root filesystem of the test image as a tar.
func writeImage(ctx context.Context, path string) (string, error) {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return "", err
	}
	bin, err := os.ReadFile(busybox)
	if err != nil {
		return "", err
	}
	list, err := exec.CommandContext(ctx, busybox, "--list").Output()
	if err != nil {
		return "", fmt.Errorf("asking busybox for its applets: %w", err)
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
	for _, dir := range []string{"bin", "etc", "proc", "sys", "dev", "data", "seed"} {
		add(tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}, nil)
	}
	add(tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}, nil)
	add(tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755}, bin)
	for _, applet := range strings.Fields(string(list)) {
		if applet != "busybox" {
			add(tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + applet, Linkname: "busybox", Mode: 0o777}, nil)
		}
	}
	add(tar.Header{Typeflag: tar.TypeReg, Name: "etc/passwd", Mode: 0o644}, []byte("root:x:0:0:root:/:/bin/sh\nuser:x:1001:1001::/:/bin/sh\n"))
	add(tar.Header{Typeflag: tar.TypeReg, Name: "seed/from-image", Mode: 0o644}, []byte("from the image\n"))
	if err := errors.Join(append(errs, w.Close())...); err != nil {
		return "", fmt.Errorf("writing the test image: %w", err)
	}
	return path, os.WriteFile(path, buf.Bytes(), 0o644)
}
