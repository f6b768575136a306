package cli

// pageSize is how many items of a listing are asked for at a time.
const pageSize = 1000

// pages follows a listing to its last page, or until there are limit items; 0 is no
// limit.
func pages[T any](limit int, page func(after string, n int) (items []T, next string, err error)) ([]T, error) {
	var all []T
	for after := ""; ; {
		n := pageSize
		if limit > 0 {
			n = min(limit-len(all), n)
		}
		items, next, err := page(after, n)
		if err != nil {
			return nil, err
		}
		all = append(all, items...)
		if next == "" || next == after || limit > 0 && len(all) >= limit {
			return all, nil
		}
		after = next
	}
}
