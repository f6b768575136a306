package cli

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func at(day, hour int) time.Time { return time.Date(2017, time.August, day, hour, 36, 8, 0, time.UTC) }

// world is a service with something of everything.
func world() *memAdmin {
	spec := volspec.Spec{Size: 100 * volspec.MiB}.Defaulted()
	xfs := volspec.Spec{Size: 10 * volspec.GiB, FSType: volspec.XFS, DiskFormat: volspec.EagerZeroedThick, Access: volspec.ReadOnly, StoragePolicy: "gold", Protect: true}.Defaulted()
	vm := func(n int, name string) wire.VM {
		return wire.VM{ID: volspec.VMID(fmt.Sprintf("00000000-0000-4000-8000-%012d", n)), Name: name}
	}
	vm1, vm2 := vm(1, "vm1"), vm(2, "vm2")
	id := func(n int) volspec.VolumeID { return volspec.VolumeID(fmt.Sprintf("10000000-0000-4000-8000-%012d", n)) }
	return &memAdmin{
		groups: []wire.VMGroup{
			{ID: volspec.DefaultGroupID, Name: volspec.DefaultGroup, Description: "This is a default vmgroup", DefaultDatastore: volspec.VMDatastore, State: "enabled", Health: "good"},
			{
				ID: "dffe8829-b6b3-44c1-84fc-3dc08166b66d", Name: "Dev", State: "disabled", Health: "alarms", DefaultDatastore: "fast", VMs: []wire.VM{vm1, vm2}, Folders: []volspec.Folder{"/DC0/vm/tenants/dev"},
				Access: []wire.Access{
					{Datastore: "fast", AllowCreate: true, MaxSize: 500 * volspec.MiB, TotalSize: volspec.GiB, UsedBytes: int64(100 * volspec.MiB)},
					{Datastore: "slow"},
				},
				Source: "/etc/mooring/mooring.toml",
			},
		},
		volumes: []wire.Volume{
			{
				ID: id(1), Name: "db@fast", Volume: "db", Datastore: "fast", VMGroup: "Dev", State: volspec.Ready, Format: volspec.Formatted,
				SizeBytes: int64(100 * volspec.MiB), UsedBytes: int64(13*volspec.MiB + 7), FSBytes: int64(90 * volspec.MiB), FSNote: "it grows at the next mount",
				Spec: spec, Created: at(21, 4), CreatedBy: "vm1", AttachedTo: "vm2", AttachState: "attached", AttachedAt: at(22, 5), Epoch: 4,
				Serial: "10000000000040008000", Snapshots: 2, Health: "ok", CloneFrom: "seed",
				Backup: &wire.VolumeBackup{Policy: "nightly", LastSuccess: at(22, 3), LastPoint: "30000000-0000-4000-8000-000000000001", State: "ok"},
			},
			{
				ID: id(2), Name: "logs@slow", Volume: "logs", Datastore: "slow", VMGroup: "Dev", State: volspec.Ready, Format: volspec.Blank,
				SizeBytes: int64(10 * volspec.GiB), Spec: xfs, Created: at(3, 14), CreatedBy: "admin", AttachState: "detached", Health: "the disk is gone from datastore slow",
				Backup: &wire.VolumeBackup{State: "unprotected"},
			},
			{
				ID: id(3), Name: "old@fast", Volume: "old", Datastore: "fast", VMGroup: "Dev", State: volspec.Trashed, Format: volspec.Formatted, SizeBytes: int64(volspec.GiB),
				Spec: spec, Created: at(1, 1), CreatedBy: "vm1", TrashedAt: at(20, 1), PurgeAfter: at(21, 1), AttachState: "detached",
			},
			{
				ID: id(4), Name: "x@fast", Volume: "x", Datastore: "fast", VMGroup: volspec.DefaultGroup, State: volspec.Creating, Format: volspec.Blank, Spec: spec, AttachState: "detached",
			},
		},
		snapshots: []wire.Snapshot{{ID: "20000000-0000-4000-8000-000000000001", Name: "monday", Volume: "db@fast", Size: int64(100 * volspec.MiB), Created: at(21, 6)}},
		vms: []wire.VM{
			{ID: vm1.ID, Name: "vm1", VMGroup: "Dev", Datastore: "fast", Power: "on", Channel: "/run/mooring/guest/vm1.sock", LastSeen: at(22, 6), Plugin: "1.2.3", Attached: 1, Certificate: "until 2017-08-29T06:36:08Z"},
			{ID: vm2.ID, Name: "vm 2"},
		},
		stores: []wire.Datastore{
			{Name: "fast", ID: "d1", Type: "xfs", Path: "/srv/fast", Capacity: int64(100 * volspec.GiB), Free: int64(42 * volspec.GiB), Reflink: true, State: "online", Volumes: 3, Allocated: int64(1200 * volspec.MiB)},
			{Name: "slow", ID: "d2", Type: "ext4", Path: "/srv/slow", Capacity: int64(2 * volspec.TiB), Free: int64(volspec.TiB), State: "offline", Detail: "the folder is not there", Volumes: 1, Allocated: int64(10 * volspec.GiB)},
		},
		findings: []wire.Finding{
			{Level: "ok", Check: "catalog", Detail: "sqlite at /var/lib/mooring/catalog.db"},
			{Level: "error", Check: "datastore slow", Detail: "offline: the folder is not there", Remedy: "mount it"},
		},
		audit: []wire.AuditEntry{
			{Time: at(22, 7), Actor: "vm:vm1", VMGroup: "Dev", Action: "volume create", Object: "db@fast", Outcome: "ok", Request: "7f3a91c2"},
			{Time: at(22, 6), Actor: "admin:0", VMGroup: "Dev", Action: "volume rm", Object: "db@fast", Outcome: "in-use", Detail: "attached to \x1b[31mvm2", Request: "00c0ffee"},
		},
		scan: wire.ScanResult{Datastore: "fast", Items: []wire.ScanItem{
			{ID: id(1), Name: "db@fast", Group: "Dev", Size: int64(100 * volspec.MiB), Action: "known"},
			{ID: id(9), Size: int64(volspec.GiB), Action: "corrupt", Detail: "the disk has no metadata record beside it"},
		}},
		status: wire.Status{
			Version: "1.2.3", PID: 4711, Started: at(20, 0), Ready: true, Hypervisor: "local", Catalog: "sqlite /var/lib/mooring/catalog.db",
			Config: "/etc/mooring/mooring.toml", LogLevel: "info", Counts: map[string]int64{"vmgroups": 2, "volumes": 4, "vms": 2, "attached": 1},
			Problems: []string{"datastore slow is offline"},
		},
		fail:       map[string]error{},
		memBackups: vault(),
	}
}

// TestTranscripts plays command lines against the world and compares all they
// print, their exit codes and what the service was asked to change with one
// golden file for each noun.
func TestTranscripts(t *testing.T) {
	denied := errkind.New(errkind.Quota, "The total volume size exceeds the usage quota: 2 GiB asked, 1 GiB left")
	for name, c := range map[string]struct {
		lines []string
		fail  map[string]error
		in    string // what a person at a terminal answers
	}{
		"vmgroup.txt":   {lines: vmgroupLines},
		"tenant.txt":    {lines: tenantLines},
		"access.txt":    {lines: accessLines},
		"allowance.txt": {lines: allowanceLines},

		"folder.txt": {lines: folderLines},
		"user.txt":   {lines: userLines},
		"oidc.txt":   {lines: oidcLines},
		"volume.txt": {lines: volumeLines, fail: map[string]error{`CreateVolume "Dev" {"name":"big"`: denied}},
		"verbs.txt": {lines: verbLines, fail: map[string]error{
			`RemoveVolume "Dev" "db"`:   errkind.New(errkind.InUse, "Failed to remove volume db, in use by VM = vm2."),
			`SetVolume "Dev" "missing"`: errkind.New(errkind.NotFound, "Volume missing does not exist"),
		}},
		"person-no.txt":  {lines: askingLines, in: "n\n"},
		"person-yes.txt": {lines: askingLines, in: "YES\n"},
		"service.txt": {lines: serviceLines, fail: map[string]error{
			`RevokeVM "gone"`: errkind.New(errkind.NotFound, "VM gone has no certificate and no code: see mooring vm ls"),
		}},
		"usage.txt": {lines: usageLines},

		"repository.txt": {lines: repositoryLines, fail: map[string]error{
			`CheckRepository "Dev" "gone"`:           errkind.New(errkind.Offline, "repository gone cannot be checked: /srv/backup/gone holds no repository"),
			`CreateRepository "Dev" {"name":"wrong"`: errkind.New(errkind.WrongKey, "the key does not open the repository at /srv/backup/dev"),
		}},
		"backup.txt": {lines: backupLines, fail: map[string]error{
			`Backup "Ops"`:                         errkind.New(errkind.NotFound, "Vmgroup Ops does not exist"),
			`DeletePoint "Dev" "` + string(pid(1)): errkind.New(errkind.InUse, "recovery point is held"),
		}},
		"policy.txt":            {lines: policyLines},
		"job.txt":               {lines: jobLines},
		"backup-usage.txt":      {lines: backupUsageLines},
		"backup-person-no.txt":  {lines: backupAskingLines, in: "n\n"},
		"backup-person-yes.txt": {lines: backupAskingLines, in: "y\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var all strings.Builder
			for _, line := range c.lines {
				s := newSession(world())
				s.admin.fail = c.fail
				s.in, s.opts.Interactive = c.in, c.in != ""
				got := s.run(t, words(line)...)
				fmt.Fprintf(&all, "# mooring %s\n%s", line, got.out)
				for l := range strings.Lines(got.err) {
					all.WriteString("! " + strings.TrimRight(l, "\n") + "\n")
				}
				for _, call := range s.admin.calls {
					all.WriteString("> " + call + "\n")
				}
				fmt.Fprintf(&all, "= %d\n\n", got.code)
			}
			golden(t, name, all.String())
		})
	}
}

// words splits a line as a shell does, as far as these tests need it.
func words(line string) []string {
	var found []string
	var word strings.Builder
	quoted, started := false, false
	for _, r := range line {
		switch {
		case r == '\'':
			quoted, started = !quoted, true
		case r == ' ' && !quoted:
			if started {
				found = append(found, word.String())
			}
			word.Reset()
			started = false
		default:
			word.WriteRune(r)
			started = true
		}
	}
	if started {
		found = append(found, word.String())
	}
	return found
}

var vmgroupLines = []string{
	"vmgroup ls",
	"vmgroup ls -o wide",
	"vmgroup ls -o name",
	"vmgroup ls --no-headers",
	"vmgroup ls -o json",
	"vmgroup ls -o yaml",
	"vmgroup create --name=Ops --description='All of it' --default-datastore=_VM_DS --vm-list='a, b c,,d'",
	"vmgroup create --name=_DEFAULT",
	"vmgroup create Ops -o json",
	"vmgroup create Ops -o name",
	"vmgroup update --name=Dev --new-name=Dev2 --description= --default-datastore=slow",
	"vmgroup update Dev --description=x",
	"vmgroup rm --name=Dev",
	"vmgroup rm --name=Dev --force --remove-volumes",
	"vmgroup rm --name=Dev --remove-volumes --dry-run",
	"vmgroup rm --name=Dev --dry-run",
	"vmgroup rm --name=Nobody --dry-run",
	"vmgroup rm --name=Dev -o json",
	"vmgroup export --name=Dev",
	"vmgroup vm add --name=Dev --vm-list=a,b",
	"vmgroup vm rm --name=Dev --vm-list=a",
	"vmgroup vm replace --name=Dev --vm-list=",
	"vmgroup vm ls --name=Dev",
	"vmgroup vm ls --name=_DEFAULT",
	"vmgroup vm ls --name=Nobody",
	"vmgroup vm ls Dev -o name",
}

var accessLines = []string{
	"vmgroup access ls --name=Dev",
	"vmgroup access ls --name Dev -o wide",
	"vmgroup access ls Nobody",
	"vmgroup access add --name=Dev --datastore=slow",
	"vmgroup access add --name=Dev --datastore=_ALL_DS --allow-create --volume-maxsize=500MB --volume-totalsize=unset",
	"vmgroup access set --name=Dev --datastore=fast --allow-create=False",
	"vmgroup access set --name=Dev --datastore=fast --allow-create True --volume-maxsize=unset --volume-totalsize=2TB",
	"vmgroup access set --name=Dev --datastore=fast --allow-create=maybe",
	"vmgroup access set --name=Dev --datastore=fast --volume-maxsize=0",
	"vmgroup access set --name=Dev --datastore=fast --volume-totalsize=10XB",
	"vmgroup access add --name=Dev --datastore=fast --volume-maxsize=much --volume-totalsize=-1GB",
	"vmgroup access set --name=Dev --datastore=fast",
	"vmgroup access rm --name=Dev --datastore=fast",
	"vmgroup access rm --name=Dev",
	"vmgroup access add --datastore=fast",
}

var folderLines = []string{
	"vmgroup folder add --name=Dev --folder=/DC0/vm/tenants/dev",
	"vmgroup folder add --name=Dev",
	"vmgroup folder add --folder=tenants/dev",
	"vmgroup folder ls --name=Dev",
	"vmgroup folder ls Nobody",
	"vmgroup folder rm --name=Dev --folder=tenants/dev",
	"vmgroup folder rm Dev --folder=",
}

var volumeLines = []string{
	"volume ls",
	"volume ls --vmgroup=D*",
	"volume ls --vmgroup=Dev --datastore=slow -o wide",
	"volume ls --vmgroup=Nobody",
	"volume ls --vmgroup=N*",
	"volume ls -c created,volume,used",
	"volume ls -c volume,atached-to",
	"volume ls -c 'volume, used'",
	"volume ls -o name",
	"volume ls --vmgroup=Nob* -o json",
	"volume shortls --vmgroup=Dev",
	"volume inspect Dev/db",
	"volume inspect --vmgroup=Dev logs@slow -o yaml",
	"volume inspect Dev/old",
	"volume inspect Dev/logs@slow",
	"volume inspect Dev/nothing",
	"volume create Dev/new",
	"volume create --vmgroup=Dev new --size=10gb --options='fstype=xfs, access=read-only' --option=mountopts=noatime,discard",
	"volume create Dev/new -o json",
	"volume create Dev/big --size=2gb",
	"volume set --volume=db@fast --vmgroup=Dev --options='access=read-only, attach-as=persistent'",
	"volume set Dev/db --option=mountopts=noatime,discard --option=protect=true",
	"volume set Dev/db --option=mountopts=",
	"volume set Dev/db --backup-policy=nightly",
	"volume set Dev/db --backup-policy=",
	"volume set Dev/db --backup-policy=a --option=backup-policy=b",
	"volume set Dev/db --backup-policy=a/b",
	"volume set --volume=db@fast --vmgroup=Dev --options=size=1gb",
	"volume set --volume=db@fast --vmgroup=Dev --options=acess=read-only",
	"volume set --volume=db@fast --vmgroup=Dev --options=access=sometimes",
	"volume set Dev/db",
	"volume trash ls",
	"volume trash ls --vmgroup=Dev -o name",
	"volume undelete Dev/old",
	"volume undelete Dev/old --new-name=older",
	"volume snapshot ls Dev/db",
	"volume snapshot ls Dev/db -o wide",
	"volume snapshot create Dev/db tuesday",
	"volume snapshot rm Dev/db monday",
	"volume doctor Dev/db",
	"volume doctor Dev/logs",
	"volume doctor Dev/old",
	"volume doctor _DEFAULT/x",
}

var verbLines = []string{
	"volume rm Dev/logs",
	"volume rm Dev/db",
	"volume rm Dev/db Dev/logs",
	"volume rm --vmgroup=Dev logs old -o name",
	"volume rm Dev/logs --purge",
	"volume rm Dev/logs --purge --yes",
	"volume rm Dev/logs Dev/nothing --dry-run",
	"volume rm Dev/logs --purge --dry-run",
	"volume rm Dev/logs -o json",
	"volume protect Dev/db Dev/logs",
	"volume unprotect Dev/db",
	"volume protect Dev/missing Dev/db -o name",
	"volume resize Dev/db 20gb",
	"volume resize Dev/logs 20gb -o name",
	"volume resize Dev/db 20",
	"volume clone Dev/db db-test --option=access=read-only",
	"volume clone Dev/db Dev/db-monday --from-snapshot=monday",
	"volume clone Dev/db Ops/db",
	"volume clone Dev/db copy --option=clone-from=x",
	"volume detach Dev/db",
	"volume detach Dev/db --force",
	"volume detach Dev/db --force --yes",
}

var askingLines = []string{
	"volume detach Dev/db --force",
	"volume rm Dev/logs --purge",
	"vmgroup rm --name=Dev --remove-volumes",
	"vmgroup rm --name=Dev",
}

var serviceLines = []string{
	"status",
	"status -o json",
	"doctor",
	"doctor isolation",
	"audit",
	"audit --vmgroup=Dev --limit=1 -o wide",
	"audit --limit=0",
	"vm ls",
	"vm ls -o wide",
	"vm enroll vm1",
	"vm enroll vm1 -o name",
	"vm enroll vm1 -o json",
	"vm enroll vm1 --guestinfo",
	"vm enroll vm1 --guestinfo -o name",
	"vm enroll",
	"vm revoke vm1",
	"vm revoke gone",
	"datastore ls",
	"datastore ls -o wide",
	"datastore scan fast",
	"datastore scan fast --adopt",
	"config check --config=good.toml",
	"config check",
	"config show --config=good.toml",
	"config show --defaults",
	"config show --defaults --config=good.toml",
	"version",
	"version -o json",
}

var usageLines = []string{
	"",
	"vmgroup",
	"vmgruop ls",
	"volume list",
	"help nothing",
	"vmgroup create",
	"vmgroup create a b",
	"vmgroup create --name=a b",
	"vmgroup create --nam=a",
	"vmgroup ls everything",
	"vmgroup ls -x",
	"vmgroup ls -o jsno",
	"vmgroup update Dev",
	"vmgroup vm add Dev",
	"volume inspect",
	"volume inspect db",
	"volume inspect Dev/db --vmgroup=Ops",
	"volume inspect Dev/",
	"volume inspect Dev/db more",
	"volume rm",
	"volume resize Dev/db",
	"volume create Dev/a --options=size",
	"volume create Dev/a --options='size=1gb, size=2gb'",
	"volume create Dev/a --size=1gb --options=size=2gb",
	"datastore scan",
	"completion",
	"completion tcsh",
	"man",
	"version --wait",
}
