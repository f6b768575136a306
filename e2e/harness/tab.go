package harness

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

//go:embed page.js
var pageScript string

// patience is how long a page may take to show what a step needs.
const patience = time.Minute

// Tab is a window of one person: it shares no cookies with others.
type Tab struct {
	b         *Browser
	t         testing.TB
	ctx       context.Context //nolint:containedctx // this is how chromedp names a tab
	base      string
	downloads string
	keyboard  bool // this person has no mouse

	mu       sync.Mutex
	problems []string
}

// Tab opens a window for the site base; it closes with the test, which fails if
// a page broke its own security policy or a script threw.
func (b *Browser) Tab(t testing.TB, base string) *Tab {
	t.Helper()
	p := &Tab{b: b, t: t, base: base, downloads: t.TempDir()}
	ctx, stop := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	p.ctx = ctx
	t.Cleanup(func() {
		stop()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, problem := range p.problems {
			t.Errorf("the browser complained: %s", problem)
		}
	})
	require.NoError(t, chromedp.Do(ctx))
	require.NoError(t, chromedp.Listen(ctx, p.heard))
	_, err := chromedp.CallBrowser(ctx, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{
		Behavior: browser.SetDownloadBehaviorBehaviorAllow, BrowserContextID: chromedp.FromContext(ctx).BrowserContextID, DownloadPath: p.downloads,
	})
	require.NoError(t, err)
	// Several windows are walked through at the same time.
	_, err = chromedp.Call(ctx, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	require.NoError(t, err)
	p.Dress(Desk)
	return p
}

func (p *Tab) heard(ev any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch ev := ev.(type) {
	case *cdplog.EventEntryAdded: // an answer 4xx is logged by the network, and the test's business
		if ev.Entry.Level == cdplog.EntryLevelError && ev.Entry.Source != cdplog.EntrySourceNetwork {
			p.problems = append(p.problems, ev.Entry.Text+" "+ev.Entry.URL)
		}
	case *runtime.EventExceptionThrown:
		p.problems = append(p.problems, ev.ExceptionDetails.Text+" "+ev.ExceptionDetails.URL)
	}
}

// eval evaluates a JavaScript expression on the page.
func eval[T any](p *Tab, expression string) (T, error) {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// ask evaluates an expression about what a person finds on the page.
func ask[T any](p *Tab, format string, args ...any) (T, error) {
	quoted := make([]any, len(args))
	for i, a := range args {
		b, _ := json.Marshal(a) // strings and numbers
		quoted[i] = string(b)
	}
	return eval[T](p, "(() => {"+pageScript+"return "+fmt.Sprintf(format, quoted...)+"})()")
}

// Open goes to a path of the site.
func (p *Tab) Open(path string) {
	p.t.Helper()
	require.NoError(p.t, p.leave(func(ctx context.Context) error {
		return chromedp.Do(ctx, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
			_, err := eval[bool](p, fmt.Sprintf("(location.assign(%q), true)", p.base+path))
			return err
		}))
	}, true), "opening %s", path)
}

// leave does what makes the browser leave the page and waits for the next.
func (p *Tab) leave(do func(context.Context) error, leaves bool) error {
	if leaves {
		if _, err := eval[bool](p, "window.mooringLeft = true"); err != nil {
			return err
		}
	}
	if err := do(p.ctx); err != nil {
		return err
	}
	return Eventually(patience, func() error {
		there, err := eval[bool](p, "!window.mooringLeft && document.readyState === 'complete'")
		if err == nil && !there {
			err = fmt.Errorf("the page stays: %s", p.Words())
		}
		return err
	})
}

// place is where on the page to click, and what follows.
type place struct {
	X, Y   float64
	Leaves bool // the click leads to another page
	Click  bool // of a control: it has to be clicked
	Type   bool // of a control: it has the focus and waits for text
}

// Press clicks the link or button of that name, or reaches it by keyboard, and
// waits for the page that follows, if it leads to one.
func (p *Tab) Press(name string) {
	p.t.Helper()
	p.PressIn("", name)
}

// PressIn is Press in the smallest part of the page that has a text.
func (p *Tab) PressIn(text, name string) {
	p.t.Helper()
	var at *place
	require.NoError(p.t, Eventually(patience, func() (err error) {
		at, err = ask[*place](p, "deed(%s, %s)", name, text)
		if err == nil && at == nil {
			err = fmt.Errorf("there is nothing called %q to press near %q: %s", name, text, p.Words())
		}
		return err
	}))
	if p.keyboard {
		p.reach(name)
	}
	require.NoError(p.t, p.leave(func(ctx context.Context) error {
		if p.keyboard {
			return chromedp.Do(ctx, chromedp.KeyEvent(kb.Enter))
		}
		return chromedp.Do(ctx, chromedp.MouseClickXY(at.X, at.Y))
	}, at.Leaves), "pressing %q", name)
}

// Fill writes into the field of that label, chooses the option of that text, or
// with true and false sets a check box.
func (p *Tab) Fill(label, value string) {
	p.t.Helper()
	p.FillIn("", label, value)
}

// FillIn is Fill in the smallest part of the page that has a text.
func (p *Tab) FillIn(text, label, value string) {
	p.t.Helper()
	if p.keyboard {
		p.write(text, label, value)
		return
	}
	var at *place
	require.NoError(p.t, Eventually(patience, func() (err error) {
		at, err = ask[*place](p, "control(%s, %s, %s)", label, value, text)
		if err == nil && at == nil {
			err = fmt.Errorf("there is no field %q that takes %q near %q: %s", label, value, text, p.Words())
		}
		return err
	}))
	switch {
	case at.Click:
		require.NoError(p.t, chromedp.Do(p.ctx, chromedp.MouseClickXY(at.X, at.Y)))
	case at.Type:
		_, err := chromedp.Call(p.ctx, input.InsertText, input.InsertTextParams{Text: value})
		require.NoError(p.t, err)
	}
}

// Words is all text that shows on the page.
func (p *Tab) Words() string {
	text, err := eval[string](p, "location.pathname + ': ' + document.title + '\\n' + document.body.innerText")
	if err != nil {
		return err.Error()
	}
	return text
}

// Status is the answer of the site to the page that is open.
func (p *Tab) Status() int {
	p.t.Helper()
	status, err := eval[int](p, "performance.getEntriesByType('navigation')[0].responseStatus")
	require.NoError(p.t, err)
	return status
}

// Text is what the first element that a selector of CSS finds says.
func (p *Tab) Text(selector string) string {
	p.t.Helper()
	text, err := ask[string](p, "words(document.querySelector(%s)?.textContent)", selector)
	require.NoError(p.t, err)
	require.NotEmpty(p.t, text, "%s says nothing: %s", selector, p.Words())
	return text
}

// Links are the addresses on this site to which links of the page lead, without
// those that begin a download.
func (p *Tab) Links() []string {
	p.t.Helper()
	links, err := eval[[]string](p, `[...new Set([...document.querySelectorAll('a[href]:not([download])')].filter((a) => a.origin === location.origin).map((a) => a.pathname + a.search))]`)
	require.NoError(p.t, err)
	return links
}

// Sees waits until the page shows all of texts.
func (p *Tab) Sees(texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		require.NoError(p.t, Eventually(patience, func() error {
			there, err := ask[bool](p, "words(document.body.innerText).toLowerCase().includes(words(%s).toLowerCase())", text)
			if err == nil && !there {
				err = fmt.Errorf("the page does not show %q: %s", text, p.Words())
			}
			return err
		}))
	}
}

// Misses makes sure that the page shows none of texts.
func (p *Tab) Misses(texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		require.NotContains(p.t, p.Words(), text)
	}
}

// Download presses what begins a download and returns the file.
func (p *Tab) Download(name string) []byte {
	p.t.Helper()
	at, err := ask[*place](p, "deed(%s)", name)
	require.NoError(p.t, err)
	require.NotNil(p.t, at, "there is nothing called %q to press: %s", name, p.Words())
	if p.keyboard {
		p.reach(name)
		require.NoError(p.t, chromedp.Do(p.ctx, chromedp.KeyEvent(kb.Enter)))
	} else {
		require.NoError(p.t, chromedp.Do(p.ctx, chromedp.MouseClickXY(at.X, at.Y)))
	}
	var content []byte
	require.NoError(p.t, Eventually(patience, func() error {
		files, err := filepath.Glob(filepath.Join(p.downloads, "*"))
		if err != nil || len(files) != 1 || filepath.Ext(files[0]) == ".crdownload" {
			return fmt.Errorf("the download has not ended: %v %w", files, err)
		}
		if content, err = os.ReadFile(files[0]); err != nil {
			return err
		}
		return os.Remove(files[0])
	}))
	return content
}

// Dress sets the window's width and the theme.
func (p *Tab) Dress(l Look) {
	p.t.Helper()
	_, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: l.theme()}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
	require.NoError(p.t, err)
	p.size(l.Width)
}

// size sets the window's width.
func (p *Tab) size(width int64) {
	p.t.Helper()
	_, err := chromedp.Call(p.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: width, Height: tall, DeviceScaleFactor: 1,
	})
	require.NoError(p.t, err)
}
