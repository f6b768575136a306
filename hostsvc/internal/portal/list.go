package portal

import "mooring.dev/mooring/pkg/hostclient"

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

// Long tells whether there is more than what the page shows: then it can be
// searched.
func (p part) Long() bool { return p.Words != "" || p.Next != "" || p.First }
