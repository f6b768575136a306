package harness

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

//go:embed access.js
var accessScript string

// Sizes of windows: of a desk, of the narrowest telephone, and of a sheet of A4.
const (
	wide   = 1280
	narrow = 360
	paper  = 720
	tall   = 900
)

// Look is one way in which a page can be seen.
type Look struct {
	Width int64
	Dark  bool
}

// Desk is how most people see a page.
var Desk = Look{Width: wide}

// all looks: the last one is what people go on in.
var looks = []Look{{narrow, false}, {narrow, true}, {wide, true}, Desk}

// String names it in the names of screenshots.
func (l Look) String() string { return fmt.Sprintf("%s-%d", l.theme(), l.Width) }

func (l Look) theme() string {
	if l.Dark {
		return "dark"
	}
	return "light"
}

// Look keeps pictures of the page in both themes, wide and narrow, and checks
// it: what axe finds, sideways scrolling, that the Tab key walks through all
// links and controls in the order of the page with a focus that shows, and what
// is left of it on paper. What is wrong fails the test, which goes on.
func (p *Tab) Look(name string) {
	p.t.Helper()
	for _, w := range p.look(name, looks) {
		assert.Fail(p.t, w, name)
	}
	for _, w := range p.print() {
		assert.Fail(p.t, w, name)
	}
}

// Glance is Look for a page that was looked at before in another state: in one
// way, and not on paper.
func (p *Tab) Glance(name string) {
	p.t.Helper()
	for _, w := range p.look(name, []Look{Desk}) {
		assert.Fail(p.t, w, name)
	}
}

// look is what is wrong with the page in these looks.
func (p *Tab) look(name string, looks []Look) (wrong []string) {
	p.t.Helper()
	_, err := eval[bool](p, "(() => { if (!window.mooring) {"+p.b.axe+";\n"+accessScript+"} return true })()")
	require.NoError(p.t, err)
	for _, l := range looks {
		p.Dress(l)
		var found []string
		if l.Dark == (l.Width == narrow) { // each theme and each width once
			found, err = eval[[]string](p, fmt.Sprintf("mooring.violations(%t)", l.Dark))
			require.NoError(p.t, err)
		}
		more, err := eval[int](p, "mooring.overflow()")
		require.NoError(p.t, err)
		if more > 0 {
			found = append(found, fmt.Sprintf("the page is %d pixels wider than the window", more))
		}
		if l == Desk {
			found = append(found, p.walk()...)
		}
		for _, f := range found {
			wrong = append(wrong, l.String()+": "+f)
		}
		p.picture(name + "-" + l.String())
	}
	return wrong
}

// picture keeps one of the whole page.
func (p *Tab) picture(name string) {
	p.t.Helper()
	r, err := chromedp.Call(p.ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{
		Format: page.CaptureScreenshotFormatPng, CaptureBeyondViewport: new(true), OptimizeForSpeed: new(true),
	})
	require.NoError(p.t, err)
	require.NoError(p.t, os.WriteFile(filepath.Join(p.b.Shots, name+".png"), r.Data, 0o644))
}

// mostParts is how many parts a field may have, such as those of a date, and
// mostWalks how often a page may be made anew while somebody walks through it.
const (
	mostParts = 8
	mostWalks = 5
)

// walk presses Tab through the whole page.
func (p *Tab) walk() []string {
	p.t.Helper()
	for range mostWalks {
		left, err := eval[int](p, "mooring.startWalk()")
		require.NoError(p.t, err)
		for presses := 0; left > 0 && presses < mostParts; presses++ {
			p.keys("\t", left)
			left, err = eval[int](p, "mooring.missing()")
			require.NoError(p.t, err)
		}
		if left < 0 {
			continue
		}
		wrong, err := eval[[]string](p, "mooring.walked()")
		require.NoError(p.t, err)
		return wrong
	}
	return []string{"the page is made anew all the time"}
}

// print is what is wrong with the page on paper.
func (p *Tab) print() (wrong []string) {
	p.t.Helper()
	_, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Media: "print", Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}},
	})
	require.NoError(p.t, err)
	p.size(paper)
	found, err := eval[[]string](p, "mooring.onPaper()")
	require.NoError(p.t, err)
	more, err := eval[int](p, "mooring.overflow()")
	require.NoError(p.t, err)
	if more > 0 {
		found = append(found, fmt.Sprintf("the page is %d pixels wider than the sheet", more))
	}
	for _, f := range found {
		wrong = append(wrong, "print: "+f)
	}
	p.Dress(Desk)
	return wrong
}
