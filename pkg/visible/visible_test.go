package visible_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"mooring.dev/mooring/pkg/visible"
)

func TestHidden(t *testing.T) {
	for r, want := range map[rune]bool{
		'\n': true, '\x00': true, '\x1b': true, '\x7f': true, '\u009b': true, '\u00ad': true, '\u061c': true, '\u200b': true, '\u200d': true, '\u200f': true,
		'\u2028': true, '\u202e': true, '\u2060': true, '\u2066': true, '\ufeff': true, '\U000e0041': true,
		' ': false, 'a': false, 'ß': false, '名': false, 'ש': false, '😀': false, '\u0301': false, '\u3000': false, '\ufffd': false,
	} {
		assert.Equal(t, want, visible.Hidden(r), "%q", r)
		assert.Equal(t, want && r != '\u200d', visible.HiddenInText(r), "%q", r)
	}
}

func TestTextKeepsItsLines(t *testing.T) {
	assert.Equal(t, "volume a\\x1b[31m\\u202e\nis \"gone\": größer", visible.Text("volume a\x1b[31m\u202e\nis \"gone\": größer"))
	assert.Equal(t, `a\U000e0041\t`, visible.Text("a\U000e0041\t"))
}

// JSON keeps its value, and nothing in it is hidden but its own line ends.
func TestJSONIsTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.OneOf(rapid.String(), rapid.StringOf(rapid.RuneFrom([]rune("a\"\\\x7f\u009b\u202e\u200d\u2028\U000e0041😀")))).Draw(t, "text")
		text, err := json.MarshalIndent(map[string]string{"name": want}, "", "  ")
		require.NoError(t, err)
		out := visible.JSON(text)
		assert.False(t, strings.ContainsFunc(string(out), func(r rune) bool { return r != '\n' && visible.Hidden(r) }), "%q", out)
		var have map[string]string
		require.NoError(t, json.Unmarshal(out, &have), "%s", out)
		assert.Equal(t, want, have["name"])
	})
}
