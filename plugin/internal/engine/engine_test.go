package engine_test

import (
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/plugin/internal/driver"
	"mooring.dev/mooring/plugin/internal/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func serve(t *testing.T, status int, body string) (url string, query *string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	query = new(string)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*query = r.URL.Path + "?" + r.URL.Query().Get("filters")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})}
	done := make(chan struct{})
	go func() { _ = s.Serve(l); close(done) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return "unix://" + path, query
}

func TestUses(t *testing.T) {
	url, query := serve(t, 200, `[
 {"Id":"c1","State":"running","Created":1700000000,"Mounts":[
  {"Type":"volume","Name":"v1","Source":"/var/lib/docker/plugins/x/propagated-mount/id1","Driver":"vsphere:latest","RW":true},
  {"Type":"volume","Name":"anon","Source":"/var/lib/docker/volumes/anon/_data","Driver":"local"},
  {"Type":"bind","Source":"/etc"}]},
 {"Id":"c2","State":"created","Created":1700000001,"Mounts":[{"Type":"volume","Name":"v2","Source":"","Driver":"vsphere"}]},
 {"Id":"c3","State":"paused","Mounts":null}]`)
	uses, err := engine.New(url).Uses(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []driver.EngineUse{
		{Container: "c1", Volume: "v1", Source: "/var/lib/docker/plugins/x/propagated-mount/id1", Driver: "vsphere:latest", Running: true, Created: time.Unix(1700000000, 0)},
		{Container: "c2", Volume: "v2", Driver: "vsphere", Created: time.Unix(1700000001, 0)},
	}, uses)
	assert.Equal(t, `/containers/json?{"status":["created","running","paused","restarting"]}`, *query)
}

// No answer, and an answer that is none, are no evidence.
func TestNoEvidence(t *testing.T) {
	_, err := engine.New("unix:///nowhere/docker.sock").Uses(t.Context())
	assert.True(t, errkind.Is(err, errkind.Unavailable), "%v", err)
	for status, body := range map[int]string{500: `{"message":"boom"}`, 200: `{"not":"a list"}`, 202: `[]`} {
		url, _ := serve(t, status, body)
		uses, err := engine.New(url).Uses(t.Context())
		assert.True(t, errkind.Is(err, errkind.Unavailable), "%d: %v", status, err)
		assert.Nil(t, uses)
	}
}
