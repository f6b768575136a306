package volume

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

func sample() Record {
	uid := 7
	return Record{
		ID: "a0000000-0000-4000-8000-000000000001", Key: Key{Group: "g", Datastore: "fast", Name: "db@home ü"},
		State: volspec.Ready, Format: volspec.Formatted, Size: volspec.GiB, FSUUID: "u", CloneFrom: "src", CreatedBy: "vm1",
		Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Holder: Holder{Epoch: 7},
		Spec: volspec.Spec{Size: volspec.GiB, FSType: volspec.XFS, CloneFrom: "src", UID: &uid, MountOpts: []string{"noatime"}}.Defaulted(),
	}
}

func TestMetadataRoundTrip(t *testing.T) {
	data, err := encodeMeta(sample(), "dev", []Snapshot{{ID: "s1", Name: "before", Size: 5}})
	require.NoError(t, err)
	m, err := decodeMeta(data)
	require.NoError(t, err)
	assert.Equal(t, sample().Spec, m.Spec)
	assert.Equal(t, sample().Key.Name, m.Name)
	assert.Equal(t, []metaSnapshot{{ID: "s1", Name: "before", Size: 5}}, m.Snapshots)
}

func TestDamagedMetadataIsCorrupt(t *testing.T) {
	for _, bad := range []string{
		``, `{`, `[]`, `null`, `{"version":2,"id":"x"}`, `{"version":1}`,
		`{"version":1,"id":"x","vmgroup_id":"g","vmgroup":"dev","name":"../x","state":"ready","size":1,"spec":{}}`,
		`{"version":1,"id":"x","vmgroup_id":"g","vmgroup":"*","name":"x","state":"ready","size":1,"spec":{}}`,
		`{"version":1,"id":"x","vmgroup_id":"g","vmgroup":"dev","name":"x","state":"creating","size":1,"spec":{}}`,
		`{"version":1,"id":"x","vmgroup_id":"g","vmgroup":"dev","name":"x","state":"ready","size":-1,"spec":{}}`,
		`{"version":1,"id":"x","vmgroup_id":"g","vmgroup":"dev","name":"x","state":"ready","size":1,"spec":{"mountopts":["loop"]}}`,
	} {
		_, err := decodeMeta([]byte(bad))
		assert.Equal(t, errkind.Corrupt, errkind.Of(err), "%s: %v", bad, err)
	}
}

// FuzzMetadata: whatever lies beside a disk is refused or safe to believe.
func FuzzMetadata(f *testing.F) {
	good, err := encodeMeta(sample(), "dev", nil)
	require.NoError(f, err)
	f.Add(good)
	f.Add([]byte(`{"version":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decodeMeta(data)
		if err != nil {
			require.Equal(t, errkind.Corrupt, errkind.Of(err))
			return
		}
		require.Positive(t, m.Size)
		n, err := volspec.ParseName(m.Name)
		require.NoError(t, err)
		require.NotContains(t, n.Volume, "/")
		_, err = volspec.ParseOptions(withoutSource(m.Spec).Options())
		require.NoError(t, err)
	})
}
