#!/bin/sh
# Builds the Debian packages mooring and mooring-plugin:
#   packaging/deb/build.sh OUTDIR VERSION
# Needs Go, dpkg-deb, and the filesystem tools that the plugin carries.
set -eu
[ $# = 2 ] || {
	echo "usage: $0 OUTDIR VERSION" >&2
	exit 2
}
mkdir -p "$1"
out=$(cd "$1" && pwd)
version=$2
root=$(cd "$(dirname "$0")/../.." && pwd)
arch=$(dpkg --print-architecture)
cd "$root"

# A Debian version begins with a digit and has no dash of its own.
deb=$(printf %s "${version#v}" | tr -c 'A-Za-z0-9.+~' '+')
case $deb in [0-9]*) ;; *) deb=0~$deb ;; esac

SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
umask 022
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
bin=$stage/bin
CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X mooring.dev/mooring/pkg/version.stamp=$version" \
	-o "$bin/" ./hostsvc/cmd/mooringd ./hostsvc/cmd/mooring ./plugin/cmd/mooring-plugin

# control PACKAGE DEPENDS DESCRIPTION: the metadata and the maintainer scripts.
control() {
	dir=$stage/$1
	mkdir -p "$dir/DEBIAN"
	for f in conffiles postinst prerm postrm; do
		[ -e "packaging/deb/$1/$f" ] || continue
		mode=0755
		[ "$f" = conffiles ] && mode=0644
		install -m $mode "packaging/deb/$1/$f" "$dir/DEBIAN/$f"
	done
	cat >"$dir/DEBIAN/control" <<END
Package: $1
Version: $deb
Architecture: $arch
Maintainer: Mooring developers <developers@mooring.dev>
Section: admin
Priority: optional
Installed-Size: $(du -sk "$dir" | cut -f1)
$2
Homepage: https://mooring.dev
Description: $3
END
	(cd "$dir" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
	dpkg-deb --root-owner-group --build "$dir" "$out/$1_${deb}_$arch.deb"
}

# docs PACKAGE FILE...: what a package says of itself.
docs() {
	dir=$stage/$1/usr/share/doc/$1
	shift
	mkdir -p "$dir"
	for f; do
		[ ! -e "$f" ] || install -m 0644 "$f" "$dir/"
	done
}

# --- mooring: daemon, command, unit, sample configuration ---------------------
p=$stage/mooring
install -D -m 0755 "$bin/mooringd" "$p/usr/bin/mooringd"
install -D -m 0755 "$bin/mooring" "$p/usr/bin/mooring"
install -D -m 0644 packaging/systemd/mooringd.service "$p/lib/systemd/system/mooringd.service"
install -D -m 0644 packaging/systemd/mooring.sysusers "$p/usr/lib/sysusers.d/mooring.conf"
install -D -m 0644 config/samples/minimal.toml "$p/etc/mooring/mooring.toml"
mkdir -p "$p/etc/mooring/mooring.toml.d" "$p/usr/share/doc/mooring/examples"
install -m 0644 config/samples/*.toml "$p/usr/share/doc/mooring/examples/"
install -D -m 0644 packaging/deb/mooringd.8 "$p/usr/share/man/man8/mooringd.8"
mkdir -p "$p/usr/share/man/man1"
"$bin/mooring" man "$p/usr/share/man/man1"
find "$p/usr/share/man" -type f -exec gzip -9n {} +
install -d "$p/usr/share/bash-completion/completions" "$p/usr/share/zsh/vendor-completions" "$p/usr/share/fish/vendor_completions.d"
"$bin/mooring" completion bash >"$p/usr/share/bash-completion/completions/mooring"
"$bin/mooring" completion zsh >"$p/usr/share/zsh/vendor-completions/_mooring"
"$bin/mooring" completion fish >"$p/usr/share/fish/vendor_completions.d/mooring.fish"
docs mooring README.md docs/*.md
control mooring "Depends: passwd
Recommends: xfsprogs
Suggests: postgresql" "volumes and backup for Docker hosts and VMs, with tenants: host service
 mooringd keeps Docker volumes as disks on datastores, attaches them to
 virtual machines, backs volumes and VMs up, and enforces vmgroups with access
 rights and limits. Providers and tenants use its portal, its HTTP API or the
 mooring command."

# --- mooring-plugin: the Docker side -------------------------------------------
p=$stage/mooring-plugin
mkdir -p "$p/usr/lib/mooring"
go run ./packaging/plugin/rootfs -plugin "$bin/mooring-plugin" -version "$version" -out "$p/usr/lib/mooring/plugin"
install -D -m 0755 "$bin/mooring-plugin" "$p/usr/bin/mooring-plugin"
install -D -m 0755 packaging/deb/mooring-plugin-load "$p/usr/sbin/mooring-plugin-load"
install -D -m 0644 packaging/deb/mooring-plugin-load.8 "$p/usr/share/man/man8/mooring-plugin-load.8"
gzip -9n "$p/usr/share/man/man8/mooring-plugin-load.8"
install -D -m 0644 packaging/systemd/mooring-plugin.service "$p/lib/systemd/system/mooring-plugin.service"
install -D -m 0644 packaging/deb/mooring-plugin/default "$p/etc/default/mooring-plugin"
docs mooring-plugin docs/plugin*.md
control mooring-plugin "Depends: e2fsprogs, xfsprogs, btrfs-progs
Recommends: docker.io | docker-ce" "volumes for Docker hosts: the volume plugin vsphere
 The managed plugin as a folder that mooring-plugin-load gives to the Docker
 engine, and the same program as a plain process, for engines that cannot run
 managed plugins."
