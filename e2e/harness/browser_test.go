package harness

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const soundPage = `<!doctype html><html lang="en"><head><title>Sound</title><style>
body { color: #111; background: #fff } @media screen and (prefers-color-scheme: dark) { body { color: #eee; background: #111 } a { color: #9cf } }
:focus-visible { outline: 3px solid #48f } @media print { button, input, select { display: none } }</style></head><body><a href="#main">Skip</a><main id="main"><h1>Sound</h1>
<form method="post"><label for="a">Name</label><input id="a" name="name"><label for="b">Kind</label><select id="b" name="kind"><option>red</option>
<option value="g">green</option></select><label>Day <input type="date" name="day"></label><label><input type="checkbox" name="on">Switch</label><button>Send</button></form>
<ul><li>first <a href="/file" download="f">Get</a></li><li>second <a href="/second">Go</a></li></ul></main></body></html>`

// The browser finds its way by words, and sees what is wrong with a page.
func TestBrowser(t *testing.T) {
	pages := map[string]string{
		"/":       soundPage,
		"/second": "<!doctype html><html lang=en><title>Second</title><main><h1>Second</h1></main></html>",
		"/faint":  strings.Replace(soundPage, "background: #111", "background: #ccc", 1),
		"/mute":   strings.Replace(soundPage, `<label for="a">Name</label>`, "", 1),
		"/broad":  strings.Replace(soundPage, "<h1>", `<h1 style="width: 500px">`, 1),
		"/blind":  strings.Replace(soundPage, "outline: 3px solid #48f", "outline: none", 1),
		"/lost":   strings.Replace(soundPage, `<a href="#main">Skip</a>`, "", 1),
		"/toner":  strings.Replace(soundPage, "screen and ", "", 1),
		"/ink":    strings.Replace(soundPage, "button, input, select", "input", 1),
		"/astray": strings.Replace(soundPage, `<select id="b"`, `<select id="b" tabindex="5"`, 1),
	}
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost:
			fmt.Fprintf(w, "<!doctype html><p>%s %s %s", r.FormValue("name"), r.FormValue("kind"), r.FormValue("on"))
		case r.URL.Path == "/file":
			fmt.Fprint(w, "content")
		default:
			fmt.Fprint(w, pages[r.URL.Path])
		}
	}))
	defer srv.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600))
	root, err := moduleRoot()
	require.NoError(t, err)
	l := &Lab{Dir: t.TempDir(), Bin: Binaries{Root: root}}
	b := l.Browser(t, ca)
	b.Shots = t.TempDir()
	p := b.Tab(t, srv.URL)

	p.Open("/")
	p.Sees("Sound")
	require.Equal(t, "content", string(p.Download("Get")))
	p.PressIn("second", "Go")
	p.Sees("Second")
	for range 2 { // with the mouse, then by keyboard
		p.Open("/")
		p.Fill("Name", "somebody")
		p.Fill("Kind", "green")
		p.Fill("Switch", "true")
		p.Press("Send")
		p.Sees("somebody g on")
		p.Keyboard()
	}
	p.Open("/")
	require.Equal(t, "content", string(p.Download("Get")))

	for path, want := range map[string]string{
		"/": "", "/faint": "color-contrast", "/mute": "label", "/broad": "wider than the window", "/blind": "the focus does not show", "/astray": "Tab reaches",
		"/lost": "does not skip to the content", "/ink": "is printed", "/toner": "printed in a light colour",
	} {
		p.Open(path)
		require.Equal(t, http.StatusOK, p.Status())
		wrong := strings.Join(append(p.look("page", looks), p.print()...), "\n")
		if want == "" {
			assert.Empty(t, wrong)
		} else {
			assert.Contains(t, wrong, want, path)
		}
	}
	shots, err := os.ReadDir(b.Shots)
	require.NoError(t, err)
	require.Len(t, shots, 4)
}
