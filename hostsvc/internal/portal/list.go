package portal

import (
	"slices"
	"strings"

	"mooring.dev/mooring/pkg/hostclient"
)

// rowsOnPage is how much of a list one page shows.
const rowsOnPage = 100

// part is what a page says of the part of a list that it shows, see the template
// with this name.
type part struct {
	Words, Next string
	First       bool // it is not the first one
	Shown       int
}

// listQuery reads which part of a list is asked for.
func (q *request) listQuery() hostclient.ListQuery {
	return hostclient.ListQuery{Words: q.text("q"), After: q.text("after"), Limit: rowsOnPage}
}

func partOf[T any](q *request, l hostclient.List[T]) part {
	return part{Words: q.text("q"), Next: l.Next, First: q.text("after") != "", Shown: len(l.Rows)}
}

// pageOf is what a page shows of rows that were put together here, in the order
// of their keys, which tell each from all others.
func pageOf[T any](q *request, all []T, key func(T) string) ([]T, part) {
	slices.SortFunc(all, func(a, b T) int { return strings.Compare(key(a), key(b)) })
	after := q.text("after")
	rest := all[:0:0]
	for _, row := range all {
		if key(row) > after {
			rest = append(rest, row)
		}
	}
	p := part{First: after != ""}
	if len(rest) > rowsOnPage {
		rest = rest[:rowsOnPage]
		p.Next = key(rest[rowsOnPage-1])
	}
	p.Shown = len(rest)
	return rest, p
}

// rowsOnCard is how much of a list a card beside others shows.
const rowsOnCard = 20

// firstOf is what a card shows of a list, and how many more there are.
func firstOf[T any](all []T) ([]T, int) {
	n := min(len(all), rowsOnCard)
	return all[:n], len(all) - n
}

// Long tells whether there is more than what the page shows: then it can be
// searched.
func (p part) Long() bool { return p.Words != "" || p.Next != "" || p.First }
