package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

var repositoryLines = []string{
	"repository ls",
	"repository ls Dev -o wide",
	"repository ls --vmgroup=Dev -o name",
	"repository ls Dev -o yaml",
	"repository inspect Dev/main",
	"repository inspect --vmgroup=Dev offsite",
	"repository inspect Dev/nothing",
	"repository create Dev/main --type=directory --path=/srv/b",
	"repository create Dev/main --type=directory --path=/srv/b -o name",
	"repository create --vmgroup=Dev s --type=s3 --endpoint=s3.example.org --bucket=b --prefix=p --region=r --ca-file=/ca --insecure --credentials-file=testdata/s3.keys",
	"repository create Dev/v --type=sftp --host=h --port=2222 --user=u --path=/p --host-key='ssh-ed25519 AAAA' --credentials-file=testdata/sftp.keys",
	"repository create Dev/main --path=/srv/b",
	"repository create Dev/main --type=folder --path=/srv/b",
	"repository create Dev/main --type=directory",
	"repository create Dev/main --type=directory --path=/srv/b --bucket=x",
	"repository create Dev/main --type=sftp --host=h --user=u --path=/p",
	"repository create Dev/main --type=s3 --endpoint=e --bucket=b --credentials-file=testdata/bad.keys",
	"repository create Dev/main --type=s3 --endpoint=e --bucket=b --credentials-file=testdata/none.keys",
	"repository create Dev/wrong --type=directory --path=/srv/b",
	"repository attach Dev/main --kit=testdata/main.kit",
	"repository attach Dev/main --kit=testdata/main.kit --credentials-file=testdata/s3.keys",
	"repository attach Dev/main --kit=testdata/main.kit --type=directory --path=/mnt",
	"repository attach Dev/main --kit=testdata/main.kit --path=/mnt",
	"repository attach Dev/main --type=directory --path=/mnt --key-file=testdata/main.key",
	"repository attach Dev/main --type=directory --path=/mnt",
	"repository attach Dev/main --kit=testdata/main.kit --key-file=testdata/main.key",
	"repository attach Dev/main --key-file=testdata/main.key",
	"repository detach Dev/main",
	"repository detach Dev/main --yes",
	"repository detach shelf1 --prepared",
	"repository check Dev/main",
	"repository check Dev/offsite",
	"repository check Dev/gone",
	"repository kit Dev/main",
	"repository kit Dev/main --with-credentials -o json",
	"repository kit Dev/main --out=testdata/main.kit",
	"repository credentials Dev/offsite --credentials-file=testdata/s3.keys",
	"repository credentials Dev/offsite",
	"repository prepare shelf2 --type=directory --path=/srv/s",
	"repository assign shelf1 --vmgroup=Dev",
	"repository assign shelf1",
	"repository usage",
	"repository usage Dev -o json",
	"repository limit Dev --max-stored=50gb",
	"repository limit Dev --max-stored=unset",
	"repository limit Dev --max-stored=50",
	"repository limit Dev",
}

var backupLines = []string{
	"backup run Dev/db",
	"backup run Dev/db -o name",
	"backup run Dev/db -o json",
	"backup run Dev/db --no-wait",
	"backup run Dev/db --wait=false -o name",
	"backup run Dev/db Dev/bad",
	"backup run Dev/bad",
	"backup run --vmgroup=Dev bad badder -o name",
	"backup run Dev/db Ops/x --repository=main --full --consistency=filesystem-required",
	"backup run Ops/x",
	"backup run Dev/vm/web01 Dev/db -o name",
	"backup run --vmgroup=Dev vm/web01 --no-wait",
	"backup run --policy=Dev/nightly",
	"backup run --vmgroup=Dev --policy=nightly --no-wait -o name",
	"backup status",
	"backup status Dev -o name",
	"backup status Dev -o json",
	"backup ls",
	"backup ls Dev --volume=db --repository=main -o wide",
	"backup ls --vmgroup=Dev -o name",
	"backup ls Dev --volume=none -o json",
	"backup inspect Dev/db@latest",
	"backup inspect --vmgroup=Dev 40000000-0000-4000-8000-000000000001",
	"backup inspect Dev/nothing@latest",
	"backup inspect Dev/vm/web01@latest",
	"backup restore --vmgroup=Dev vm/web01@latest --as=web02 --datastore=ds2",
	"backup restore Dev/vm/web01@latest --disk=2000 --in-place",
	"backup restore Dev/vm/web01@latest --in-place --yes",
	"backup restore Dev/db@latest --disk=2000",
	"backup hold Dev/db@latest",
	"backup release --vmgroup=Dev db@latest -o name",
	"backup rm Dev/db@latest",
	"backup rm Dev/db@latest Dev/40000000-0000-4000-8000-000000000001 --yes",
	"backup rm Dev/db@latest Dev/nothing@latest --yes",
	"backup verify Dev/db@latest",
	"backup verify --vmgroup=Dev --volume=db --mode=sampled --share=0.1 --no-wait",
	"backup verify --all --vmgroup=Dev --mode=quick -o name",
	"backup verify --volume=Dev/none",
	"backup drill Dev/db@latest",
	"backup drill Dev/vm/web01@latest",
	"backup copy Dev/db@latest --to=offsite -o name",
	"backup copy Dev/vm/web01@latest --to=offsite",
	"backup restore Dev/db@latest",
	"backup restore Dev/db@2017-08-22T02:36:08Z --name=db2 -O size=20gb --opt mountopts=noatime,discard",
	"backup restore Dev/db@latest --name=Dev/db2 --no-wait",
	"backup restore Dev/db@latest --in-place",
	"backup restore Dev/db@latest --in-place --yes",
	"backup restore Dev/db@latest --name=bad",
	"backup files Dev/db@latest",
	"backup files Dev/db@latest /etc -o name",
	"backup get Dev/db@latest /etc/app.conf --out=-",
	"backup tar Dev/db@latest /etc /var --out=-",
	"backup tar Dev/db@latest --out=-",
	"backup export Dev/db@latest --out=-",
	"backup get Dev/db@latest /etc/main.kit --out=testdata/main.kit",
	"backup prune",
	"backup prune Dev --policy=nightly --dry-run",
	"backup prune Dev --dry-run -o json",
	"alarm ls",
	"alarm ls Dev -o name",
	"key rotate",
	"key rotate -o json",
	"self-backup ls",
	"self-backup ls -o json",
	"self-backup now",
	"self-backup kit",
	"notify test",
}

var policyLines = []string{
	"backup policy ls",
	"backup policy ls Dev -o wide",
	"backup policy ls -o name",
	"backup policy inspect Dev/nightly",
	"backup policy inspect Dev/by-name",
	"backup policy inspect Dev/nothing",
	"backup policy create Dev/new --repository=main",
	"backup policy create Dev/new --volumes='db*, logs' --exclude=x --repository=main --schedule='Mon..Fri 20:00' --timezone=UTC --overlap=queue --rpo=26h --consistency=crash" +
		" --keep-last=1 --keep-hourly=2 --keep-daily=3 --keep-weekly=4 --keep-monthly=5 --keep-yearly=6 --keep-within=7d --verify-schedule=daily --verify-mode=sampled --verify-share=0.5" +
		" --drill-schedule=monthly --copy-to=offsite --copy-schedule=daily --copy-keep-last=1 --copy-keep-within=30d --limit=50mb/s --priority=3 --disable -o name",
	"backup policy create Dev/new --repository=main --dry-run",
	"backup policy create Dev/new --limit=fast",
	"backup policy set Dev/nightly --keep-daily=14 --exclude= --limit=unset",
	"backup policy set Dev/nightly --disable -o name",
	"backup policy set Dev/by-name --enable --disable",
	"backup policy set Dev/nightly --rpo=1h --dry-run",
	"backup policy rm Dev/nightly Dev/by-name",
	"backup policy preview Dev/nightly",
	"backup policy preview Dev/nightly -o json",
	"backup policy run Dev/nightly --no-wait",
}

var jobLines = []string{
	"job ls",
	"job ls Dev --state=failed --kind=backup --object=logs --limit=5 -o wide",
	"job ls --since=2017-08-20 --until=2017-08-22T12:00:00Z -o name",
	"job ls -o name",
	"job inspect Dev/60000000-0000-4000-8000-000000000001",
	"job inspect --vmgroup=Dev nothing",
	"job watch Dev/60000000-0000-4000-8000-000000000001",
	"job cancel Dev/60000000-0000-4000-8000-000000000001",
	"job cancel --vmgroup=Dev a b -o name",
}

var backupUsageLines = []string{
	"backup",
	"backup rnu",
	"backup run",
	"backup run db",
	"backup run Dev/db --policy=nightly",
	"backup run --policy=nightly",
	"backup ls Dev --vmgroup=Ops",
	"backup inspect",
	"backup inspect db@latest",
	"backup inspect Dev/",
	"backup inspect Ops/db@latest --vmgroup=Dev",
	"backup verify",
	"backup verify Dev/x --all --vmgroup=Dev",
	"backup verify --all",
	"backup verify Dev/x --share=0.5",
	"backup verify Dev/x --mode=sampled --share=2",
	"backup copy Dev/db@latest",
	"backup restore Dev/db@latest --in-place --name=x",
	"backup restore Dev/db@latest -O size",
	"backup restore Dev/db@latest --name=Ops/x",
	"backup get Dev/db@latest",
	"backup tar Dev/db@latest",
	"backup export Dev/db@latest",
	"backup prune --policy=nightly",
	"backup policy create",
	"job ls --limit=0",
	"job ls --since=yesterday",
	"job ls --until=-1h",
	"job watch x",
	"repository create main --type=directory",
	"repository detach main",
}

var backupAskingLines = []string{
	"backup rm Dev/db@latest",
	"backup restore Dev/db@latest --in-place --no-wait",
	"repository detach Dev/main",
	"repository detach Dev/offsite",
}

// What a person at a terminal sees of a running job: one line, drawn anew, and
// nothing of it is left.
func TestProgressOnATerminal(t *testing.T) {
	s := newSession(world())
	s.opts.Interactive = true
	got := s.run(t, "backup", "run", "Dev/db", "Dev/logs")
	require.Zero(t, got.code)
	frames := strings.Split(got.err, "\r")
	assert.Contains(t, frames, "0 of 2  backup db  queued\x1b[K")
	assert.Contains(t, frames, "0 of 2  backup db  snapshot\x1b[K")
	assert.Contains(t, frames, "0 of 2  backup db  copy  [#####...............]  25%  256.00MB of 1.00GB  100.00MB/s  7s left\x1b[K")
	assert.Equal(t, "\x1b[K", frames[len(frames)-1])
	assert.NotContains(t, got.out, "\r")
}

// Ctrl-C ends the waiting and says that the work goes on.
func TestStopWaiting(t *testing.T) {
	for name, args := range map[string][]string{
		"not waiting any more, but job Dev/50000000-0000-4000-8000-000000000001 goes on: 'mooring job watch Dev/50000000-0000-4000-8000-000000000001' waits again, 'mooring job cancel Dev/50000000-0000-4000-8000-000000000001' ends it": {"backup", "run", "Dev/db"},
		"not waiting any more, but 2 jobs go on: 'mooring job ls --state=open' shows them, 'mooring job cancel' ends one":                                                                                                                 {"backup", "run", "Dev/db", "Dev/logs"},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		s := newSession(world())
		s.admin.script = []wire.Job{{State: "running", Stage: "copy"}}
		var out, errs bytes.Buffer
		s.opts.In, s.opts.Out = strings.NewReader(""), &out
		s.opts.Err = writerFunc(func(p []byte) (int, error) {
			if strings.Contains(string(p), "copy") {
				cancel()
			}
			return errs.Write(p)
		})
		assert.Equal(t, 130, Run(ctx, args, s.opts))
		lines := strings.Split(strings.TrimSpace(errs.String()), "\n")
		assert.Equal(t, "Error: "+name, lines[len(lines)-1])
		assert.Empty(t, out.String())
		for _, call := range s.admin.calls {
			assert.NotContains(t, call, "Cancel")
		}
	}
}

// away lets calls of Job fail for a while.
type away struct {
	*memAdmin
	until time.Time
}

func (a *away) Job(ctx context.Context, vmgroup string, id volspec.JobID, wait int) (wire.Job, error) {
	if time.Now().Before(a.until) {
		return wire.Job{}, errkind.New(errkind.Unavailable, "the host service does not answer")
	}
	return a.memAdmin.Job(ctx, vmgroup, id, wait)
}

// A restart of the service does not end the waiting; an absence does.
func TestWaitingOutlivesARestart(t *testing.T) {
	for absence, want := range map[time.Duration]int{30 * time.Second: 0, 10 * time.Minute: 1} {
		synctest.Test(t, func(t *testing.T) {
			s := newSession(world())
			a := &away{s.admin, time.Now().Add(absence)}
			s.opts.Connect = func(string) (Admin, error) { return a, nil }
			start := time.Now()
			got := s.run(t, "backup", "run", "Dev/db")
			assert.Equal(t, want, got.code, got.err)
			assert.LessOrEqual(t, time.Since(start), 2*time.Minute)
			if want != 0 {
				assert.Contains(t, got.err, "the host service does not answer")
				assert.Contains(t, got.err, "waits again")
			}
		})
	}
}

// A long job without a terminal is talked of from time to time, not at every
// look.
func TestLinesWithoutATerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSession(world())
		done := s.admin.script[2]
		s.admin.script = nil
		for range 60 {
			s.admin.script = append(s.admin.script, wire.Job{State: "running", Stage: "copy"})
		}
		s.admin.script = append(s.admin.script, done)
		s.opts.Connect = func(string) (Admin, error) { return &slow{s.admin}, nil }
		got := s.run(t, "backup", "run", "Dev/db")
		require.Zero(t, got.code)
		assert.Equal(t, 1+6+1, strings.Count(got.err, "\n"), got.err)
	})
}

// slow waits as long as it is asked to.
type slow struct{ *memAdmin }

func (a *slow) Job(ctx context.Context, vmgroup string, id volspec.JobID, wait int) (wire.Job, error) {
	time.Sleep(time.Duration(wait) * time.Millisecond)
	return a.memAdmin.Job(ctx, vmgroup, id, wait)
}

// How jobs end decides the exit code.
func TestExitCodesOfJobs(t *testing.T) {
	for name, c := range map[string]struct {
		end  wire.Job
		code int
		says string
	}{
		"done":      {wire.Job{State: "done"}, 0, ""},
		"partial":   {wire.Job{State: "partial", Summary: "a block was left out"}, 3, "Error: backup of db was done only in part: a block was left out (job "},
		"canceled":  {wire.Job{State: "canceled"}, 1, "Error: backup of db was canceled (job "},
		"failed":    {wire.Job{State: "failed", Stage: "copy", Error: "boom", ErrorKind: "invalid"}, 1, "Error: backup of db failed in step copy: boom (job "},
		"offline":   {wire.Job{State: "failed", Error: "the place is empty", ErrorKind: "offline"}, 10, "the place is empty"},
		"wrong key": {wire.Job{State: "failed", Error: "no", ErrorKind: "wrong-key"}, 12, "no"},
		"quota":     {wire.Job{State: "failed", Error: "full", ErrorKind: "quota"}, 7, "full"},
		"unknown":   {wire.Job{State: "failed", Error: "?", ErrorKind: "new-kind"}, 1, "?"},
	} {
		for _, format := range formats {
			s := newSession(world())
			s.admin.script = []wire.Job{c.end}
			got := s.run(t, "backup", "run", "Dev/db", "-o", format)
			assert.Equal(t, c.code, got.code, "%s as %s", name, format)
			assert.Contains(t, got.err, c.says)
		}
	}
}

func TestJSONLines(t *testing.T) {
	s := newSession(world())
	got := s.run(t, "backup", "run", "Dev/db", "-o", "json")
	require.Zero(t, got.code)
	assert.Empty(t, got.err)
	var states []string
	for line := range strings.Lines(got.out) {
		var j wire.Job
		require.NoError(t, json.Unmarshal([]byte(line), &j))
		states = append(states, j.State+" "+j.Stage)
	}
	assert.Equal(t, []string{"queued ", "running snapshot", "running copy", "done done"}, states)
}

func TestRestoreFindsAFreeName(t *testing.T) {
	s := newSession(world())
	v := s.admin.volumes[0]
	for _, name := range []string{"db-restored@fast", "db-restored-2@fast"} {
		v.Name = name
		s.admin.volumes = append(s.admin.volumes, v)
	}
	got := s.run(t, "backup", "restore", "Dev/db@latest", "-o", "name")
	require.Zero(t, got.code, got.err)
	assert.Equal(t, "Dev/db-restored-3@fast\n", got.out)
	assert.Contains(t, strings.Join(s.admin.calls, "\n"), `RestorePoint "Dev" "`+string(pid(2))+`" {"name":"db-restored-3@fast"}`, "by id: latest may be newer by then")
}

func TestDownloadsAreWholeOrNotThere(t *testing.T) {
	t.Chdir(t.TempDir())
	s := newSession(world())
	ok := func(args ...string) {
		t.Helper()
		got := s.run(t, args...)
		require.Zero(t, got.code, got.err)
		assert.Empty(t, got.out)
	}
	ok("backup", "get", "Dev/db@latest", "/etc/app.conf")
	data, err := os.ReadFile("app.conf")
	require.NoError(t, err)
	assert.Equal(t, "the content", string(data))
	info, err := os.Stat("app.conf")
	require.NoError(t, err)
	assert.EqualValues(t, 0o600, info.Mode().Perm())

	got := s.run(t, "backup", "get", "Dev/db@latest", "/etc/app.conf")
	assert.Equal(t, outcome{6, "", "Error: nothing is written: app.conf exists already, add --force to overwrite it\n"}, got)
	s.admin.content = "newer"
	ok("backup", "get", "Dev/db@latest", "/etc/app.conf", "--force")
	data, err = os.ReadFile("app.conf")
	require.NoError(t, err)
	assert.Equal(t, "newer", string(data))

	// A download that is cut off leaves the old file, and no part.
	s.admin.cut = errkind.New(errkind.Unavailable, "the answer was cut off")
	for _, verb := range [][]string{{"get", "Dev/db@latest", "/etc/app.conf"}, {"tar", "Dev/db@latest"}, {"export", "Dev/db@latest"}} {
		got = s.run(t, append(append([]string{"backup"}, verb...), "--out=app.conf", "--force")...)
		assert.Equal(t, 1, got.code)
		assert.Equal(t, "Error: the answer was cut off\n", got.err)
		data, err = os.ReadFile("app.conf")
		require.NoError(t, err)
		assert.Equal(t, "newer", string(data))
		assert.NoFileExists(t, "app.conf.part")
	}
	s.admin.cut = nil

	require.NoError(t, os.WriteFile("x.part", nil, 0o600))
	got = s.run(t, "backup", "tar", "Dev/db@latest", "--out=x")
	assert.Equal(t, 6, got.code)
	assert.Contains(t, got.err, "x.part exists, another command writes it or was killed")
	require.NoError(t, os.Mkdir("folder", 0o700))
	got = s.run(t, "backup", "tar", "Dev/db@latest", "--out=folder", "--force")
	assert.Equal(t, "Error: nothing is written: folder exists and is not a file\n", got.err)
	got = s.run(t, "backup", "tar", "Dev/db@latest", "--out=nowhere/x")
	assert.Equal(t, 1, got.code)
	assert.Contains(t, got.err, "nothing is written: ")
}

// An exported image has the bytes of the disk and its holes.
func TestExportIsSparse(t *testing.T) {
	t.Chdir(t.TempDir())
	s := newSession(world())
	content := make([]byte, 8<<20+12345)
	copy(content[3<<20:], "in the middle")
	content[len(content)-20000] = 1
	for name, c := range map[string][]byte{"a": content, "b": content[:8<<20], "empty": nil, "zeros": make([]byte, 1<<20+1)} {
		s.admin.content = string(c)
		got := s.run(t, "backup", "export", "Dev/db@latest", "--out="+name)
		require.Zero(t, got.code, got.err)
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(c, data), name)
		info, err := os.Stat(name)
		require.NoError(t, err)
		assert.LessOrEqual(t, info.Sys().(*syscall.Stat_t).Blocks*512, int64(3*hole), "%s takes no room for zeros", name)
	}
}

func TestKitFile(t *testing.T) {
	t.Chdir(t.TempDir())
	s := newSession(world())
	got := s.run(t, "repository", "kit", "Dev/main", "--out=k")
	require.Equal(t, outcome{0, "", "The recovery kit of repository Dev/main is in k. Keep it outside this installation.\n"}, got)
	info, err := os.Stat("k")
	require.NoError(t, err)
	assert.EqualValues(t, 0o600, info.Mode().Perm())
	text, err := os.ReadFile("k")
	require.NoError(t, err)
	assert.Equal(t, "the kit of main\n", string(text))
	n := len(s.admin.calls)
	got = s.run(t, "repository", "kit", "Dev/main", "--out=k")
	assert.Equal(t, outcome{6, "", "Error: the recovery kit is not written: k exists already, name another file\n"}, got)
	assert.Len(t, s.admin.calls, n, "the secret was not asked for")
}

// Errors about credentials files name keys and lines, not values.
func TestCredentialsFiles(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ text, want string }{
		"all":          {"access_key=a\n\n # c\n secret_key = \"b \" \nsession_token=c=d\r\npassword=e\n", ""},
		"no value":     {"password\n", "line 1 of the credentials file"},
		"unknown":      {"password = a\nuser = hidden-value\n", "line 2 of the credentials file"},
		"twice":        {"password = a\npassword = hidden-value\n", "has password twice, again in line 2"},
		"no such file": {"private_key_file = " + dir + "/none\n", "the private key that the credentials file"},
	} {
		path := filepath.Join(dir, "f")
		require.NoError(t, os.WriteFile(path, []byte(c.text), 0o600))
		got, err := readCredentials(path)
		if c.want == "" {
			require.NoError(t, err)
			assert.Equal(t, wire.Credentials{AccessKey: "a", SecretKey: "b ", SessionToken: "c=d", Password: "e"}, got)
			continue
		}
		assert.Equal(t, errkind.Invalid, errkind.Of(err), name)
		assert.Contains(t, errkind.Text(err), c.want)
		assert.NotContains(t, errkind.Text(err), "hidden-value")
	}
}

func TestNewestJobsFollowPages(t *testing.T) {
	s := newSession(world())
	s.admin.past = append(s.admin.past, s.admin.past[0], s.admin.past[0])
	assert.Equal(t, 2, strings.Count(s.run(t, "job", "ls", "--limit=2", "-o", "name").out, "\n"))
}

func TestFileModes(t *testing.T) {
	for want, f := range map[string]wire.File{
		"-rw-r--r--": {Type: "file", Mode: 0o644}, "drwxrwxrwt": {Type: "dir", Mode: 0o1777}, "-rwsr-sr-x": {Type: "file", Mode: 0o6755},
		"-rwSr-Sr-T": {Type: "file", Mode: 0o7644}, "lrwxrwxrwx": {Type: "symlink", Mode: 0o777}, "prw-------": {Type: "fifo", Mode: 0o600}, "srw-------": {Type: "socket", Mode: 0o600},
	} {
		assert.Equal(t, want, fileMode(f))
	}
}

func TestCompletionOfBackup(t *testing.T) {
	const p1, p2 = "40000000-0000-4000-8000-000000000001", "40000000-0000-4000-8000-000000000002"
	for line, want := range map[string]string{
		"repository inspect ":                "Dev/main Dev/offsite",
		"repository inspect --vmgroup Dev m": "main",
		"repository assign ":                 "shelf1",
		"repository detach --prepared ":      "shelf1",
		"repository create --type ":          "directory s3 sftp",
		"repository limit D":                 "Dev",
		"backup inspect Dev/":                "Dev/db@fast@latest Dev/" + p2 + " Dev/" + p1,
		"backup hold --vmgroup Dev db":       "db@fast@latest",
		"backup files Dev/x ":                "",
		"backup run Dev/l":                   "Dev/logs@slow",
		"backup run --policy Dev/n":          "Dev/nightly",
		"backup run --repository ":           "main offsite",
		"backup run --consistency ":          "filesystem crash filesystem-required",
		"backup ls D":                        "Dev",
		"backup copy --to o":                 "offsite",
		"backup policy inspect ":             "Dev/nightly Dev/by-name",
		"backup policy set --overlap ":       "skip queue",
		"backup policy create --copy-to o":   "offsite",
		"backup verify --mode ":              "quick sampled full",
		"job inspect ":                       "Dev/60000000-0000-4000-8000-000000000001",
		"job watch --vmgroup Dev ":           "60000000-0000-4000-8000-000000000001",
		"job ls --state ":                    "queued running open done partial failed canceled",
		"job ls --kind ":                     "backup verify drill restore copy policy maintain vm-backup vm-restore",
		"alarm ls ":                          "_DEFAULT Dev",
	} {
		s := newSession(world())
		got := s.run(t, append([]string{"__completeNoDesc"}, strings.Split(line, " ")...)...)
		require.Zero(t, got.code, line)
		lines := strings.Split(strings.TrimSpace(got.out), "\n")
		assert.Equal(t, want, strings.Join(lines[:len(lines)-1], " "), line)
	}
}
