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
