package app_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/wire"
)

// A VM that is taken out of the configuration between two starts of the
// daemon leaves its disk: others can have it.
func TestDisksOfAVMThatWasRemovedAreFree(t *testing.T) {
	p := newProcess(t, []string{"vm1", "vm2"}, "[volume]\nreconcile='1s'\n")
	p.start(t)
	_, err := p.guest(t, "vm1").Create(t.Context(), wire.CreateVolume{Name: "v", Options: map[string]string{"size": "16mb"}})
	require.NoError(t, err)
	_, err = p.guest(t, "vm1").Attach(t.Context(), "v", wire.Attach{BootID: "b"})
	require.NoError(t, err)
	p.kill()
	text, err := os.ReadFile(p.path("mooring.toml"))
	require.NoError(t, err)
	i := strings.Index(string(text), "[[vm]]\nname = \"vm1\"")
	j := strings.Index(string(text), "[[vm]]\nname = \"vm2\"")
	p.write(t, string(text[:i])+string(text[j:]))
	p.start(t)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		v, err := p.guest(t, "vm2").Get(t.Context(), "v")
		assert.NoError(c, err)
		assert.Empty(c, v.AttachedTo)
	}, 10*time.Second, 100*time.Millisecond)
	_, err = p.guest(t, "vm2").Attach(t.Context(), "v", wire.Attach{BootID: "b"})
	require.NoError(t, err)
	require.NoError(t, p.guest(t, "vm2").Detach(t.Context(), "v", wire.Detach{}))
	require.NoError(t, p.guest(t, "vm2").Remove(t.Context(), "v"))
}
