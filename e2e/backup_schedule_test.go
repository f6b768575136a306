package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/wire"
)

// A repository and a policy of the configuration run by themselves. When the
// repository's place is gone, people are told, and again when it is back; in
// between nothing is lost and nothing is written elsewhere.
func TestBackupSchedule(t *testing.T) {
	localOnly(t, "the service of others is on the guests' network, where nobody hears its messages")
	key := []byte("thirty-two bytes of a secret key")
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte("whsec_"+base64.StdEncoding.EncodeToString(key)+"\n"), 0o600))
	told := hear(t, key)
	place := folder(t, "declared")
	r := newRig(t, "schedule", managed(t, "schedule", "2gb"), plains(t, "p1"), lab.Bin, func(c *harness.Config) {
		c.Notify = map[string]any{"webhook": []map[string]any{{"name": "tests", "url": told.url, "secret_file": secret}}}
		c.VMGroups = []harness.ConfigVMGroup{{
			Name: team, VMs: []string{"p1"}, DefaultDatastore: "schedule",
			Access:       []harness.ConfigAccess{{Datastore: "schedule", AllowCreate: true}},
			Repositories: []map[string]any{{"name": "main", "type": "directory", "path": place}},
			Policies: []map[string]any{{
				"name": "often", "volumes": []string{"db*"}, "repository": "main", "schedule": "*:*:0/3", "rpo": "1h", "keep": map[string]any{"last": 3},
			}},
		}}
	})
	undeclare(t, r)
	g := r.guests[0]
	create(t, g.Guest, "db", "size=64mb")
	create(t, g.Guest, "cache", "size=64mb")
	w := scribes(t, g, "db")
	points := func() []string {
		return r.Mooring(t.Context(), "backup", "ls", team, "-o", "name").OK(t).Lines()
	}
	last := func(state string) {
		t.Helper()
		require.NoError(t, harness.Eventually(60*time.Second, func() error {
			jobs, err := r.admin.GroupJobs(t.Context(), team, hostclient.JobsQuery{Kind: "backup", Limit: 20})
			if err == nil && !slices.ContainsFunc(jobs.Jobs, func(j wire.Job) bool { return j.State == state }) {
				err = fmt.Errorf("no backup has ended as %s", state)
			}
			return err
		}))
	}
	last("done")
	require.NoError(t, harness.Eventually(60*time.Second, func() error {
		if n := len(points()); n < 3 {
			return fmt.Errorf("%d points", n)
		}
		return nil
	}))
	require.Empty(t, r.Mooring(t.Context(), "backup", "ls", team, "--volume=cache", "-o", "name").OK(t).Stdout, "it is not selected")
	r.Mooring(t.Context(), "backup", "policy", "set", team+"/often", "--keep-last=9").Fails(t, r.ConfigFile())
	r.Mooring(t.Context(), "notify", "test").OK(t)
	told.wait(t, "test")

	require.NoError(t, os.Rename(place, place+".away"))
	last("failed")
	told.wait(t, "job-failed")
	told.wait(t, "repository-offline")
	r.Mooring(t.Context(), "repository", "check", team+"/main").Fails(t)
	require.NotEmpty(t, r.Mooring(t.Context(), "alarm", "ls", "-o", "json").OK(t).Stdout)
	require.NoFileExists(t, place, "nothing is made in its stead")
	require.Len(t, points(), 3, "nothing is forgotten because it cannot be seen")

	require.NoError(t, os.Rename(place+".away", place))
	told.wait(t, "repository-recovered")
	told.wait(t, "job-recovered")
	require.LessOrEqual(t, len(points()), 4, "the policy keeps three, and one may just have been made")
	require.Less(t, w.end(t), mostStall)
	restoring(t, g, "db@latest", "copy", func() { scribed(t, g, "copy") })
	require.Empty(t, told.bad(), "every request was signed")
}

// undeclare takes the vmgroup out of the configuration at the end of the test,
// so that it can be removed.
func undeclare(t *testing.T, r *rig) {
	t.Helper()
	t.Cleanup(func() {
		r.Config.VMGroups = nil
		r.Stop(t)
		r.Start(t)
	})
}

// ear is a webhook's receiver.
type ear struct {
	url string
	key []byte

	mu    sync.Mutex // guards what follows
	heard []string   // kinds of events, in order
	wrong []string
}

// hear starts one.
func hear(t *testing.T, key []byte) *ear {
	t.Helper()
	e := &ear{key: key}
	s := httptest.NewServer(e)
	t.Cleanup(s.Close)
	e.url = s.URL + "/hook"
	return e
}

// ServeHTTP takes one event and checks its signature as standardwebhooks.com says.
func (e *ear) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	mac := hmac.New(sha256.New, e.key)
	fmt.Fprintf(mac, "%s.%s.%s", r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp"), body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	var event struct {
		Type string `json:"type"`
		Data struct {
			VMGroup  string `json:"vmgroup"`
			Sentence string `json:"sentence"`
		} `json:"data"`
	}
	if err == nil {
		err = json.Unmarshal(body, &event)
	}
	var sent int64
	_, _ = fmt.Sscan(r.Header.Get("webhook-timestamp"), &sent)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case err != nil, r.Header.Get("webhook-signature") != want, time.Since(time.Unix(sent, 0)).Abs() > time.Minute, event.Data.Sentence == "",
		event.Data.VMGroup != team && event.Type != "test":
		e.wrong = append(e.wrong, fmt.Sprintf("%v %v %s", err, r.Header, body))
	default:
		e.heard = append(e.heard, event.Type)
	}
}

func (e *ear) bad() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.wrong
}

// wait waits until an event of that kind was heard.
func (e *ear) wait(t *testing.T, kind string) {
	t.Helper()
	require.NoError(t, harness.Eventually(60*time.Second, func() error {
		e.mu.Lock()
		defer e.mu.Unlock()
		if !slices.Contains(e.heard, kind) {
			return fmt.Errorf("no %s was heard, but %v and the wrong %v", kind, e.heard, e.wrong)
		}
		return nil
	}))
}
