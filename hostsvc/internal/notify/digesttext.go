package notify

import (
	"cmp"
	"embed"
	htmltemplate "html/template"
	"strings"
	texttemplate "text/template"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// shownAlarms is how many alarms a digest lists.
const shownAlarms = 20

//go:embed templates
var templates embed.FS

var (
	words = map[string]any{"line": func(s string) string { return oneLine(s, 200) }, "size": size}
	plain = texttemplate.Must(texttemplate.New("digest.txt").Funcs(words).ParseFS(templates, "templates/digest.txt"))
	rich  = htmltemplate.Must(htmltemplate.New("digest.html").Funcs(words).ParseFS(templates, "templates/digest.html"))
)

// summary is what a digest says.
type summary struct {
	Product, URL, Group, Every string
	Dashboard                  wire.Dashboard
	now                        time.Time
}

// digestLetter is a digest as a mail.
func digestLetter(s summary) (l letter, err error) {
	title := "Daily summary"
	if s.Every == Weekly {
		title = "Weekly summary"
	}
	title += " of " + oneLine(cmp.Or(s.Group, "all tenants"), 60)
	l.subject = "[" + oneLine(s.Product, 60) + "] " + title
	var text, html strings.Builder
	if err := plain.Execute(&text, page{s, title}); err != nil {
		return l, errkind.Wrap(errkind.Internal, err, "write a digest")
	}
	if err := rich.Execute(&html, page{s, title}); err != nil {
		return l, errkind.Wrap(errkind.Internal, err, "write a digest")
	}
	l.text, l.html = text.String(), html.String()
	return l, nil
}

// page is a summary with what its templates ask for.
type page struct {
	summary
	Title string
}

// Runs are those of the time that the digest is about.
func (p page) Runs() wire.Runs {
	if p.Every == Weekly {
		return p.Dashboard.Week
	}
	return p.Dashboard.Day
}

// Span names that time.
func (p page) Span() string {
	if p.Every == Weekly {
		return "the last 7 days"
	}
	return "the last 24 hours"
}

// At is when the digest was made.
func (p page) At() string { return p.now.Format("2006-01-02 15:04 MST") }

// Alarms are the newest that stand.
func (p page) Alarms() []wire.Alarm {
	all := p.Dashboard.Alarms
	return all[max(0, len(all)-shownAlarms):]
}

// Unlisted counts those that are not among them.
func (p page) Unlisted() int { return p.Dashboard.AlarmCount - len(p.Alarms()) }

// When is a moment in the digest's zone.
func (p page) When(t time.Time) string { return t.In(p.now.Location()).Format("2006-01-02 15:04 MST") }

// Bound is how much may be stored, "" for as much as there is room.
func (p page) Bound() string {
	if s := p.Dashboard.Storage; s.Bounded {
		return size(s.Effective)
	}
	return ""
}

func size(n int64) string {
	return volspec.Size(n).Rounded()
}
