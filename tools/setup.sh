#!/bin/sh
# Installs the Debian packages that are missing for a purpose:
#   tools/setup.sh demo    what running Mooring on this machine needs
#   tools/setup.sh test    that, and what the tests need
#   tools/setup.sh bench   what the demo needs, and what backups are compared with
# It says what it installs before it does. Without root it prints the command
# instead and fails. A package whose programs are there already, from any
# source, is not touched.
set -eu
PATH=$PATH:/usr/sbin:/sbin
purpose=${1:-test}

missing=
# need PACKAGE PROGRAM...: the package is missing unless all programs exist.
need() {
	package=$1
	shift
	for program; do
		command -v "$program" >/dev/null 2>&1 && continue
		[ -n "$(find /usr/lib/postgresql -name "$program" 2>/dev/null)" ] && continue
		missing="$missing $package"
		return
	done
}

need docker.io dockerd docker docker-init
need containerd containerd
need runc runc
need iptables iptables
need e2fsprogs mkfs.ext4 e2fsck resize2fs
need xfsprogs mkfs.xfs xfs_growfs
need btrfs-progs mkfs.btrfs btrfs
need busybox-static busybox
need util-linux nsenter losetup mount
need mawk awk
if [ "$purpose" = test ]; then
	need iproute2 ip
	need docker-registry docker-registry
	need docker-compose docker-compose
	need postgresql initdb postgres
	need gcc gcc # the race detector is linked with it
	need openssh-server sshd
	need chromium chromium
	need npm npm # fetches axe-core
	[ -e /usr/share/fonts/truetype/dejavu ] || missing="$missing fonts-dejavu-core"
	[ -e /usr/include/stdlib.h ] || missing="$missing libc6-dev"
fi
if [ "$purpose" = bench ]; then
	need restic restic
	need borgbackup borg
	need diffutils cmp
fi
[ -n "$missing" ] || exit 0

install="apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" != 0 ]; then
	echo "Needed but not installed:$missing" >&2
	echo "Run this as root, then try again:" >&2
	echo "  apt-get update && $install" >&2
	exit 1
fi
echo "Installing what is missing:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# Where no service manager runs, starting the installed services fails with a
# complaint; the packages are installed all the same.
$install
