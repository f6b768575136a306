package notify

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// titles are what a kind is called in a subject.
var titles = map[Kind]string{
	JobFailed:            "job failed",
	JobRecovered:         "job works again",
	RPOMissed:            "no recent recovery point",
	RPORecovered:         "recent recovery point again",
	RepositoryOffline:    "repository is away",
	RepositoryRecovered:  "repository is back",
	DrillFailed:          "trial restore failed",
	DrillRecovered:       "trial restore works again",
	PointDamaged:         "recovery point is damaged",
	PointHealed:          "recovery point is whole again",
	VerifyFailed:         "verification failed",
	Quota:                "quota is reached",
	BackupQuota:          "backup quota is reached",
	BackupQuotaRecovered: "room below the backup quota again",
	TransporterOffline:   "no transporter is online",
	TransporterRecovered: "no job waits for a transporter",
	Test:                 "test",
	Lost:                 "notifications were lost",
}

func title(k Kind) string {
	if t, ok := titles[k]; ok {
		return t
	}
	return oneLine(string(k), 60)
}

// headline is one event in a few words: shop: job failed: db@fast.
func headline(e Event) string {
	var parts []string
	if e.Group != "" {
		parts = append(parts, oneLine(e.Group, 60))
	}
	text := title(e.Kind)
	if !e.Again.IsZero() && raises[e.Kind] {
		text = "still: " + text
	}
	parts = append(parts, text)
	if e.Object != "" {
		parts = append(parts, oneLine(e.Object, 80))
	}
	return strings.Join(parts, ": ")
}

// subject is the line that a list of mails shows.
func subject(product string, events []Event) string {
	product = "[" + oneLine(product, 60) + "] "
	if len(events) == 1 {
		return product + headline(events[0])
	}
	wrong := 0
	for _, e := range events {
		if e.Severity == Error {
			wrong++
		}
	}
	return product + fmt.Sprintf("%d notifications (errors: %d): %s, …", len(events), wrong, headline(events[0]))
}

// body is the text of a mail about events; foot is its last line.
func body(events []Event, foot string) string {
	var b strings.Builder
	for i, e := range events {
		if i > 0 {
			b.WriteString("\n----------------------------------------\n\n")
		}
		fmt.Fprintf(&b, "%s\n\n%s\n\n", headline(e), multiLine(e.Sentence, 4000))
		row := func(name, value string) {
			if value != "" {
				fmt.Fprintf(&b, "%-10s%s\n", name+":", value)
			}
		}
		row("vmgroup", oneLine(e.Group, 100))
		row("object", oneLine(e.Object, 200))
		row("event", fmt.Sprintf("%s (%s)", oneLine(string(e.Kind), 60), oneLine(string(e.Severity), 20)))
		row("time", stamp(e.Time))
		row("since", stamp(e.Again))
		row("request", oneLine(e.Request, 40))
	}
	fmt.Fprintf(&b, "\n-- \n%s\n", oneLine(foot, 200))
	return b.String()
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// oneLine is a foreign word without what would break its line, and not too
// long.
func oneLine(s string, most int) string {
	return clip(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s), most)
}

// multiLine keeps line ends.
func multiLine(s string, most int) string {
	return clip(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) && r != '\n' {
			return unicode.ReplacementChar
		}
		return r
	}, s), most)
}

func clip(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
