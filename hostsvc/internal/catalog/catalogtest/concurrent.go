package catalogtest

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// exactLimit: 200 parallel "count, then insert" against a limit of 100 give
// exactly 100, through one handle and through two.
func exactLimit(t *testing.T, b Backend) {
	const asked, limit = 200, 100
	one := func(t *testing.T) []Catalog { return []Catalog{open(t, b)} }
	two := func(t *testing.T) []Catalog {
		c := open(t, b)
		return []Catalog{c, b.Again(t, c)}
	}
	for name, handles := range map[string]func(*testing.T) []Catalog{"one handle": one, "two handles": two} {
		t.Run(name, func(t *testing.T) {
			cs := handles(t)
			var wg sync.WaitGroup
			var granted, refused atomic.Int64
			for n := range asked {
				wg.Go(func() {
					err := cs[n%len(cs)].Volumes().Update(t.Context(), func(tx volume.Tx) error {
						u, err := tx.Usage(groupA, "ds")
						if err != nil {
							return err
						}
						if u.Bytes+volspec.MiB > limit*volspec.MiB {
							return errkind.New(errkind.Quota, "full")
						}
						// Named by what was counted: two that overlap collide.
						runtime.Gosched()
						r := record(n, groupA, "ds", fmt.Sprint(u.Volumes))
						r.Size = volspec.MiB
						return tx.PutVolume(r)
					})
					switch {
					case err == nil:
						granted.Add(1)
					case errkind.Is(err, errkind.Quota):
						refused.Add(1)
					default:
						t.Error(err)
					}
				})
			}
			wg.Wait()
			assert.EqualValues(t, limit, granted.Load())
			assert.EqualValues(t, asked-limit, refused.Load())
			view(t, cs[0], func(tx volume.Tx) error {
				u, err := tx.Usage(groupA, "ds")
				assert.Equal(t, volspec.Usage{Volumes: limit, Bytes: limit * volspec.MiB}, u)
				return err
			})
		})
	}
}

// isolation: while writers move bytes between two volumes, every View sees
// the same total, in queries made one after the other.
func isolation(t *testing.T, b Backend) {
	c := open(t, b)
	const total = 1000 * volspec.MiB
	x, y := record(1000, groupA, "ds", "x"), record(0, groupA, "ds", "y")
	volumes(t, c, func(tx volume.Tx) error {
		require.NoError(t, tx.PutVolume(x))
		return tx.PutVolume(y)
	})
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		defer close(done)
		for range 150 {
			err := c.Volumes().Update(t.Context(), func(tx volume.Tx) error {
				a, err := tx.Volume(x.ID)
				if err != nil {
					return err
				}
				z, err := tx.Volume(y.ID)
				if err != nil {
					return err
				}
				a.Size, z.Size = a.Size-volspec.MiB, z.Size+volspec.MiB
				if err := tx.PutVolume(a); err != nil {
					return err
				}
				return tx.PutVolume(z)
			})
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	var views atomic.Int64
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				err := c.Volumes().View(t.Context(), func(tx volume.Tx) error {
					a, err := tx.Volume(x.ID)
					if err != nil {
						return err
					}
					runtime.Gosched()
					z, err := tx.Volume(y.ID)
					if err != nil {
						return err
					}
					if a.Size+z.Size != total {
						return fmt.Errorf("a View saw half an Update: %s and %s", a.Size, z.Size)
					}
					return nil
				})
				if err != nil {
					t.Error(err)
					return
				}
				views.Add(1)
			}
		})
	}
	wg.Wait()
	assert.Positive(t, views.Load(), "views go on while Updates are made")
	view(t, c, func(tx volume.Tx) error {
		z, err := tx.Volume(y.ID)
		assert.Equal(t, 150*volspec.MiB, z.Size)
		return err
	})
}
