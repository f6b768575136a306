package tenancy_test

import (
	"bytes"
	"encoding/base64"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

// picture is a PNG; one that is noisy hardly becomes smaller.
func picture(t *testing.T, width, height int, noisy bool) []byte {
	t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, width, height))
	if noisy {
		r := rand.New(rand.NewPCG(1, 2))
		for i := range width * height {
			m.Set(i%width, i/width, color.NRGBA{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), 255})
		}
	}
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, m))
	return b.Bytes()
}

func TestLogo(t *testing.T) {
	small, large := picture(t, 64, 64, false), picture(t, 256, 256, true)
	require.Greater(t, len(large), 64<<10)
	const prefix = "data:image/png;base64,"
	as := func(b []byte) string { return prefix + base64.StdEncoding.EncodeToString(b) }
	for name, tc := range map[string]struct{ logo, wrong string }{
		"none":              {"", ""},
		"small":             {as(small), ""},
		"as wide as can be": {as(picture(t, 2048, 1, false)), ""},
		"too wide":          {as(picture(t, 2049, 1, false)), "the logo has 2049 x 1 points"},
		"too high":          {as(picture(t, 1, 2049, false)), "the logo has 1 x 2049 points"},
		"too much":          {as(large), "the logo has "},
		"cut off":           {as(small[:len(small)/2]), "the logo cannot be read"},
		"nothing":           {prefix, "the logo cannot be read"},
		"not a picture":     {as([]byte("<script>alert(1)</script>")), "the logo cannot be read"},
		"svg":               {"data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString([]byte("<svg/>")), "the logo is not a PNG in a data: URL"},
		"not base64":        {prefix + "%%%", "the logo is not a PNG in a data: URL"},
		"an address":        {"https://example.org/logo.png", "the logo is not a PNG in a data: URL"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			_, err := w.PutSettings(t.Context(), root, wire.Settings{Logo: tc.logo})
			if tc.wrong != "" {
				refused(t, err, errkind.Invalid, tc.wrong)
				return
			}
			require.NoError(t, err)
			v, err := w.Settings(t.Context())
			require.NoError(t, err)
			assert.Equal(t, tc.logo, v.Logo)
		})
	}
}
