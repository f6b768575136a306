package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func TestServiceWithoutBackup(t *testing.T) {
	g := newRig(t, func(o *Options) { o.Backups = nil })
	admin := g.channel(as(callerAdmin))
	for i := range backupEndpoints {
		e := &backupEndpoints[i]
		p := ask(t, admin, e.method, wire.Prefix+fill(e.path, "x"), e.sample(t)).problem(t)
		assert.Equal(t, "unsupported: backup is not configured on this mooringd", p.Kind+": "+p.Detail, e.name())
	}
	assert.Empty(t, g.uses.take())
}

// The words of a path reach the use case, each in its place: the vmgroup
// first, and nothing else of the request can be taken for one.
func TestBackupStaysInTheVMGroupOfThePath(t *testing.T) {
	g := newRig(t)
	admin := g.channel(as(callerAdmin))
	for i := range backupEndpoints {
		e := &backupEndpoints[i]
		if e.tenant != ofPath {
			continue
		}
		target, want := e.path, []any{"own group"}
		for segment := range strings.SplitSeq(e.path, "/") {
			if name, ok := variable(segment); ok && name != "vmgroup" {
				target = strings.ReplaceAll(target, segment, "the%20"+name)
				want = append(want, "the "+name)
			}
		}
		target = strings.ReplaceAll(target, "{vmgroup}", "own%20group")
		for _, query := range []string{"", "?vmgroup=other", "?group=other"} {
			g.uses.take()
			body := e.sample(t)
			if e.path == onePolicy && e.method == http.MethodPut {
				body = `{"name":"the policy","vmgroup":"other"}`
			}
			got := ask(t, admin, e.method, wire.Prefix+target+query, body)
			calls := g.uses.take()
			if query != "" {
				assert.Equal(t, http.StatusBadRequest, got.status, "%s has no such parameter", e.name())
				assert.Empty(t, calls)
				continue
			}
			require.Len(t, calls, 1, "%s: %s", e.name(), got.body)
			require.GreaterOrEqual(t, len(calls[0].args), len(want), e.name())
			if e.path == onePolicy && e.method == http.MethodPut {
				assert.Equal(t, "the policy", calls[0].args[1].(wire.Policy).Name)
				want = want[:1]
			}
			assert.Equal(t, want, calls[0].args[:len(want)], e.name())
		}
	}
}

func TestBackupArguments(t *testing.T) {
	g := newRig(t)
	admin := g.channel(as(callerAdmin))
	const point = "/vmgroups/g/points/db%40fast%402026-11-24T10%3A00%3A00Z"
	const ref = "db@fast@2026-11-24T10:00:00Z"
	for _, tc := range []struct {
		method, target, body string
		want                 reached
	}{
		{"GET", "/repositories", "", reached{"backup.Repositories", nobody, []any{""}}},
		{"GET", "/repositories?vmgroup=g", "", reached{"backup.Repositories", nobody, []any{"g"}}},
		{"POST", "/repositories/r/assign", `{"vmgroup":"g"}`, reached{"backup.AssignRepository", callerAdmin, []any{"r", wire.Assign{VMGroup: "g"}}}},
		{"PUT", "/vmgroups/g/backup-limit", `{"max_stored":"50gb"}`, reached{"backup.SetBackupLimit", callerAdmin, []any{"g", wire.SetBackupLimit{MaxStored: 50 * volspec.GiB}}}},
		{"PUT", "/vmgroups/g/backup-limit", `{"max_stored":"0b"}`, reached{"backup.SetBackupLimit", callerAdmin, []any{"g", wire.SetBackupLimit{}}}},
		{"GET", "/vmgroups/g/points?volume=db&repository=r&after=a&limit=7", "", reached{"backup.Points", nobody, []any{"g", PointFilter{Volume: "db", Repository: "r", After: "a", Limit: 7}}}},
		{"GET", point, "", reached{"backup.Point", nobody, []any{"g", ref}}},
		{"PATCH", point, `{"hold":false}`, reached{"backup.SetPoint", callerAdmin, []any{"g", ref, wire.SetPoint{Hold: new(false)}}}},
		{"POST", point + "/verify", `{"mode":"sampled","share":0.25}`, reached{"backup.Verify", callerAdmin, []any{"g", ref, wire.RunVerify{Mode: "sampled", Share: 0.25}}}},
		{"POST", point + "/drill", "", reached{"backup.Drill", callerAdmin, []any{"g", ref}}},
		{"POST", point + "/restore", `{"in_place":true}`, reached{"backup.RestorePoint", callerAdmin, []any{"g", ref, wire.RunRestore{InPlace: true}}}},
		{"GET", point + "/files?path=/a%20b&after=c&limit=3", "", reached{"backup.Files", callerAdmin, []any{"g", ref, "/a b", "c", 3}}},
		{"GET", point + "/file?path=/etc/../x", "", reached{"backup.File", callerAdmin, []any{"g", ref, "/etc/../x"}}},
		{"GET", point + "/tar?path=/a&path=/b", "", reached{"backup.Tar", callerAdmin, []any{"g", ref, []string{"/a", "/b"}}}},
		{"GET", "/jobs?state=running&kind=backup&object=db&after=a&limit=2", "", reached{"backup.Jobs", nobody, []any{"", JobFilter{State: "running", Kind: "backup", Object: "db", After: "a", Limit: 2}}}},
		{"GET", "/vmgroups/g/jobs", "", reached{"backup.Jobs", nobody, []any{"g", JobFilter{}}}},
		{"GET", "/vmgroups/g/jobs/j?wait_ms=1500", "", reached{"backup.Job", nobody, []any{"g", "j", 1500}}},
		{"GET", "/vmgroups/g/jobs/j?wait_ms=999999999", "", reached{"backup.Job", nobody, []any{"g", "j", longestWait}}},
		{"GET", "/vmgroups/g/jobs/j/events", "", reached{"backup.Job", nobody, []any{"g", "j", 0}}},
		{"POST", "/vmgroups/g/policies", `{"name":"p"}`, reached{"backup.PutPolicy", callerAdmin, []any{"g", wire.Policy{Name: "p"}, false}}},
		{"PUT", "/vmgroups/g/policies/p", `{"volumes":["*"]}`, reached{"backup.PutPolicy", callerAdmin, []any{"g", wire.Policy{Name: "p", Volumes: []string{"*"}}, true}}},
		{"GET", "/alarms", "", reached{"backup.Alarms", nobody, []any{""}}},
	} {
		got := ask(t, admin, tc.method, wire.Prefix+tc.target, tc.body)
		assert.Equal(t, 2, got.status/100, got.body)
		assert.Equal(t, []reached{tc.want}, g.uses.take(), tc.target)
	}
	clash := ask(t, admin, "PUT", wire.Prefix+"/vmgroups/g/policies/p", `{"name":"q"}`).problem(t)
	assert.Equal(t, `the request is about policy "p", its body about "q": make them agree`, clash.Detail)
	assert.Empty(t, g.uses.take())
}

// No secret of a request is in the log or in an answer, whether it is obeyed,
// refused or not understood.
func TestSecretsOfRequestsStayHidden(t *testing.T) {
	const secret = "zz-very-secret"
	g := newRig(t)
	admin := g.channel(as(callerAdmin))
	var all lockedBuffer
	require.NoError(t, log.Setup(log.Options{Level: "debug", Format: "json", Output: &all}))
	t.Cleanup(func() { require.NoError(t, log.Setup(log.Options{Level: "debug", Format: "json", Output: io.Discard})) })

	credentials := wire.Credentials{AccessKey: secret, SecretKey: secret, SessionToken: secret, PrivateKey: secret, Password: secret}
	create := wire.CreateRepository{Name: "r", Credentials: credentials, Key: secret, Kit: secret}
	n := 0
	for i := range backupEndpoints {
		e := &backupEndpoints[i]
		var body any
		switch e.in {
		case reflect.TypeFor[wire.Credentials]():
			body = credentials
		case reflect.TypeFor[wire.CreateRepository]():
			body = create
		default:
			continue
		}
		n++
		data, err := json.Marshal(body)
		require.NoError(t, err)
		require.Contains(t, string(data), secret)
		for _, do := range []func(context.Context) error{nil, func(context.Context) error { return errkind.New(errkind.WrongKey, "no") }, func(context.Context) error { panic("boom") }} {
			g.uses.answer(do)
			for _, sent := range []string{string(data), string(data) + "x", strings.Replace(string(data), "{", `{"secret_kay":"`+secret+`",`, 1), string(data)[:len(data)-3]} {
				assert.NotContains(t, ask(t, admin, e.method, wire.Prefix+fill(e.path, "x"), sent).body, secret)
			}
		}
	}
	assert.Equal(t, 3, n)
	assert.Contains(t, all.String(), "credentials", "the log is that of these requests")
	assert.False(t, strings.Contains(all.String(), secret), "a secret is in the log")
	for _, v := range []any{credentials, create, wire.Kit{Text: secret}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			assert.NotContains(t, fmt.Sprintf(verb, v), secret)
		}
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestDownloads(t *testing.T) {
	g := newRig(t)
	socket := g.channel(as(callerAdmin))
	const point = wire.Prefix + "/vmgroups/g/points/p"
	got := ask(t, socket, "GET", point+"/file?path=f", "")
	assert.Equal(t, "bytes", got.body)
	assert.Equal(t, "5", got.header.Get("Content-Length"))
	assert.Equal(t, "application/octet-stream", got.header.Get("Content-Type"))
	assert.Equal(t, "attachment; filename*=utf-8''the%20%22file%22%20%C3%BC", got.header.Get("Content-Disposition"))
	assert.Equal(t, "nosniff", got.header.Get("X-Content-Type-Options"))
	assert.NotEmpty(t, got.header.Get("X-Request-Id"))
	got = ask(t, socket, "GET", point+"/tar", "")
	assert.Equal(t, "archive", got.body)
	assert.Equal(t, "application/x-tar", got.header.Get("Content-Type"))
	got = ask(t, socket, "GET", point+"/image", "")
	assert.Empty(t, got.body)
	assert.Equal(t, "0", got.header.Get("Content-Length"))

	admin := hostclient.NewAdmin("unix://"+socket, hostclient.Options{})
	defer admin.Close()
	d, err := admin.File(t.Context(), "g", "p", "f")
	require.NoError(t, err)
	assert.Equal(t, "the \"file\" ü", d.Name)
	assert.EqualValues(t, 5, d.Size)
	require.NoError(t, d.Close())

	g.uses.answer(func(context.Context) error { return errkind.New(errkind.NotFound, "no such file") })
	p := ask(t, socket, "GET", point+"/file?path=f", "").problem(t)
	assert.Equal(t, "not-found: no such file", p.Kind+": "+p.Detail)
}

// streams is stubBackups with an image of the test's own.
type streams struct {
	stubBackups
	image func(ctx context.Context, start func(string, int64), w io.Writer) error
	job   func() (wire.Job, error)
}

func (s streams) Image(ctx context.Context, _ volspec.Caller, _, _ string, start func(string, int64), w io.Writer) error {
	return s.image(ctx, start, w)
}

func (s streams) Job(context.Context, string, volspec.JobID, int) (wire.Job, error) { return s.job() }

func streaming(t *testing.T, image func(ctx context.Context, start func(string, int64), w io.Writer) error) (*rig, string) {
	g := newRig(t, func(o *Options) {
		o.RequestLimit = 50 * time.Millisecond
		o.Backups = streams{stubBackups: o.Backups.(stubBackups), image: image}
	})
	return g, g.channel(as(callerAdmin))
}

const imagePath = wire.Prefix + "/vmgroups/g/points/p/image"

// What fails after the first byte is noticed by the other side, with and
// without a length; what fails before is told.
func TestBrokenDownloadsAreNoticed(t *testing.T) {
	boom := errkind.New(errkind.Corrupt, "block 7 is damaged")
	for name, tc := range map[string]struct {
		image   func(ctx context.Context, start func(string, int64), w io.Writer) error
		problem string // "": the answer is cut off
	}{
		"before start":              {image: func(context.Context, func(string, int64), io.Writer) error { return boom }, problem: "corrupt: block 7 is damaged"},
		"after start, without byte": {image: func(_ context.Context, start func(string, int64), _ io.Writer) error { start("x", 10); return boom }, problem: "corrupt: block 7 is damaged"},
		"never started":             {image: func(context.Context, func(string, int64), io.Writer) error { return nil }, problem: "internal: internal error, see the log of mooringd for request R"},
		"written before start": {image: func(_ context.Context, _ func(string, int64), w io.Writer) error {
			_, err := io.WriteString(w, "x")
			return err
		}, problem: "internal: internal error, see the log of mooringd for request R"},
		"panic before a byte": {image: func(context.Context, func(string, int64), io.Writer) error { panic("boom") }, problem: "internal: internal error, see the log of mooringd for request R"},
		"middle, length known": {image: func(_ context.Context, start func(string, int64), w io.Writer) error {
			start("x", 10)
			return errors.Join(onlyErr(io.WriteString(w, "12345")), boom)
		}},
		"middle, length not known": {image: func(_ context.Context, start func(string, int64), w io.Writer) error {
			start("x", -1)
			return errors.Join(onlyErr(io.WriteString(w, "12345")), boom)
		}},
		"panic in the middle": {image: func(_ context.Context, start func(string, int64), w io.Writer) error {
			start("x", -1)
			_, _ = io.WriteString(w, "12345")
			panic("boom")
		}},
		"shorter than said": {image: func(_ context.Context, start func(string, int64), w io.Writer) error {
			start("x", 10)
			return onlyErr(io.WriteString(w, "12345"))
		}},
		"longer than said": {image: func(_ context.Context, start func(string, int64), w io.Writer) error {
			start("x", 3)
			return errors.Join(onlyErr(io.WriteString(w, "12")), onlyErr(io.WriteString(w, "345")))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			_, socket := streaming(t, tc.image)
			if tc.problem != "" {
				p := ask(t, socket, "GET", imagePath, "", "X-Request-Id: R").problem(t)
				assert.Equal(t, tc.problem, p.Kind+": "+p.Detail)
				return
			}
			_, err := try(t, socket, "GET", imagePath, "")
			require.ErrorContains(t, err, "EOF")

			admin := hostclient.NewAdmin("unix://"+socket, hostclient.Options{})
			defer admin.Close()
			d, err := admin.Image(log.WithRequest(t.Context(), "R"), "g", "p")
			if err == nil {
				_, err = io.Copy(io.Discard, d)
				require.NoError(t, d.Close())
			}
			assert.Equal(t, errkind.Unavailable, errkind.Of(err))
			assert.Contains(t, errkind.Text(err), "cut its answer off: what came is not whole, and its log says why (request R)")
		})
	}
}

func onlyErr(_ int, err error) error { return err }

func TestBrokenDownloadIsLoggedOnce(t *testing.T) {
	_, socket := streaming(t, func(_ context.Context, start func(string, int64), w io.Writer) error {
		start("x", -1)
		return errors.Join(onlyErr(io.WriteString(w, "12345")), errkind.New(errkind.Corrupt, "block 7 is damaged"))
	})
	logged := capture(t)
	_, err := try(t, socket, "GET", imagePath, "")
	require.Error(t, err)
	line := logged(t)
	assert.Equal(t, "error", line["level"])
	assert.Equal(t, "corrupt", line["kind"])
	assert.Equal(t, "GET /vmgroups/{vmgroup}/points/{point}/image", line["op"])
	assert.Contains(t, line["err"], "block 7 is damaged")
}

// A download takes as long as it takes, while the other side reads.
func TestDownloadsHaveNoLimitOfTime(t *testing.T) {
	g, socket := streaming(t, func(ctx context.Context, start func(string, int64), w io.Writer) error {
		start("x", 3)
		for _, b := range []string{"1", "2", "3"} {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(100 * time.Millisecond):
			}
			if _, err := io.WriteString(w, b); err != nil {
				return err
			}
		}
		return nil
	})
	g.srv.writeTime = 80 * time.Millisecond
	assert.Equal(t, "123", ask(t, socket, "GET", imagePath, "").body, "longer than the limits of requests and of writes")
}

// Who does not read loses the connection, and the use case learns of it. Who
// goes away ends the use case's context.
func TestDownloadsEndWithTheirReader(t *testing.T) {
	ended := make(chan error, 1)
	g, socket := streaming(t, func(ctx context.Context, start func(string, int64), w io.Writer) error {
		start("x", 1<<40)
		var err error
		for block := make([]byte, 1<<20); err == nil; {
			_, err = w.Write(block)
		}
		ended <- err
		return err
	})
	g.srv.writeTime = 100 * time.Millisecond
	conn, err := net.Dial("unix", socket)
	require.NoError(t, err)
	_, err = io.WriteString(conn, "GET "+imagePath+" HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	assert.Equal(t, errkind.Unavailable, errkind.Of(<-ended))
	require.NoError(t, conn.Close())

	waits := make(chan struct{})
	_, socket = streaming(t, func(ctx context.Context, start func(string, int64), w io.Writer) error {
		start("x", -1)
		_, err := io.WriteString(w, "x")
		close(waits)
		<-ctx.Done()
		ended <- ctx.Err()
		return err
	})
	admin := hostclient.NewAdmin("unix://"+socket, hostclient.Options{})
	defer admin.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-waits; cancel() }()
	d, err := admin.Image(ctx, "g", "p")
	if err == nil {
		_, err = io.Copy(io.Discard, d)
		require.NoError(t, d.Close())
	}
	assert.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, <-ended, context.Canceled)
}

func TestEventsOfAJob(t *testing.T) {
	states := []wire.Job{
		{ID: "j", State: "queued"},
		{ID: "j", State: "queued"},
		{ID: "j", State: "running", Progress: wire.JobProgress{DoneBytes: 1}},
		{ID: "j", State: "running", Progress: wire.JobProgress{DoneBytes: 1}},
		{ID: "j", State: "done"},
	}
	asked := 0
	job := func() (wire.Job, error) {
		asked++
		return states[asked-1], nil
	}
	g := newRig(t, func(o *Options) {
		o.RequestLimit = 20 * time.Millisecond // does not apply
		o.Backups = streams{stubBackups: o.Backups.(stubBackups), job: func() (wire.Job, error) { return job() }}
	})
	g.srv.eventPause, g.srv.keepAlive = 20*time.Millisecond, time.Nanosecond
	socket := g.channel(as(callerAdmin))
	start := time.Now()
	got := ask(t, socket, "GET", wire.Prefix+"/vmgroups/g/jobs/j/events", "")
	assert.GreaterOrEqual(t, time.Since(start), 4*g.srv.eventPause)
	assert.Equal(t, "text/event-stream", got.header.Get("Content-Type"))
	var kinds []string
	for event := range strings.SplitSeq(strings.TrimSpace(got.body), "\n\n") {
		data, ok := strings.CutPrefix(event, "data: ")
		if !ok {
			kinds = append(kinds, event)
			continue
		}
		var j wire.Job
		require.NoError(t, json.Unmarshal([]byte(data), &j))
		kinds = append(kinds, j.State)
	}
	assert.Equal(t, []string{"queued", ": still here", "running", ": still here", "done"}, kinds)

	admin := hostclient.NewAdmin("unix://"+socket, hostclient.Options{})
	defer admin.Close()
	asked, kinds = 0, nil
	for j, err := range admin.JobEvents(t.Context(), "g", "j") {
		require.NoError(t, err)
		kinds = append(kinds, j.State)
	}
	assert.Equal(t, []string{"queued", "running", "done"}, kinds)

	job = func() (wire.Job, error) { return wire.Job{}, errkind.New(errkind.NotFound, "there is no job j") }
	var errs []error
	for _, err := range admin.JobEvents(t.Context(), "g", "j") {
		errs = append(errs, err)
	}
	require.Len(t, errs, 1)
	assert.Equal(t, errkind.NotFound, errkind.Of(errs[0]))
}

// Who only watches does not hold up a stop.
func TestWatchersDoNotHoldUpAStop(t *testing.T) {
	g := newRig(t, func(o *Options) {
		o.DrainLimit = time.Hour
		o.Backups = streams{stubBackups: o.Backups.(stubBackups), job: func() (wire.Job, error) { return wire.Job{State: "running"}, nil }}
	})
	path, l := listen(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	served := make(chan error, 1)
	go func() { served <- g.srv.Serve(ctx, l, as(callerAdmin)) }()
	admin := hostclient.NewAdmin("unix://"+path, hostclient.Options{})
	n := 0
	for j, err := range admin.JobEvents(t.Context(), "g", "j") {
		require.NoError(t, err)
		assert.Equal(t, "running", j.State)
		n++
		stop()
	}
	assert.Positive(t, n)
	admin.Close()
	assert.NoError(t, <-served)
}
