package image_test

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
)

func TestFillingKeepsToItsSize(t *testing.T) {
	f := image.NewFilling("disk d", 10)
	content := bytes.NewReader([]byte("0123456789"))
	for _, c := range []struct {
		off, n int64
		want   errkind.Kind
	}{{0, 10, ""}, {10, 0, ""}, {4, 6, ""}, {4, 7, errkind.Invalid}, {-1, 1, errkind.Invalid}, {0, -1, errkind.Invalid}, {11, 0, errkind.Invalid}} {
		err := f.Use(c.off, c.n, func() error { return nil })
		if c.want == "" {
			require.NoError(t, err)
			continue
		}
		assert.Equal(t, c.want, errkind.Of(err), "%d at %d", c.n, c.off)
	}
	p := make([]byte, 6)
	n, err := f.Read(p, 7, content.ReadAt)
	assert.Equal(t, 3, n)
	require.ErrorIs(t, err, io.EOF)
	assert.Equal(t, "789", string(p[:n]))
	_, err = f.Read(p, 10, content.ReadAt)
	require.ErrorIs(t, err, io.EOF)
	_, err = f.Read(p, -1, content.ReadAt)
	assert.Equal(t, errkind.Invalid, errkind.Of(err))
}

func TestFillingEnds(t *testing.T) {
	f := image.NewFilling("disk d", 10)
	begun, release, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		_ = f.Use(0, 1, func() error { close(begun); <-release; return nil })
	}()
	<-begun
	go func() { f.End(); close(ended) }()
	select {
	case <-ended:
		require.Fail(t, "it ended while it was used")
	case <-time.After(20 * time.Millisecond):
	}
	close(release)
	<-ended
	err := f.Use(0, 1, func() error { return nil })
	assert.Equal(t, errkind.Internal, errkind.Of(err))
	assert.Equal(t, "disk d is not being filled any more", errkind.Text(err))
}
