package isolation

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What proves where a form comes from is left out, and so is what would lock
// out the users of the check.
func TestWhatOfAFormIsSent(t *testing.T) {
	forms, links, err := read(`<a href="/jobs#top">Jobs</a><a href="https://elsewhere.example/">Elsewhere</a>
<form method="post" action="/settings/security"><input type="hidden" name="csrf" value="x"><input type="hidden" name="once" value="y">
<input type="checkbox" name="content_refused" value="on"><input type="checkbox" name="factor_required" value="on" checked></form>`)
	require.NoError(t, err)
	assert.Equal(t, []string{"/jobs"}, links)
	require.Len(t, forms, 1)
	assert.Equal(t, []string{"content_refused"}, forms[0].names())
	assert.Equal(t, ask{method: "POST", target: "/settings/security", body: "content_refused=word"}, forms[0].ask([]string{"content_refused"}, "word"))
	assert.Empty(t, forms[0].ask(nil, "word").body, "a box that is not ticked")
}
