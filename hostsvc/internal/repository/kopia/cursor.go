package kopia

import (
	"iter"

	"mooring.dev/mooring/pkg/image"
)

// cursor answers in ascending order whether ranges meet any extent.
type cursor struct {
	next func() (image.Extent, error, bool)
	stop func()
	at   image.Extent
	done bool
}

func newCursor(e image.Extents) *cursor {
	next, stop := iter.Pull2(e)
	return &cursor{next: next, stop: stop}
}

// meets reports whether an extent has a byte in [start, end). start must not
// be smaller than before.
func (c *cursor) meets(start, end int64) (bool, error) {
	for !c.done && c.at.End() <= start {
		e, err, ok := c.next()
		if err != nil {
			return false, err
		}
		if !ok {
			c.done = true
			break
		}
		c.at = e
	}
	return !c.done && c.at.Offset < end, nil
}
