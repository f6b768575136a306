package isolation

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

const (
	askTime    = 30 * time.Second       // for one answer
	listenTime = 250 * time.Millisecond // to events
	maxAnswer  = 4 << 20
)

// comparison plays requests and judges the answers.
type comparison struct {
	w        *world
	send     http.RoundTripper
	compared int
	forms    map[userPage][]form // that a user's pages have
	leaks    map[string]bool
	order    []string
	tainted  bool // the first tenant has things that are named as those of the second
}

// answer is what came back, as it is and with everything replaced that may
// differ between two answers to the same request.
type answer struct {
	status     int
	body, head string
	kind       string // of the body
	plain      string
}

func (c *comparison) leak(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !c.leaks[text] {
		c.leaks[text] = true
		c.order = append(c.order, text)
	}
}

func (c *comparison) list() []string { return c.order[:min(len(c.order), maxLeaks)] }

// examine plays an endpoint as one user.
func (c *comparison) examine(ctx context.Context, u user, op Operation) error {
	if op.Endless && !strings.Contains(op.Path, "{") {
		_, err := c.play(ctx, u, ask{method: op.Method, target: wire.Prefix + op.Path})
		return err
	}
	for _, t := range c.w.asks(op) {
		if err := c.compare(ctx, u, op.String(), t); err != nil {
			return err
		}
	}
	return nil
}

// compare plays both twins. Where they differ they are played again: an answer
// that never is the same twice says nothing by being different.
func (c *comparison) compare(ctx context.Context, u user, what string, t twins) error {
	var theirs, never []answer
	for range 2 {
		a, err := c.play(ctx, u, t.theirs)
		if err != nil {
			return err
		}
		b, err := c.play(ctx, u, t.never)
		if err != nil {
			return err
		}
		theirs, never = append(theirs, a), append(never, b)
		if a.plain == b.plain {
			c.compared++
			return nil
		}
	}
	c.compared++
	if never[0].plain != never[1].plain { // it counts, or tells the time
		for _, a := range theirs {
			if slices.ContainsFunc(never, func(b answer) bool {
				return numbers.ReplaceAllString(a.plain, "N") == numbers.ReplaceAllString(b.plain, "N")
			}) {
				return nil
			}
		}
	}
	c.leak("%s as %s tells what the other tenant has from what nobody has: %d and %d, %s", what, u.role, theirs[0].status, never[0].status, differ(theirs[0].plain, never[0].plain))
	return nil
}

// differ shows where two answers part.
func differ(a, b string) string {
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	i = max(0, i-20)
	cut := func(s string) string { return s[min(i, len(s)):min(i+80, len(s))] }
	return fmt.Sprintf("%q and %q", cut(a), cut(b))
}

var numbers = regexp.MustCompile(`[0-9]+`)

// moments are what differs between two answers to the same request.
var moments = []struct {
	what *regexp.Regexp
	by   string
}{
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "UUID"},
	{regexp.MustCompile(`"(serial|next|secret|uri|password|hash|head|last_from)":"[^"]*"`), `"$1":"X"`},
	{regexp.MustCompile(`[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[+-][0-9:]+)`), "TIME"},
	{regexp.MustCompile(`<time [^>]*>[^<]*</time>`), "TIME"},
	{regexp.MustCompile(`(?s)<figure class="line">.*?</figure>`), "LINE"}, // points by their time
	{regexp.MustCompile(`name="once" value="[^"]*"`), "ONCE"},
	{regexp.MustCompile(`<code id="secret[^>]*>[^<]*</code>`), "SECRET"},
}

// play sends one request as u, and looks for what no answer to the first
// tenant may say.
func (c *comparison) play(ctx context.Context, u user, q ask) (answer, error) {
	limit := askTime
	if strings.HasSuffix(q.target, "/events") || strings.HasSuffix(q.target, "/live") {
		limit = listenTime
	}
	short, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r, err := http.NewRequestWithContext(short, q.method, c.w.base+q.target, strings.NewReader(q.body))
	if err != nil {
		return answer{}, errkind.Wrap(errkind.Internal, err, "make the request %s", q.line())
	}
	r.Header.Set(wire.HeaderRequest, "same")
	if u.token != "" {
		r.Header.Set("Authorization", "Bearer "+u.token)
	}
	if q.body != "" && !strings.HasPrefix(q.target, wire.Prefix) {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if q.key != "" {
		r.Header.Set(wire.HeaderIdempotency, q.key)
	}
	resp, err := c.send.RoundTrip(r)
	if err != nil {
		return answer{}, errkind.Wrap(errkind.Unavailable, err, "ask %s as %s", q.line(), u.role)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return answer{}, errkind.Wrap(errkind.Unavailable, err, "read the answer to %s as %s", q.line(), u.role)
	}
	if err := ctx.Err(); err != nil {
		return answer{}, context.Cause(ctx)
	}
	a := answer{status: resp.StatusCode, body: string(body), head: header(resp.Header), kind: resp.Header.Get("Content-Type")}
	a.plain = c.plain(fmt.Sprintf("%d\n%s\n%s", a.status, a.head, a.body))
	if u.role != c.w.other.role || u.token != c.w.other.token {
		c.search(u, q, a)
	}
	if q.method != http.MethodGet && a.status < http.StatusBadRequest && q.mentions(c.w.theirs) {
		c.tainted = true
	}
	return a, nil
}

// search looks for what the second tenant has in an answer that did not get it
// from the request.
func (c *comparison) search(u user, q ask, a answer) {
	said := a.head + a.body
	for _, word := range c.w.secrets() {
		if strings.Contains(said, word) && !q.mentions(word) && (word != c.w.theirs || !c.tainted) {
			c.leak("%s %s as %s answers with something of the other tenant", q.method, c.plain(q.target), u.role)
		}
	}
}

// header is every line of a header that could tell something.
func header(h http.Header) string {
	h = h.Clone()
	for i, c := range h["Set-Cookie"] {
		h["Set-Cookie"][i] = readable(c)
	}
	for _, k := range []string{"Date", "Content-Length"} { // the latter follows from the body, in which times differ in length
		h.Del(k)
	}
	var b strings.Builder
	_ = h.Write(&b) // a builder takes everything
	return b.String()
}

// readable is a cookie with its value in plain text, in which words can be
// looked for.
func readable(cookie string) string {
	name, rest, _ := strings.Cut(cookie, "=")
	value, rest, _ := strings.Cut(rest, ";")
	text, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil || !json.Valid(text) {
		return cookie
	}
	return name + "=" + string(text) + ";" + rest
}

// plain is an answer without what may differ.
func (c *comparison) plain(s string) string {
	for _, p := range c.w.pairs {
		s = strings.ReplaceAll(strings.ReplaceAll(s, p.theirs, "WORD"), p.never, "WORD")
	}
	for _, m := range moments {
		s = m.what.ReplaceAllString(s, m.by)
	}
	return s
}

// repeats shows the second tenant's idempotency keys: they are its own.
func (c *comparison) repeats(ctx context.Context) error {
	made := func(group, name string) ask {
		return ask{
			method: http.MethodPost, target: wire.Prefix + "/vmgroups/" + group + "/users", key: "key-" + name,
			body: `{"name":"` + name + `-2","role":"operator","password":"eleven plain planks"}`,
		}
	}
	first, err := c.play(ctx, c.w.other, made(c.w.theirs, c.w.theirs))
	if err != nil {
		return err
	}
	if first.status != http.StatusOK {
		return errkind.New(errkind.Internal, "the check cannot make a user for its second tenant: %s", c.plain(first.body))
	}
	const what = "POST /vmgroups/{vmgroup}/users with a key"
	for _, u := range c.w.users {
		if err := c.compare(ctx, u, what, twins{made(c.w.own, c.w.theirs), made(c.w.own, c.w.never)}); err != nil {
			return err
		}
	}
	return nil
}
