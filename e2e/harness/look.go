package harness

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

//go:embed access.js
var accessScript string

// Sizes of windows: of a desk, and of the narrowest telephone.
const (
	wide   = 1280
	narrow = 360
	tall   = 900
)

// Look is one way in which a page can be seen.
type Look struct {
	Width int64
	Dark  bool
}

// String names it in the names of screenshots.
func (l Look) String() string {
	theme := "light"
	if l.Dark {
		theme = "dark"
	}
	return fmt.Sprintf("%d-%s", l.Width, theme)
}

// Look keeps pictures of the page in both themes, wide and narrow, and checks
// each: what axe finds, sideways scrolling, and that the Tab key walks through
// all links and controls in the order of the page with a focus that shows. What
// is wrong fails the test, which goes on.
func (p *Tab) Look(name string) {
	p.t.Helper()
	for _, w := range p.look(name) {
		assert.Fail(p.t, w, name)
	}
}

// look is what Look found wrong.
func (p *Tab) look(name string) (wrong []string) {
	p.t.Helper()
	for _, l := range []Look{{narrow, false}, {narrow, true}, {wide, true}, {wide, false}} {
		p.Dress(l)
		var found []string
		var err error
		if l.Width == wide || !l.Dark { // the colours are the same at both widths
			found, err = eval[[]string](p, "(async () => {"+p.b.axe+";\n"+accessScript+"return await violations()})()")
			require.NoError(p.t, err)
		}
		more, err := eval[int](p, "(() => {"+accessScript+"return overflow()})()")
		require.NoError(p.t, err)
		if more > 0 {
			found = append(found, fmt.Sprintf("the page is %d pixels wider than the window", more))
		}
		if l == (Look{Width: wide}) {
			found = append(found, p.walk()...)
		}
		for _, f := range found {
			wrong = append(wrong, l.String()+": "+f)
		}
		picture, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
		require.NoError(p.t, err)
		require.NoError(p.t, os.WriteFile(filepath.Join(p.b.Shots, name+"-"+l.String()+".png"), picture, 0o644))
	}
	return wrong
}

// most is how many stops of the Tab key are looked at on a page, and mostParts
// how many parts a field may have, such as those of a date.
const (
	most      = 80
	mostParts = 8
)

// again is what access.js says as long as a field has parts left.
const again = "again"

// walk presses Tab through the page until it leads astray.
func (p *Tab) walk() []string {
	p.t.Helper()
	stops, err := eval[int](p, "(() => {"+accessScript+"return startWalk()})()")
	require.NoError(p.t, err)
	for i := range min(stops, most) {
		wrong := again
		for presses := 0; wrong == again && presses < mostParts; presses++ {
			require.NoError(p.t, chromedp.Do(p.ctx, chromedp.KeyEvent("\t")))
			wrong, err = eval[string](p, fmt.Sprintf("(() => {%s return focused(%d)})()", accessScript, i))
			require.NoError(p.t, err)
		}
		if wrong != "" {
			return []string{wrong}
		}
	}
	_, err = eval[bool](p, "(document.activeElement?.blur(), window.scrollTo(0, 0), true)")
	require.NoError(p.t, err)
	return nil
}
