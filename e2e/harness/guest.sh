#!/bin/sh
# The first program of a guest, pid 1 of its new namespaces.
# Arguments: the guest's name, its own folder, the lab's folder, and the
# folder with its channel to the host service.
set -eu
name=$1 own=$2 lab=$3 channel=$4
mount --make-rprivate /
echo "$name" >/proc/sys/kernel/hostname
mount -t proc proc /proc

# Own /srv (what outlives a boot), /run, /tmp and /dev. The tmpfs behind /dev
# was made outside, so that the hypervisor can plug nodes into it.
mount --bind "$own/disk" /srv
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/docker /run/mooring
mount --bind "$channel" /run/mooring
mount --rbind "$own/dev" /dev

# Nothing else of the lab: neither the mounts that were copied from outside,
# which would keep datastores busy, those of other labs, tests and demos as
# well, nor the folders of other guests.
awk -v base="${lab%/*}/" 'index($5, base) == 1 || $5 ~ "^/(var/lib|run)/mooring-demo" { print $5 }' /proc/self/mountinfo | sort -r | while read -r m; do
	umount -l "$m" 2>/dev/null || ! mountpoint -q "$m" # it may have gone with another one
done
mount -t tmpfs tmpfs "$lab"
mount -t tmpfs -o mode=1777 tmpfs /tmp
ip link set lo up
: >/srv/booted
exec docker-init -- sleep infinity
