package portal

import (
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
	"unicode"
)

// attachment is the header that has a browser keep a download under a name,
// which somebody else chose.
func attachment(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || strings.ContainsRune(`/\`, r) {
			return '_'
		}
		return r
	}, name)
	if name == "" {
		name = "download"
	}
	if v := mime.FormatMediaType("attachment", map[string]string{"filename": name}); v != "" {
		return v
	}
	return "attachment"
}

// send ends a request by a file that the browser keeps under a name, and closes
// what it is read from. It is never shown as a page: who made the content is not
// known.
func (q *request) send(name string, content io.ReadCloser) error {
	defer func() { _ = content.Close() }() // read to its end or given up
	h := q.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", attachment(name))
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	if _, err := io.Copy(keepWriting(q.w), content); err != nil {
		panic(http.ErrAbortHandler) // a part is not taken for the whole
	}
	return nil
}

// keepWriting gives the other side time for each piece that it takes, and not
// for the whole.
func keepWriting(w http.ResponseWriter) io.Writer {
	return patientWriter{w, http.NewResponseController(w)}
}

type patientWriter struct {
	w  io.Writer
	rc *http.ResponseController
}

func (p patientWriter) Write(b []byte) (int, error) {
	_ = p.rc.SetWriteDeadline(time.Now().Add(30 * time.Second)) // fails only where there is no connection
	return p.w.Write(b)
}
