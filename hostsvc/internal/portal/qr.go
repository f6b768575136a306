package portal

import (
	"fmt"
	"strings"

	"rsc.io/qr"

	"mooring.dev/mooring/pkg/errkind"
)

// qrCode is a code that cameras read, as the path of an SVG.
type qrCode struct {
	Side int // of the field, with its quiet margin
	Path string
}

// quiet is the margin around a code that cameras need.
const quiet = 4

func qrOf(text string) (qrCode, error) {
	c, err := qr.Encode(text, qr.M)
	if err != nil {
		return qrCode{}, errkind.Wrap(errkind.Internal, err, "code of %d characters for cameras", len(text))
	}
	var b strings.Builder
	for y := range c.Size {
		for x := 0; x < c.Size; x++ {
			from := x
			for x < c.Size && c.Black(x, y) {
				x++
			}
			if x > from {
				fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", from+quiet, y+quiet, x-from, x-from)
			}
		}
	}
	return qrCode{c.Size + 2*quiet, b.String()}, nil
}
