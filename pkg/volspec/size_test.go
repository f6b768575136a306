package volspec

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"mooring.dev/mooring/pkg/errkind"
)

func TestParseSize(t *testing.T) {
	for in, want := range map[string]Size{
		"1b": 1, "1048576b": MiB, "1k": KiB, "1KB": KiB, "1KiB": KiB, "100mb": 100 * MiB, "100m": 100 * MiB, "512MiB": 512 * MiB,
		"10gb": 10 * GiB, "10g": 10 * GiB, "10GiB": 10 * GiB, "10GIB": 10 * GiB, "1T": TiB, "2tb": 2 * TiB, "3TiB": 3 * TiB,
		"1p": PiB, "64pib": MaxSize, "007mb": 7 * MiB,
	} {
		got, err := ParseSize(in)
		require.NoError(t, err, in)
		assert.Equal(t, want, got, in)
	}
}

func TestSizeWords(t *testing.T) {
	for s, want := range map[Size][4]string{
		0:                       {"0 B", "0b", "Unset", "0B"},
		1:                       {"1 B", "1b", "1.00B", "1B"},
		1000:                    {"1000 B", "1000b", "1000.00B", "1000B"},
		KiB:                     {"1 KiB", "1kb", "1.00KB", "1KB"},
		1536 * MiB:              {"1536 MiB", "1536mb", "1.50GB", "1GB"},
		500 * MiB:               {"500 MiB", "500mb", "500.00MB", "500MB"},
		1023 * MiB:              {"1023 MiB", "1023mb", "1023.00MB", "1023MB"},
		GiB:                     {"1 GiB", "1gb", "1.00GB", "1GB"},
		GiB - 1:                 {"1073741823 B", "1073741823b", "1024.00MB", "1023MB"},
		10 * GiB:                {"10 GiB", "10gb", "10.00GB", "10GB"},
		2 * TiB:                 {"2 TiB", "2tb", "2.00TB", "2TB"},
		3 * PiB:                 {"3072 TiB", "3072tb", "3072.00TB", "3072TB"},
		100*MiB + 512*KiB + 512: {"105382400 B", "105382400b", "100.50MB", "100MB"},
	} {
		assert.Equal(t, want, [4]string{s.String(), s.Option(), s.Table(), s.Short()})
	}
}

func TestSizeRounded(t *testing.T) {
	for s, want := range map[Size]string{
		0: "0 B", 1000: "1000 B", KiB: "1 KiB", 1536 * MiB: "1.5 GiB", 286*MiB + 700*KiB: "287 MiB", 99*GiB + 900*MiB: "99.9 GiB", 5000 * PiB: "5000 PiB",
	} {
		assert.Equal(t, want, s.Rounded())
	}
}

// Exact bytes are kept on every way out and back in.
func TestSizeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Size(rapid.Int64Range(1, int64(MaxSize)).Draw(t, "bytes"))
		if rapid.Bool().Draw(t, "round") {
			unit := rapid.SampledFrom([]Size{KiB, MiB, GiB, TiB}).Draw(t, "unit")
			s = max(s/unit, 1) * unit
		}
		for _, text := range []string{s.Option(), strings.ReplaceAll(s.String(), " ", ""), strings.ToUpper(s.Option())} {
			got, err := ParseSize(text)
			if err != nil || got != s {
				t.Fatalf("%d → %q → %d, %v", s, text, got, err)
			}
		}
	})
}

func TestSizeInJSON(t *testing.T) {
	for _, s := range []Size{0, 1, 1536 * MiB, MaxSize} {
		b, err := json.Marshal(s)
		require.NoError(t, err)
		var got Size
		require.NoError(t, json.Unmarshal(b, &got))
		assert.Equal(t, s, got)
	}
	got := 5 * GiB
	for _, bad := range []string{`"0"`, `"x"`, `""`, `"0gb"`, `"-1b"`} {
		require.Error(t, json.Unmarshal([]byte(bad), &got), bad)
	}
	assert.Equal(t, 5*GiB, got, "a refused text changes nothing")
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"100mb", "10GiB", "0b", "1", "-1gb", "9223372036854775807b", "1e3mb", " 1mb", "1 mb", "٣mb", strings.Repeat("0", 1000) + "1mb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		s, err := ParseSize(in)
		if err != nil {
			checkRefusal(t, err)
			return
		}
		if s <= 0 || s > MaxSize {
			t.Fatalf("%q is %d", in, s)
		}
		if again, err := ParseSize(s.Option()); err != nil || again != s {
			t.Fatalf("%q → %d → %q → %d, %v", in, s, s.Option(), again, err)
		}
	})
}

// checkRefusal holds for every refused input: its kind is invalid, and its
// sentence stays one a person can read, however long the input.
func checkRefusal(t interface {
	Helper()
	Fatalf(string, ...any)
}, err error,
) {
	t.Helper()
	text := errkind.Text(err)
	if errkind.Of(err) != errkind.Invalid {
		t.Fatalf("kind %s: %s", errkind.Of(err), text)
	}
	if len(text) > 12000 {
		t.Fatalf("sentence of %d bytes: %.200s…", len(text), text)
	}
	if strings.ContainsAny(text, "\x00\x07\x1b\n\r") {
		t.Fatalf("control characters in %q", text)
	}
}
