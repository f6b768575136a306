package notify_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/notify"
)

// Every text that a person gets.
func TestTexts(t *testing.T) {
	var b strings.Builder
	show := func(events ...notify.Event) {
		b.WriteString("Subject: " + notify.Subject("mooring", events) + "\n\n" + notify.Body(events, "mooringd on host1. Standing alarms are listed by: mooring alarm ls") + "\n========================================\n\n")
	}
	for _, k := range append(notify.Kinds, notify.Lost) {
		e := failed()
		e.Kind = k
		show(e)
	}
	again := failed()
	again.Again, again.Request = at.Add(-48*time.Hour), ""
	ended := failed()
	ended.Kind, ended.Severity, ended.Again = notify.JobRecovered, notify.Info, at.Add(-48*time.Hour)
	show(again)
	show(again, ended, notify.Event{ID: "x", Time: at, Kind: notify.Test, Severity: notify.Info, Sentence: "This is a test. Notifications of Mooring arrive here."})
	show(notify.Event{ID: "x", Time: at, Kind: "new\r\nkind", Object: strings.Repeat("o", 300), Severity: "?", Sentence: "a\x1b[31mb\r\nc"})

	path := "testdata/texts.golden"
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(want), b.String())
	for _, k := range append(notify.Kinds, notify.Lost) {
		if k != notify.Test {
			assert.NotEqual(t, "[mooring] "+string(k), notify.Subject("mooring", []notify.Event{{Kind: k}}), "%s has words of its own", k)
		}
	}
}
