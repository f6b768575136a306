package harness

import (
	"fmt"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

// mostPresses is how often somebody presses a key before giving up: more often
// than a page has links and controls.
const mostPresses = 200

// Keyboard takes the mouse away: from now on Press, Fill and Download find the
// way with Tab, and use Enter, Space and the arrows.
func (p *Tab) Keyboard() { p.keyboard = true }

// keys press a key several times. Of Tab, only going down does something.
func (p *Tab) keys(key string, times int) {
	p.t.Helper()
	for range times {
		if key != "\t" {
			require.NoError(p.t, chromedp.Do(p.ctx, chromedp.KeyEvent(key)))
			continue
		}
		_, err := chromedp.Call(p.ctx, input.DispatchKeyEvent, input.DispatchKeyEventParams{
			Type: kb.KeyRawDown, Key: "Tab", Code: "Tab", WindowsVirtualKeyCode: 9, NativeVirtualKeyCode: 9,
		})
		require.NoError(p.t, err)
	}
}

// reach presses Tab until the focus is on what was looked for last.
func (p *Tab) reach(name string) {
	p.t.Helper()
	p.until("\t", "aimed()", "the Tab key does not reach %q", name)
}

// until presses a key until an expression is true.
func (p *Tab) until(key, expression, otherwise, name string) {
	p.t.Helper()
	for range mostPresses {
		done, err := ask[bool](p, expression)
		require.NoError(p.t, err)
		if done {
			return
		}
		p.keys(key, 1)
	}
	require.Fail(p.t, fmt.Sprintf(otherwise, name), p.Words())
}

// handling is what gives a control its value, see aim in page.js.
type handling struct {
	Type, Space, Group bool
	Down               int
}

// write is FillIn by keyboard.
func (p *Tab) write(text, label, value string) {
	p.t.Helper()
	var how *handling
	require.NoError(p.t, Eventually(patience, func() (err error) {
		how, err = ask[*handling](p, "aim(%s, %s, %s)", label, value, text)
		if err == nil && how == nil {
			err = fmt.Errorf("there is no field %q that takes %q near %q: %s", label, value, text, p.Words())
		}
		return err
	}))
	p.reach(label)
	switch {
	case how.Type:
		require.NoError(p.t, chromedp.Do(p.ctx, chromedp.KeyEvent("a", chromedp.KeyModifiers(chromedp.ModifierCtrl))))
		_, err := chromedp.Call(p.ctx, input.InsertText, input.InsertTextParams{Text: value})
		require.NoError(p.t, err)
	case how.Group:
		p.keys(" ", 1) // chooses the one that Tab has reached
		p.until(kb.ArrowDown, "chosen()", "the arrows do not reach %q", label)
	case how.Space:
		p.keys(" ", 1)
	default:
		p.keys(kb.Home, 1)
		p.keys(kb.ArrowDown, how.Down)
	}
}
