package app

import (
	"context"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/notify"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// heard is everything that arrived somewhere.
type heard struct{ SyncBuffer }

// ServeHTTP is the receiver of a webhook.
func (h *heard) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	_ = r.Header.Write(h)
	_, _ = io.Copy(h, r.Body)
}

// neighbour is a tenant with what tells it something: people who get mail, a
// receiver of webhooks, and an administrator who has the streams open.
type neighbour struct {
	group, thing  string
	token, secret string // of the administrator, and of the webhook
	hook, streams heard
	ids           []string
}

func (n *neighbour) mailbox() string { return "people@" + n.group + ".example" }

func (v *vault) neighbour(t *testing.T, group, thing string) *neighbour {
	t.Helper()
	n := &neighbour{group: group, thing: thing}
	_, err := v.a.CreateUser(t.Context(), group, wire.CreateUser{Name: thing + "-owner", Role: volspec.TenantAdmin, Password: ownerPassword})
	require.NoError(t, err)
	visitor := volspec.Caller{Visitor: true, Actor: "visitor:" + thing, From: thing}
	_, secret, err := v.d.accounts.Login(t.Context(), visitor, wire.Login{Tenant: group, User: thing + "-owner", Password: ownerPassword}, "test")
	require.NoError(t, err)
	c, err := v.d.accounts.BySession(t.Context(), secret, thing)
	require.NoError(t, err)
	c.MustChange = false // to make a token at once
	token, err := v.d.accounts.CreateToken(t.Context(), c, wire.CreateToken{Name: "watch", Days: 1})
	require.NoError(t, err)
	n.token = token.Secret

	sink := httptest.NewServer(&n.hook)
	t.Cleanup(sink.Close)
	told, err := v.a.PutNotifications(t.Context(), group, wire.Notifications{
		Emails: []string{n.mailbox()}, Digest: notify.Daily, Webhooks: []wire.NotifyWebhook{{Name: "sink", URL: sink.URL}},
	})
	require.NoError(t, err)
	n.secret = told.Webhooks[0].Secret
	require.NotEmpty(t, n.secret)
	return n
}

// ask sends a request of the tenant's administrator; what comes goes into out.
func (v *vault) ask(ctx context.Context, t *testing.T, n *neighbour, target string, out io.Writer) int {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://mooringd"+target, nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+n.token)
	resp, err := v.wayIn(t).RoundTrip(r)
	if err != nil { // the context has ended
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(out, resp.Body)
	return resp.StatusCode
}

func (v *vault) answer(t *testing.T, n *neighbour, target string) (int, string) {
	t.Helper()
	var out heard
	status := v.ask(t.Context(), t, n, target, &out)
	return status, out.String()
}

// busy lets jobs of the tenant end well and badly.
func (v *vault) busy(t *testing.T, n *neighbour) {
	t.Helper()
	for _, name := range []string{n.thing + "-db", n.thing + "-log"} {
		vol, err := v.a.CreateVolume(t.Context(), n.group, wire.CreateVolume{Name: name, Options: map[string]string{"size": "16mb"}})
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(v.image(t, vol), []byte("content of "+n.thing), 0o600))
		require.NoError(t, os.Truncate(v.image(t, vol), 16<<20))
		n.ids = append(n.ids, string(vol.ID))
	}
	r := v.repository(t, n.group, n.thing+"-main")
	n.ids = append(n.ids, string(r.ID))
	run := func(want string) {
		jobs, err := v.a.Backup(t.Context(), n.group, wire.RunBackup{Volumes: []string{n.thing + "-db", n.thing + "-log"}})
		require.NoError(t, err)
		for _, j := range jobs {
			j = v.end(t, n.group, j, want)
			n.ids = append(n.ids, string(j.ID))
			if j.Point != "" {
				n.ids = append(n.ids, j.Point)
			}
		}
	}
	run("done")
	place := v.dir + "/repo-" + r.Name
	require.NoError(t, os.Rename(place, place+".away"))
	run("failed")
	require.NoError(t, os.Rename(place+".away", place))
}

// While jobs of two tenants run and fail, each hears of its own alone: by
// mail, by webhooks, by the streams of the interface and of the portal. Metrics
// and the log tell of no tenant's content or secrets.
func TestNothingOfOneTenantReachesAnother(t *testing.T) {
	var logged heard
	require.NoError(t, log.Setup(log.Options{Level: "debug", Format: "json", Output: &logged}))
	t.Cleanup(func() { assert.NoError(t, log.Setup(log.Options{Level: "error", Output: os.Stderr})) })
	mails, mailTable := newPost(t)
	v := newVault(t, httpsTable+"[notify]\nallow_private = ['127.0.0.0/8']\n"+mailTable)
	_, err := v.a.PutNotifications(t.Context(), "", wire.Notifications{Emails: []string{chief}, Digest: notify.Daily})
	require.NoError(t, err)
	a, b := v.neighbour(t, "Dev", "quartz"), v.neighbour(t, "Test", "feldspar")
	both := []*neighbour{b, a}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var open sync.WaitGroup
	for _, n := range both {
		for _, target := range []string{wire.Prefix + "/events", "/live"} {
			open.Go(func() { v.ask(ctx, t, n, target, &n.streams) })
		}
	}
	for _, n := range both {
		v.busy(t, n)
	}
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		for _, n := range both {
			assert.Contains(c, n.hook.String(), n.thing, "%s is told that its job failed", n.group)
			assert.Contains(c, n.streams.String(), n.thing)
			assert.Contains(c, mails.said(c, n.mailbox()), n.thing)
			assert.Contains(c, mails.said(c, chief), n.thing, "the provider hears of all")
		}
	}, time.Minute, 100*time.Millisecond)
	cancel()
	open.Wait()
	v.summaries(t, mails, a, b)

	for i, n := range both {
		other := both[1-i]
		for where, said := range map[string]string{"webhook": n.hook.String(), "stream": n.streams.String(), "mail": mails.said(t, n.mailbox())} {
			for _, word := range append(other.ids, other.thing, `"`+other.group+`"`, other.mailbox(), " "+other.group+" ", "of "+other.group) {
				assert.NotContains(t, said, word, "the %s of %s", where, n.group)
			}
		}
	}
	v.cursors(t, a, b)

	said := v.metrics(t)
	require.Contains(t, said, "mooring_jobs_running")
	for _, n := range both {
		for _, word := range append(n.ids, n.thing, `"`+n.group+`"`) {
			assert.NotContains(t, said, word, "metrics tell of no tenant")
		}
		for _, secret := range []string{n.token, n.secret, ownerPassword, "content of " + n.thing} {
			assert.NotContains(t, logged.String(), secret)
			for _, person := range []string{chief, "ops@provider.example", a.mailbox(), b.mailbox()} {
				assert.NotContains(t, mails.said(t, person), secret, person)
			}
		}
	}
	assert.Contains(t, logged.String(), "quartz-db", "the log was read")
	_, said = v.answer(t, a, "/metrics")
	assert.NotContains(t, said, "mooring_", "nobody reads them on the channel for people")
}

// chief gets the mail that is about the service.
const chief = "chief@provider.example"

// summaries makes the digests due and waits for them: each tenant's is about
// itself, the provider's about all.
func (v *vault) summaries(t *testing.T, mails *post, tenants ...*neighbour) {
	t.Helper()
	titles := map[string]string{chief: "Daily summary of all tenants"}
	due := []volspec.VMGroupID{""}
	for _, n := range tenants {
		g, err := v.a.VMGroup(t.Context(), n.group)
		require.NoError(t, err)
		due = append(due, volspec.VMGroupID(g.ID))
		titles[n.mailbox()] = "Daily summary of " + n.group
	}
	require.NoError(t, v.d.catalog.Notify().Update(t.Context(), func(tx notify.Tx) error {
		for _, g := range due {
			if err := tx.PutSetting("notify digest "+string(g), "{}"); err != nil {
				return err
			}
		}
		return nil
	}))
	ctx, cancel := context.WithCancel(t.Context())
	var sent sync.WaitGroup
	sent.Go(func() {
		assert.NoError(t, notify.NewDigests(v.d.backups.told, v.d.backups.overview, time.UTC).Run(ctx))
	})
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		for person, title := range titles {
			assert.Contains(c, mails.said(c, person), title)
		}
	}, time.Minute, 100*time.Millisecond)
	cancel()
	sent.Wait()
}

func (s *site) metrics(t *testing.T) string {
	t.Helper()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", s.dir+"/run/admin.sock")
	}}
	defer tr.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://mooringd/metrics", nil)
	require.NoError(t, err)
	resp, err := tr.RoundTrip(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	return string(body)
}

var lastDigit = regexp.MustCompile(`([0-9a-f]{8}-[0-9a-f-]{26,})[0-9a-f]`)

// cursors shows one tenant the cursors of the other: they mean what a cursor
// means that nobody was ever given. What is cut or made up is refused.
func (v *vault) cursors(t *testing.T, a, b *neighbour) {
	t.Helper()
	vols, err := v.a.Volumes(t.Context(), hostclient.VolumesQuery{VMGroup: b.group, Limit: 1})
	require.NoError(t, err)
	jobs, err := v.a.GroupJobs(t.Context(), b.group, hostclient.JobsQuery{Limit: 1})
	require.NoError(t, err)
	points, err := v.a.Points(t.Context(), b.group, hostclient.PointsQuery{Limit: 1})
	require.NoError(t, err)
	for target, theirs := range map[string]string{
		"/volumes?limit=9&after=": vols.Next, "/vmgroups/" + a.group + "/jobs?limit=9&after=": jobs.Next, "/jobs?limit=9&after=": jobs.Next,
		"/vmgroups/" + a.group + "/points?limit=9&after=": points.Next,
	} {
		require.NotEmpty(t, theirs, target)
		plain, err := base64.RawURLEncoding.DecodeString(theirs)
		require.NoError(t, err)
		never := base64.RawURLEncoding.EncodeToString(lastDigit.ReplaceAll(plain, []byte("${1}0")))
		wantStatus, want := v.answer(t, a, wire.Prefix+target+never)
		status, said := v.answer(t, a, wire.Prefix+target+theirs)
		assert.Equal(t, wantStatus, status, target)
		assert.Equal(t, want, said, target)
		for _, bad := range []string{theirs[:len(theirs)/2], theirs[:len(theirs)-4], "e30", "bnVsbA", "!", url.QueryEscape("../" + theirs), base64.RawURLEncoding.EncodeToString([]byte("1 x"))} {
			status, said := v.answer(t, a, wire.Prefix+target+bad)
			assert.Equal(t, http.StatusBadRequest, status, "%s%s: %s", target, bad, said)
			assert.Contains(t, said, "cursor")
		}
	}
	for _, bad := range []string{"-1", "0", "x", "99999", "99999999999999999999"} {
		status, said := v.answer(t, a, wire.Prefix+"/audit?after="+bad)
		assert.Equal(t, http.StatusBadRequest, status, "%s: %s", bad, said)
	}
}
