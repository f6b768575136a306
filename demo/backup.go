package main

import (
	"fmt"
	"path/filepath"
	"strings"
)

const (
	writer = "demo-writer" // a container that never stops writing
	sums   = "cd /data && sha256sum whose numbers"
)

// backup is the second act: what is backed up can be lost.
func backup() chapter {
	place := filepath.Join(homeDir, "backups", "dev")
	return chapter{"Second act: a repository, and backups while a container writes", []step{
		{say: "A repository of the developers' own, with a key of its own: a folder here, a bucket\nor an SFTP server elsewhere.",
			run: mooring("repository", "create", "Product1Dev/main", "--type=directory", "--path="+place), want: []string{"main"}},
		{run: mooring("repository", "ls"), want: []string{"main", "Product1Dev", "directory", "online"}},
		{run: inContainer("MyVolume", "sh", "-c", "echo 'a year of work' >/data/whose; seq 1 200000 >/data/numbers; ls -l /data"), want: []string{"numbers"}},
		{say: "A container writes and syncs without a pause.",
			run: []string{"docker", "run", "-d", "--name=" + writer, "--network=none", "-v", "MyVolume:/data", image, "sh", "-c",
				"i=0; while :; do i=$((i+1)); echo $i >>/data/log; sync; done"}, check: containerID},
		{say: "The plugin holds the filesystem still for an instant, the disk is cloned, and the\ncopy goes on while the container writes.",
			run: mooring("backup", "run", "Product1Dev/MyVolume"), want: []string{"done"}},
		{say: "Again: only what changed meanwhile is read.",
			run: mooring("backup", "run", "Product1Dev/MyVolume"), want: []string{"changed extents"}},
		{run: []string{"docker", "rm", "-f", writer}, want: []string{writer}},
		{run: mooring("backup", "run", "Product1Dev/MyVolume"), want: []string{"done"}},
		{run: mooring("backup", "ls", "Product1Dev"), want: []string{"MyVolume@datastore3", "completed", "filesystem"}, not: []string{"crash"}},
		{say: "From now on by itself, and an alarm if ever it does not happen.",
			run: mooring("backup", "policy", "create", "Product1Dev/nightly", "--volumes=*", "--repository=main", "--schedule=02:30",
				"--keep-daily=7", "--keep-weekly=5", "--rpo=26h", "--drill-schedule=Sun 04:00"), want: []string{"nightly"}},
		{run: mooring("backup", "status", "Product1Dev"), want: []string{"MyVolume@datastore3", "nightly"}},
	}}
}

// containerID is what docker run -d answers.
func containerID(answer string) error {
	if len(answer) != 64 {
		return fmt.Errorf("it is not the id of a container")
	}
	return nil
}

func loss() chapter {
	var before string
	return chapter{"The volume is lost, and is there again", []step{
		{run: inContainer("MyVolume", "sh", "-c", sums), want: []string{"whose"},
			check: func(a string) error { before = a; return nil }},
		{run: docker("volume", "rm", "MyVolume"), want: []string{"MyVolume"}},
		{say: "Not even the trash has it any more.",
			run: mooring("volume", "rm", "--purge", "--yes", "Product1Dev/MyVolume"), want: []string{"Volume Product1Dev/MyVolume is deleted."}},
		{say: "The developer needs nobody for this:",
			run: docker("volume", "create", "--name=MyVolume", "--driver=vsphere", "-o", "restore-from=latest"), want: []string{"MyVolume"}},
		{run: inContainer("MyVolume", "sh", "-c", sums), check: func(a string) error {
			if a != before {
				return fmt.Errorf("the content is not what it was: %s", before)
			}
			return nil
		}},
		{say: "The testers have no such recovery point.", fails: true,
			run:  docker("volume", "create", "--name=Mine", "--driver=vsphere-test", "-o", "restore-from=MyVolume@latest"),
			want: []string{"not found"}},
	}}
}

func proof() chapter {
	return chapter{"One file, a look back, and a proof", []step{
		{run: mooring("backup", "files", "Product1Dev/MyVolume@latest", "/"), want: []string{"whose", "numbers", "log"}},
		{run: mooring("backup", "get", "Product1Dev/MyVolume@latest", "/whose", "--out=-"), want: []string{"a year of work"}},
		{say: "The recovery point itself as a volume, without copying it first.", only: onLocal,
			run: docker("volume", "create", "--name=Yesterday", "--driver=vsphere", "-o", "view-of=MyVolume@latest"), want: []string{"Yesterday"}},
		{only: onLocal, run: inContainer("Yesterday", "cat", "/data/whose"), want: []string{"a year of work"}},
		{only: onLocal, run: docker("volume", "rm", "Yesterday"), want: []string{"Yesterday"}},
		{say: "A drill restores to scratch, compares, checks the filesystem, mounts it and reads.",
			run: mooring("backup", "drill", "Product1Dev/MyVolume@latest"), want: []string{"done"}},
		{run: mooring("backup", "ls", "Product1Dev"), check: func(a string) error {
			if strings.Count(a, "proven") != 1 {
				return fmt.Errorf("one recovery point should be proven")
			}
			return nil
		}},
	}}
}
