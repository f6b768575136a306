package notify_test

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"mime/quotedprintable"
	netmail "net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"mooring.dev/mooring/hostsvc/internal/notify"
	"mooring.dev/mooring/pkg/visible"
	"mooring.dev/mooring/pkg/volspec/volspectest"
	"mooring.dev/mooring/pkg/wire"
)

// about is an event in which everything has that name.
func about(name string) notify.Event {
	return notify.Event{ID: "msg_1", Time: at, Group: name, Kind: notify.JobFailed, Object: name, Severity: notify.Error, Request: name, Sentence: "volume " + name + " was not backed up"}
}

// harmless wants a mail with the headers that a mail has, and nothing that
// steers or hides in what is read.
func harmless(t *testing.T, what string, m mail, headers ...string) *netmail.Message {
	t.Helper()
	for line := range strings.Lines(m.data) {
		assert.LessOrEqual(t, len(line), 1000, "%s: as long as SMTP allows", what)
		assert.Equal(t, -1, strings.IndexFunc(strings.TrimSuffix(line, "\r\n"), func(r rune) bool { return r < ' ' && r != '\t' || r > '~' }), "%s: %q", what, line)
	}
	parsed, err := netmail.ReadMessage(strings.NewReader(m.data))
	require.NoError(t, err, what)
	var have []string
	for name, values := range parsed.Header {
		assert.Len(t, values, 1, "%s: %s", what, name)
		have = append(have, name)
	}
	slices.Sort(have)
	want := append([]string{"Auto-Submitted", "Content-Type", "Date", "From", "Message-Id", "Mime-Version", "Subject", "To"}, headers...)
	slices.Sort(want)
	assert.Equal(t, want, have, what)
	subject, err := new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject"))
	require.NoError(t, err, what)
	assert.Equal(t, -1, strings.IndexFunc(subject, visible.Hidden), "%s: %q", what, subject)
	assert.Less(t, len([]rune(subject)), 300, what)
	return parsed
}

func plainText(t *testing.T, what, text string) {
	t.Helper()
	assert.Equal(t, -1, strings.IndexFunc(text, func(r rune) bool { return r != '\n' && visible.Hidden(r) }), "%s: %q", what, text)
}

// Whatever things are called, a mail is one mail to those who get it, and a
// webhook one request that says the name.
func TestNamesAreWordsForPeople(t *testing.T) {
	post, hooks := &mailServer{}, &receiver{}
	o := server(t, post, notify.SMTPOptions{TLS: notify.StartTLS})
	w := hook(t, hooks, notify.WebhookOptions{})
	for what, name := range volspectest.Hostile {
		o.Product, o.Foot = name, name
		before := len(post.got())
		_, err := sender(t, o).Send(t.Context(), []notify.Event{about(name)})
		require.NoError(t, err, what)
		require.Len(t, post.got(), before+1, what)
		m := post.got()[before]
		assert.Equal(t, []string{"admin@example.com", "night@example.com"}, m.to, what)
		parsed := harmless(t, what, m, "Content-Transfer-Encoding")
		body, err := io.ReadAll(quotedprintable.NewReader(parsed.Body))
		require.NoError(t, err, what)
		plainText(t, what, strings.ReplaceAll(string(body), "\r\n", "\n"))

		_, err = w.Send(t.Context(), []notify.Event{about(name)})
		require.NoError(t, err, what)
		hooks.mu.Lock()
		body = hooks.last
		hooks.mu.Unlock()
		var said struct {
			Data struct{ VMGroup, Object, Title, Sentence string } `json:"data"`
		}
		require.NoError(t, json.Unmarshal(body, &said), "%s: %s", what, body)
		assert.Equal(t, name, said.Data.Object, what)
		assert.Equal(t, name, said.Data.VMGroup, what)
		assert.Equal(t, -1, strings.IndexFunc(said.Data.Title, visible.Hidden), "%s: %q", what, said.Data.Title)
		assert.False(t, bytes.ContainsAny(body, "<>&"), "%s: a page that shows it as it is shows text", what)
	}
	assert.Len(t, hooks.got(), len(volspectest.Hostile))
}

// The same of summaries, whose HTML has no element of a name.
func TestNamesAreWordsInSummaries(t *testing.T) {
	elements := func(text string) (all []string) {
		for z := html.NewTokenizer(strings.NewReader(text)); ; {
			kind := z.Next()
			if kind == html.ErrorToken {
				return all
			}
			if name, more := z.TagName(); kind != html.TextToken {
				all = append(all, string(name))
				for more {
					var key []byte
					if key, _, more = z.TagAttr(); strings.HasPrefix(string(key), "on") {
						all = append(all, string(key))
					}
				}
			}
		}
	}
	write := func(name string) (string, string, string) {
		subject, text, rich, err := notify.DigestLetter(name, wire.Dashboard{
			Alarms:     []wire.Alarm{{VMGroup: name, Kind: name, Object: name, Since: at, Detail: name}},
			AlarmCount: 1, Next: []wire.Run{{Time: at, VMGroup: name, Policy: name, Task: name}},
		}, at.In(time.UTC))
		require.NoError(t, err, name)
		return subject, text, rich
	}
	_, text, rich := write("plain")
	lines, parts := strings.Count(text, "\n"), elements(rich)
	require.NotEmpty(t, parts)
	for what, name := range volspectest.Hostile {
		subject, text, rich := write(name)
		assert.Equal(t, -1, strings.IndexFunc(subject, visible.Hidden), what)
		plainText(t, what, text)
		plainText(t, what, rich)
		assert.Equal(t, lines, strings.Count(text, "\n"), what)
		assert.Equal(t, parts, elements(rich), what)
		assert.NotContains(t, rich, "javascript:alert(1)\"", what)
	}
}
