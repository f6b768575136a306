package kopia

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	kcompression "github.com/kopia/kopia/repo/compression"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestKopiaReadsWhatIsCompressedInOnePiece(t *testing.T) {
	random := make([]byte, blockSize)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(random)
	text := []byte(strings.Repeat("a sentence that comes again, and ", blockSize/33+1))[:blockSize]
	w := kcompression.ByName[compressor]
	ours, ok := kcompression.ByHeaderID[w.HeaderID()].(*whole)
	require.True(t, ok, "it takes the place of kopia's")
	for name, block := range map[string][]byte{
		"nothing": {}, "a byte": {7}, "zeros": make([]byte, blockSize), "random": random, "text": text,
		"a part": text[:1000], "several blocks": bytes.Repeat(append(random[:1<<18:1<<18], text...), 6),
	} {
		t.Run(name, func(t *testing.T) {
			var packed, plain, theirs bytes.Buffer
			require.NoError(t, ours.Compress(&packed, bytes.NewReader(block)))
			require.NoError(t, w.Compress(&theirs, bytes.NewReader(block)))
			assert.LessOrEqual(t, packed.Len(), theirs.Len()+theirs.Len()/100+16, "it is no larger than kopia's")
			compressed := bytes.Clone(packed.Bytes())
			require.NoError(t, w.Decompress(&plain, bytes.NewReader(compressed), true))
			assert.True(t, bytes.Equal(block, plain.Bytes()))
			// And so do we.
			d, err := newDecoder()
			require.NoError(t, err)
			defer d.Close()
			u := &unsealer{decoder: d}
			got, err := u.unpack([]byte("before"), compressed, w.HeaderID())
			require.NoError(t, err)
			assert.True(t, bytes.Equal(append([]byte("before"), block...), got))
		})
	}
}
