package kopia

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/repo/object"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"mooring.dev/mooring/pkg/errkind"
)

func drawID(t *rapid.T, prefix content.IDPrefix) content.ID {
	id, err := content.IDFromHash(prefix, rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "hash"))
	require.NoError(t, err)
	return id
}

// TestIndexes: what we write, we read, and encoding/json reads the same.
func TestIndexes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		length := rapid.Int64Range(1, segmentSize/512).Draw(t, "length") * 512
		blocks := make([]content.ID, blocksIn(length))
		for i := range blocks {
			blocks[i] = drawID(t, "")
		}
		text := encodeSegment(blocks, length)
		got, err := decodeSegment(text, length)
		require.NoError(t, err)
		assert.Equal(t, blocks, got)
		var parts struct {
			Stream  string                       `json:"stream"`
			Entries []object.IndirectObjectEntry `json:"entries"`
		}
		require.NoError(t, json.Unmarshal(text, &parts))
		assert.Equal(t, "kopia:indirect", parts.Stream)
		end := int64(0)
		for i, e := range parts.Entries {
			assert.Equal(t, end, e.Start)
			assert.Equal(t, object.DirectObjectID(blocks[i]), e.Object)
			end += e.Length
		}
		assert.Equal(t, length, end)

		size := rapid.Int64Range(1, 100).Draw(t, "segments")*segmentSize - rapid.Int64Range(0, segmentSize/512-1).Draw(t, "tail")*512
		segments := make([]object.ID, segmentsIn(size))
		for i := range segments {
			if segments[i], err = indirect(object.DirectObjectID(drawID(t, indexPrefix))); err != nil {
				t.Fatal(err)
			}
		}
		var b bytes.Buffer
		require.NoError(t, encodeTop(&b, segments, size))
		top, err := decodeTop(&b, size)
		require.NoError(t, err)
		assert.Equal(t, segments, top)
	})
}

// FuzzIndex: any text is an index or an error, and is never taken for one of
// another length.
func FuzzIndex(f *testing.F) {
	id, err := content.IDFromHash("", bytes.Repeat([]byte{7}, 32))
	require.NoError(f, err)
	good := encodeSegment([]content.ID{id, id}, blockSize+512)
	f.Add(good)
	f.Add(good[:len(good)-5])
	f.Add(bytes.ReplaceAll(good, []byte("l"), []byte("s")))
	f.Add([]byte(indexHead + indexTail))
	f.Fuzz(func(t *testing.T, b []byte) {
		ids, err := decodeSegment(b, blockSize+512)
		if err != nil {
			assert.True(t, errkind.Is(err, errkind.Corrupt), "%v", err)
			return
		}
		assert.Len(t, ids, 2)
		_, err = decodeSegment(b, 3*blockSize)
		assert.Error(t, err)
	})
}
