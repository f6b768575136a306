package ledger

import "testing"

func FuzzLedgerFile(f *testing.F) {
	f.Add([]byte(`{"version":1,"volumes":{"a":{"name":"v@ds","uses":{"m":{"count":1,"last":"2026-01-02T03:04:05Z"}}}}}`))
	f.Add([]byte(`{"version":1,"volumes":{"a":null}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := decode(data)
		if err != nil && all != nil {
			t.Fatal("a file that is refused has no content")
		}
		for id, v := range all {
			for mount, u := range v.Uses {
				if u.Count <= 0 {
					t.Fatalf("%s: %s has count %d", id, mount, u.Count)
				}
			}
		}
	})
}
