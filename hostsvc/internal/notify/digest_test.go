package notify_test

import (
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/keyring"
	"mooring.dev/mooring/hostsvc/internal/netguard"
	"mooring.dev/mooring/hostsvc/internal/notify"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// site is a directory over a real catalog, with vmgroups shop and bank.
type site struct {
	catalog  *catalog.Catalog
	ring     *keyring.Ring
	notifier *notify.Notifier
	mail     *notify.SMTPOptions
}

var chief = volspec.Caller{Admin: true, Role: volspec.MasterAdmin, Actor: "user:chief"}

func newSite(t *testing.T, mail *notify.SMTPOptions) *site {
	t.Helper()
	c, err := catalog.Open(t.Context(), catalog.Options{Driver: catalog.SQLite, Path: filepath.Join(t.TempDir(), "catalog.db")})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	ring, err := keyring.Create(filepath.Join(t.TempDir(), "master.key"))
	require.NoError(t, err)
	require.NoError(t, c.Tenancy().Update(t.Context(), func(tx tenancy.Tx) error {
		for _, g := range []volspec.VMGroup{{ID: "g1", Name: "shop"}, {ID: "g2", Name: "bank"}} {
			if err := tx.PutGroup(g); err != nil {
				return err
			}
		}
		return nil
	}))
	return &site{catalog: c, ring: ring, notifier: notify.New(notify.Options{}), mail: mail}
}

// directory is one as a new process makes it.
func (s *site) directory(t *testing.T) *notify.Directory {
	t.Helper()
	guard, err := netguard.New([]string{"127.0.0.0/8"})
	require.NoError(t, err)
	return notify.NewDirectory(notify.DirectoryOptions{
		Store: s.catalog.Notify(), Sealer: s.ring, Notifier: s.notifier, Mail: s.mail, Guard: guard,
		About: func(context.Context) (string, string, error) {
			return "Harbour Backup", "https://backup.example/", nil
		},
	})
}

// glance knows a word of each vmgroup that stands nowhere else.
type glance struct {
	t  *testing.T
	mu sync.Mutex
	n  int
}

func (g *glance) Dashboard(ctx context.Context, vmgroup, _ string) (wire.Dashboard, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n++
	confined, ok := volspec.Confined(ctx)
	assert.Equal(g.t, map[string]volspec.VMGroupID{"shop": "g1", "bank": "g2", "": ""}[vmgroup], confined)
	assert.Equal(g.t, vmgroup != "", ok, "a vmgroup's numbers are read as its own user would")
	word := vmgroup + "-secret<b>"
	return wire.Dashboard{
		Protected: 7, Day: wire.Runs{Done: 11, Failed: 2, Bytes: 3 << 30}, Week: wire.Runs{Done: 77},
		AlarmCount: 1, Alarms: []wire.Alarm{{VMGroup: vmgroup, Kind: "job-failed", Object: word, Since: at, Detail: "disk is full"}},
		Next:    []wire.Run{{Time: at, VMGroup: vmgroup, Policy: "night-" + vmgroup, Task: "backup"}},
		Storage: wire.Share{Used: 1 << 30, Bounded: true, Effective: 4 << 30},
	}, nil
}

// parts are the texts of a mail, by kind.
func parts(t *testing.T, m mail) (subject string, bodies map[string]string) {
	t.Helper()
	parsed, err := netmail.ReadMessage(strings.NewReader(m.data))
	require.NoError(t, err)
	subject, err = new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject"))
	require.NoError(t, err)
	kind, params, err := mime.ParseMediaType(parsed.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/alternative", kind)
	bodies = map[string]string{}
	for r := multipart.NewReader(parsed.Body, params["boundary"]); ; {
		p, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return subject, bodies
		}
		require.NoError(t, err)
		text, err := io.ReadAll(quotedprintable.NewReader(p))
		require.NoError(t, err)
		kind, _, err := mime.ParseMediaType(p.Header.Get("Content-Type"))
		require.NoError(t, err)
		bodies[kind] = string(text)
	}
}

func set(t *testing.T, d *notify.Directory, vmgroup string, n wire.Notifications) {
	t.Helper()
	_, err := d.PutNotifications(t.Context(), chief, vmgroup, n)
	require.NoError(t, err)
}

func TestDigestsTellEachItsOwn(t *testing.T) {
	post := &mailServer{}
	o := server(t, post, notify.SMTPOptions{TLS: notify.StartTLS})
	s := newSite(t, &o)
	d := s.directory(t)
	for vmgroup, every := range map[string]string{"shop": "daily", "bank": "weekly", "": "daily"} {
		set(t, d, vmgroup, wire.Notifications{Emails: []string{"ops@" + vmgroup + "x.example"}, Digest: every})
	}
	later := time.Now().Add(8 * 24 * time.Hour)
	notify.NewDigests(d, &glance{t: t}, time.UTC).Send(t.Context(), later)
	got := map[string]mail{}
	for _, m := range post.got() {
		got[m.to[0]] = m
	}
	require.Len(t, got, 3)
	for vmgroup, title := range map[string]string{"shop": "Daily summary of shop", "bank": "Weekly summary of bank", "": "Daily summary of all tenants"} {
		m := got["ops@"+vmgroup+"x.example"]
		subject, bodies := parts(t, m)
		assert.Equal(t, "[Harbour Backup] "+title, subject)
		require.Len(t, bodies, 2)
		for kind, text := range bodies {
			assert.Contains(t, text, title, kind)
			assert.Contains(t, text, "https://backup.example/", kind)
			assert.Contains(t, text, "disk is full", kind)
			assert.Contains(t, text, "1 GiB of 4 GiB", kind)
			assert.Contains(t, text, "night-"+vmgroup+" (backup)", kind)
		}
		assert.Contains(t, bodies["text/plain"], vmgroup+"-secret<b>")
		assert.Contains(t, bodies["text/html"], vmgroup+"-secret&lt;b&gt;")
		for _, other := range []string{"shop", "bank"} {
			if other != vmgroup {
				assert.NotContains(t, m.data, other)
				assert.NotContains(t, bodies["text/plain"]+bodies["text/html"], other)
			}
		}
	}
	_, weekly := parts(t, got["ops@bankx.example"])
	assert.Regexp(t, `done +77\s`, weekly["text/plain"])
	_, daily := parts(t, got["ops@shopx.example"])
	assert.Regexp(t, `done +11\s`, daily["text/plain"])
}

func TestADigestComesOnceAlsoAfterRestarts(t *testing.T) {
	post := &mailServer{}
	o := server(t, post, notify.SMTPOptions{TLS: notify.StartTLS})
	s := newSite(t, &o)
	zone, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	set(t, s.directory(t), "shop", wire.Notifications{Emails: []string{"ops@shop.example"}, Digest: "daily"})
	day := time.Now().In(zone).AddDate(0, 0, 2)
	clock := func(days, hour, minute int) time.Time {
		return time.Date(day.Year(), day.Month(), day.Day()+days, hour, minute, 0, 0, zone)
	}
	look := func(now time.Time) int {
		notify.NewDigests(s.directory(t), &glance{t: t}, zone).Send(t.Context(), now) // as a new process
		return len(post.got())
	}
	assert.Equal(t, 0, look(time.Now()), "what was due before it was wanted is not sent")
	assert.Equal(t, 1, look(clock(0, 7, 0)))
	assert.Equal(t, 1, look(clock(0, 7, 1)))
	assert.Equal(t, 1, look(clock(1, 6, 59)))
	assert.Equal(t, 2, look(clock(3, 15, 0)), "after days without a service there is one, late")
	assert.Equal(t, 2, look(clock(3, 15, 30)))
	assert.Equal(t, 3, look(clock(4, 7, 0)))
	ids := map[string]bool{}
	for _, m := range post.got() {
		parsed, err := netmail.ReadMessage(strings.NewReader(m.data))
		require.NoError(t, err)
		ids[parsed.Header.Get("Message-Id")] = true
	}
	assert.Len(t, ids, 3)
	set(t, s.directory(t), "shop", wire.Notifications{Emails: []string{"ops@shop.example"}})
	assert.Equal(t, 3, look(clock(9, 7, 0)), "none is wanted")
}

// A digest that no server took is tried again, but not at once, and for good
// refusals not at all.
func TestADigestThatWasNotTaken(t *testing.T) {
	for name, tc := range map[string]struct {
		answer string
		later  int // attempts after ten minutes
	}{
		"for now":  {"451 later", 2},
		"for good": {"554 never", 1},
	} {
		t.Run(name, func(t *testing.T) {
			post := &mailServer{answers: map[string]string{".": tc.answer}}
			o := server(t, post, notify.SMTPOptions{TLS: notify.StartTLS})
			s := newSite(t, &o)
			d := s.directory(t)
			set(t, d, "shop", wire.Notifications{Emails: []string{"ops@shop.example"}, Digest: "weekly"})
			at := time.Now().Add(8 * 24 * time.Hour)
			g := &glance{t: t}
			for _, now := range []time.Time{at, at.Add(9 * time.Minute)} {
				notify.NewDigests(d, g, time.UTC).Send(t.Context(), now)
				assert.Equal(t, 1, g.n)
			}
			notify.NewDigests(d, g, time.UTC).Send(t.Context(), at.Add(10*time.Minute))
			assert.Equal(t, tc.later, g.n)
			assert.Empty(t, post.got())
		})
	}
}

func TestWhenDigestsAreDue(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	for now, want := range map[string][2]string{ // daily, weekly
		"2026-11-26T06:59:00+01:00": {"2026-11-25T07:00:00+01:00", "2026-11-23T07:00:00+01:00"},
		"2026-11-26T07:00:00+01:00": {"2026-11-26T07:00:00+01:00", "2026-11-23T07:00:00+01:00"},
		"2026-11-23T05:59:00Z":      {"2026-11-22T07:00:00+01:00", "2026-11-16T07:00:00+01:00"},
		"2026-11-23T06:00:00Z":      {"2026-11-23T07:00:00+01:00", "2026-11-23T07:00:00+01:00"},
		"2026-11-22T23:00:00+01:00": {"2026-11-22T07:00:00+01:00", "2026-11-16T07:00:00+01:00"},
		"2026-10-25T06:30:00+01:00": {"2026-10-24T07:00:00+02:00", "2026-10-19T07:00:00+02:00"}, // clocks were put back
	} {
		at, err := time.Parse(time.RFC3339, now)
		require.NoError(t, err)
		assert.Equal(t, want[0], notify.LastDue("daily", at, zone).Format(time.RFC3339), now)
		assert.Equal(t, want[1], notify.LastDue("weekly", at, zone).Format(time.RFC3339), now)
	}
}

func TestDigestsThatCannotWorkAreRefused(t *testing.T) {
	d := newSite(t, &notify.SMTPOptions{}).directory(t)
	for name, n := range map[string]wire.Notifications{
		"hourly":  {Emails: []string{"a@b.example"}, Digest: "hourly"},
		"nowhere": {Digest: "daily"},
	} {
		_, err := d.PutNotifications(t.Context(), chief, "shop", n)
		assert.Equal(t, errkind.Invalid, errkind.Of(err), name)
		assert.ErrorContains(t, err, "digest", name)
	}
}

func TestNobodyToTest(t *testing.T) {
	d := newSite(t, nil).directory(t)
	for _, vmgroup := range []string{"", "shop"} {
		_, err := d.TestNotifications(t.Context(), chief, vmgroup)
		assert.Equal(t, errkind.Invalid, errkind.Of(err))
		assert.Equal(t, "there is nobody to notify: add an address or a webhook first", errkind.Text(err))
	}
}

// Who is told is a person at a domain: no word of a tenant breaks out of the
// mail protocol, or says where the mail server connects to.
func TestMailGoesToPeopleAtDomains(t *testing.T) {
	d := newSite(t, &notify.SMTPOptions{}).directory(t)
	for _, to := range []string{
		"a@[127.0.0.1]", "a@[IPv6:::1]", "a@10.0.0.1", "a@169.254.169.254", `"a>b"@x.example`, `"a@evil.example"@x.example`, `"a,b"@x.example`,
		"a@x.example\r\nBcc: b@x.example", "a@x.example, b@x.example", "a@-x.example", "a@x.example>", "a b@x.example", "ä@x.example", "a@x\u202e.example", "",
	} {
		_, err := d.PutNotifications(t.Context(), chief, "shop", wire.Notifications{Emails: []string{to}})
		assert.Equal(t, errkind.Invalid, errkind.Of(err), "%q", to)
		assert.Regexp(t, "write (one such as|a plain address)", errkind.Text(err))
	}
	set(t, d, "shop", wire.Notifications{Emails: []string{"first.last+mooring@mail.x.example", "Nächtlich <o'hara@x.example>", "root@localhost"}})
}
