package catalog_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/volspec"
)

// writerEnv makes this test program a writer on the catalog it names.
const writerEnv = "CATALOG_TEST_WRITER"

const batch = 10

// writer adds volumes, batch in one transaction, and says on its output
// which transactions are committed, until it is killed.
func writer() int {
	path, first, _ := strings.Cut(os.Getenv(writerEnv), "|")
	fail := func(err error) int { fmt.Fprintln(os.Stderr, err); return 1 }
	c, err := catalog.Open(context.Background(), catalog.Options{Driver: catalog.SQLite, Path: path})
	if err != nil {
		return fail(err)
	}
	n, err := strconv.Atoi(first)
	if err != nil {
		return fail(err)
	}
	for ; ; n++ {
		err := c.Volumes().Update(context.Background(), func(tx volume.Tx) error {
			for i := range batch {
				name := fmt.Sprintf("v%06d-%d", n, i)
				r := volume.Record{ID: volspec.VolumeID(name), Key: volume.Key{Group: "g", Datastore: "ds", Name: name}, State: volspec.Ready}
				if err := tx.PutVolume(r); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fail(err)
		}
		fmt.Println(n)
	}
}

// A writer killed in the middle leaves what it committed, all of it, and
// nothing else.
func TestKilledWriter(t *testing.T) {
	o := sqliteOptions(t)
	c, err := catalog.Open(t.Context(), o)
	require.NoError(t, err)
	require.NoError(t, c.Tenancy().Update(t.Context(), func(tx tenancy.Tx) error {
		return tx.PutGroup(volspec.VMGroup{ID: "g", Name: "g"})
	}))
	require.NoError(t, c.Close())
	next := 0
	for round := range 5 {
		next = killWriter(t, o.Path, next)
		c, err := catalog.Open(t.Context(), o)
		require.NoError(t, err)
		require.NoError(t, c.Check(t.Context()))
		var all []volume.Record
		require.NoError(t, c.Volumes().View(t.Context(), func(tx volume.Tx) (err error) {
			all, err = tx.Volumes(volume.Filter{})
			return err
		}))
		assert.Zero(t, len(all)%batch, "round %d: no half of a transaction", round)
		assert.GreaterOrEqual(t, len(all), next*batch, "round %d: nothing acknowledged is lost", round)
		next = len(all) / batch
		require.NoError(t, c.Close())
	}
	assert.Positive(t, next)
}

// killWriter lets a writer commit a few transactions and kills it; the result
// is the number of the first that it did not acknowledge.
func killWriter(t *testing.T, path string, first int) (next int) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%d", writerEnv, path, first))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	stop := 2 + rand.IntN(6)
	for next = first; lines.Scan(); {
		n, err := strconv.Atoi(lines.Text())
		require.NoError(t, err)
		next = n + 1
		if stop--; stop == 0 {
			time.Sleep(time.Duration(rand.IntN(8000)) * time.Microsecond)
			require.NoError(t, cmd.Process.Kill())
		}
	}
	require.ErrorContains(t, cmd.Wait(), "killed")
	return next
}
