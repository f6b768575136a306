package main

import (
	"errors"
	"fmt"
	"strings"
)

// The commands of the story.
func mooring(words ...string) []string { return append([]string{"mooring"}, words...) }
func docker(words ...string) []string  { return append([]string{"docker"}, words...) }

// inContainer runs a command in a container that sees one volume in /data.
func inContainer(volume string, command ...string) []string {
	return append([]string{"docker", "run", "--rm", "--network=none", "-v", volume + ":/data", image}, command...)
}

const (
	defaultGroup = "11111111-1111-1111-1111-111111111111"
	dontForget   = " is created.  Do not forget to run 'vmgroup vm add' and 'vmgroup access add' commands to enable access control."
)

// story is what is told at a service with this configuration and portal.
func story(config, portal string) []chapter {
	return []chapter{
		firstAdministrator(config), teams(), members(), limits(), refusals(), containers(), isolation(), care(), trash(),
		backup(), loss(), proof(),
		delegation(), selfService(portal), service(),
	}
}

func teams() chapter {
	return chapter{"Two teams, two vmgroups", []step{
		{say: "At first every virtual machine belongs to the vmgroup _DEFAULT.", run: mooring("vmgroup", "ls"),
			want: []string{"Uuid", "Default_datastore  VM_list", defaultGroup + "  _DEFAULT  This is a default vmgroup"}},
		{run: mooring("vmgroup", "create", "--name=Product1Dev"), want: []string{"vmgroup 'Product1Dev'" + dontForget}},
		{run: mooring("vmgroup", "create", "--name=Product1Test"), want: []string{"vmgroup 'Product1Test'" + dontForget}},
		{say: "Without _DEFAULT only the machines of a vmgroup are served.",
			run: mooring("vmgroup", "rm", "--name=_DEFAULT"), want: []string{"vmgroup rm succeeded"}},
		{run: mooring("vmgroup", "ls"), want: []string{"  Product1Dev", "  Product1Test"}, not: []string{"_DEFAULT", "Photon"}},
	}}
}

func members() chapter {
	return chapter{"Three Docker hosts for each", []step{
		{run: mooring("vmgroup", "vm", "add", "--vm-list=Photon1,Photon2,Photon3", "--name=Product1Dev"), want: []string{"vmgroup vm add succeeded"}},
		{run: mooring("vmgroup", "vm", "add", "--vm-list=Photon4,Photon5,Photon6", "--name=Product1Test"), want: []string{"vmgroup vm add succeeded"}},
		{run: mooring("vmgroup", "ls"), want: []string{"Photon1,Photon2,Photon3", "Photon4,Photon5,Photon6"}},
	}}
}

func limits() chapter {
	add := func(group, total string) []string {
		return mooring("vmgroup", "access", "add", "--name="+group, "--datastore=datastore3", "--allow-create", "--default-datastore",
			"--volume-maxsize=1GB", "--volume-totalsize="+total)
	}
	const row = "datastore3  True          1.00GB           "
	return chapter{"Limits on datastore3: 1 GB a volume, 20 GB and 40 GB in all", []step{
		{run: add("Product1Dev", "20GB"), want: []string{"vmgroup access add succeeded"}},
		{run: add("Product1Test", "40GB"), want: []string{"vmgroup access add succeeded"}},
		{run: mooring("vmgroup", "access", "ls", "--name", "Product1Dev"), want: []string{"Datastore   Allow_create  Max_volume_size  Total_size", row + "20.00GB"}},
		{run: mooring("vmgroup", "access", "ls", "--name", "Product1Test"), want: []string{row + "40.00GB"}},
	}}
}

func refusals() chapter {
	return chapter{"What the limits refuse", []step{
		{say: "A tester asks for 2 GB, twice what one volume may have.", fails: true,
			run:  docker("volume", "create", "--name=MyVolume", "--driver=vsphere-test", "-o", "size=2GB"),
			want: []string{"create MyVolume: VolumeDriver.Create: Volume size exceeds the max volume size limit: 2 GiB asked, 1 GiB allowed"}},
		{say: "And on a datastore that nobody gave the testers.", fails: true,
			run:  docker("volume", "create", "--name=MyVolume@datastore1", "--driver=vsphere-test", "-o", "size=2GB"),
			want: []string{"create MyVolume@datastore1: VolumeDriver.Create: No create privilege"}},
		{say: "A size that nobody can mean, and an option that there is not.", fails: true,
			run:  docker("volume", "create", "--name=MyVolume", "--driver=vsphere-test", "-o", "size=12", "-o", "colour=red"),
			want: []string{`size "12" is not valid: add a unit`, "Invalid options: ['colour']"}},
	}}
}

func containers() chapter {
	return chapter{"Volumes of both teams in real containers", []step{
		{say: "The developers' MyVolume, through the plugin that speaks for Photon1.",
			run: docker("volume", "create", "--name=MyVolume", "--driver=vsphere", "-o", "size=100mb"), want: []string{"MyVolume"}},
		{run: inContainer("MyVolume", "sh", "-c", "echo 'the work of Dev' >/data/whose; df -PhT /data"), want: []string{"ext4", "/data"}},
		{say: "The testers' MyVolume, with another filesystem. One engine has one list of names,\nso this one is written in full here; on a host of its own it would be MyVolume too.",
			run: docker("volume", "create", "--name=MyVolume@datastore3", "--driver=vsphere-test", "-o", "size=512mb", "-o", "fstype=xfs"), want: []string{"MyVolume@datastore3"}},
		{run: inContainer("MyVolume@datastore3", "sh", "-c", "echo 'the work of Test' >/data/whose; df -PhT /data"), want: []string{"xfs", "/data"}},
		{say: "Other containers find what the first ones wrote.",
			run: inContainer("MyVolume", "cat", "/data/whose"), want: []string{"the work of Dev"}},
		{run: inContainer("MyVolume@datastore3", "cat", "/data/whose"), want: []string{"the work of Test"}},
		{say: "The administrator sees both: one name, two vmgroups, two disks.",
			run: mooring("volume", "ls"), want: []string{"Product1Dev", "Product1Test", "100MB", "512MB"}},
	}}
}

func isolation() chapter {
	var foreign string
	return chapter{"A team sees its own volumes and no others", []step{
		{run: docker("volume", "create", "--name=OnlyDev", "--driver=vsphere", "-o", "size=50mb"), want: []string{"OnlyDev"}},
		{say: "What the testers' host lists:",
			run: docker("volume", "ls", "--filter", "driver=vsphere-test:latest"), want: []string{"MyVolume@datastore3"}, not: []string{"OnlyDev"}},
		{say: "The testers cannot copy it:", fails: true,
			run:  docker("volume", "create", "--name=Stolen", "--driver=vsphere-test", "-o", "clone-from=OnlyDev"),
			want: []string{"Could not find volume for cloning OnlyDev"}},
		{say: "Whoever speaks on Photon4's channel is Photon4. A volume of the others and one\nthat is not there get the same answer.", only: onLocal, fails: true,
			run: []string{"Photon4"}, ask: "/api/v1/volumes/OnlyDev",
			want:  []string{"404", "not found"},
			check: func(a string) error { foreign = a; return nil }},
		{only: onLocal, fails: true, run: []string{"Photon4"}, ask: "/api/v1/volumes/NoSuch",
			check: func(a string) error {
				if same := strings.ReplaceAll(withoutRequest(a), "NoSuch", "OnlyDev"); same != withoutRequest(foreign) {
					return fmt.Errorf("it differs from that for a foreign volume: %s", foreign)
				}
				return nil
			}},
		{only: onLocal, run: []string{"Photon1"}, ask: "/api/v1/volumes/OnlyDev", want: []string{"200", `"vmgroup":"Product1Dev"`}},
		{say: "Photon1 belongs to the developers, and to nobody else.", fails: true,
			run:  mooring("vmgroup", "vm", "add", "--vm-list=Photon1", "--name=Product1Test"),
			want: []string{"Photon1", "Product1Dev"}},
	}}
}

func care() chapter {
	return chapter{"Looking after a volume", []step{
		{run: docker("volume", "inspect", "--format", "{{json .Status}}", "MyVolume"),
			want: []string{`"status":"detached"`, `"datastore":"datastore3"`, `"vmgroup":"Product1Dev"`, `"fstype":"ext4"`, `"created by VM":"Photon1"`, `"health":"ok"`}},
		{say: "A snapshot, a mistake, and a clone of how it was.",
			run: mooring("volume", "snapshot", "create", "Product1Dev/MyVolume", "before"), want: []string{"before"}},
		{run: inContainer("MyVolume", "sh", "-c", "echo 'a mistake' >/data/whose; cat /data/whose"), want: []string{"a mistake"}},
		{run: mooring("volume", "clone", "Product1Dev/MyVolume", "MyVolume-before", "--from-snapshot=before"), want: []string{"MyVolume-before"}},
		{run: inContainer("MyVolume-before", "cat", "/data/whose"), want: []string{"the work of Dev"}, not: []string{"mistake"}},
		{run: mooring("volume", "snapshot", "rm", "--yes", "Product1Dev/MyVolume", "before"), want: []string{"before"}},
		{say: "More room: the filesystem follows its disk, at the next mount at the latest.",
			run: mooring("volume", "resize", "Product1Dev/MyVolume", "300mb"), want: []string{"300 MiB"}},
		{run: inContainer("MyVolume", "df", "-Pm", "/data"), check: atLeast(250)},
		{say: "Not more than the vmgroup may have.", fails: true,
			run: mooring("volume", "resize", "Product1Dev/MyVolume", "2gb"), want: []string{"Volume size exceeds the max volume size limit"}},
	}}
}

// atLeast reads the size in the last line of df -Pm.
func atLeast(mb int) func(string) error {
	return func(answer string) error {
		lines := strings.Split(answer, "\n")
		var device string
		var size int
		if _, err := fmt.Sscan(lines[len(lines)-1], &device, &size); err != nil || size < mb {
			return errors.Join(fmt.Errorf("the filesystem does not have %d MB", mb), err)
		}
		return nil
	}
}

func trash() chapter {
	return chapter{"Removed is not lost", []step{
		{run: docker("volume", "rm", "MyVolume-before"), want: []string{"MyVolume-before"}},
		{run: mooring("volume", "trash", "ls"), want: []string{"MyVolume-before", "Product1Dev"}},
		{run: mooring("volume", "undelete", "Product1Dev/MyVolume-before"), want: []string{"Product1Dev/MyVolume-before@datastore3"}},
		{run: inContainer("MyVolume-before", "cat", "/data/whose"), want: []string{"the work of Dev"}},
	}}
}

func service() chapter {
	return chapter{"The service about itself", []step{
		{run: mooring("status"), want: []string{"Status: Running", "Hypervisor: ", "volumes: 4"}},
		{run: mooring("vm", "ls"), want: []string{"Photon1", "Photon6", "Product1Dev", "Product1Test"}},
		{say: "The machines with a plugin proved who they are.", only: onVSphere, run: mooring("vm", "ls", "-o", "wide"), want: []string{"  until "}},
		{run: mooring("doctor"), want: []string{"datastore3", "catalog"}, not: []string{"error"}},
		{say: "Who did what, refusals too.", run: mooring("audit", "--vmgroup=Product1Test"),
			want: []string{"vm:Photon4", "volume attach", "quota", "denied", "No create privilege"}},
	}}
}

// withoutRequest cuts the id out of an answer of the service, the one thing
// in which two equal answers differ.
func withoutRequest(answer string) string {
	before, rest, found := strings.Cut(answer, `"request":"`)
	if !found {
		return answer
	}
	_, after, _ := strings.Cut(rest, `"`)
	return before + after
}
