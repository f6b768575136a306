package image

// Joiner puts extents together that touch or overlap. They come in the order of
// their offsets.
type Joiner struct {
	yield   func(Extent, error) bool
	pending Extent
}

// NewJoiner hands what it puts together to yield.
func NewJoiner(yield func(Extent, error) bool) *Joiner { return &Joiner{yield: yield} }

// Add takes the next one; false when nobody wants more.
func (j *Joiner) Add(e Extent) bool {
	if j.pending.Length > 0 && e.Offset <= j.pending.End() {
		j.pending.Length = max(j.pending.End(), e.End()) - j.pending.Offset
		return true
	}
	if j.pending.Length > 0 && !j.yield(j.pending, nil) {
		return false
	}
	j.pending = e
	return true
}

// Flush hands out the last one.
func (j *Joiner) Flush() {
	if j.pending.Length > 0 {
		j.yield(j.pending, nil)
	}
}
