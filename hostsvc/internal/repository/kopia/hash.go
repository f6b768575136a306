package kopia

import (
	"sync"

	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/repo/format"
	"github.com/zeebo/blake3"

	"mooring.dev/mooring/pkg/errkind"
)

// hasher computes the ids that kopia gives to contents, so that a block that
// is stored already need not be handed to it.
type hasher struct {
	pool  sync.Pool
	mu    sync.Mutex // guards zeros
	zeros map[int]content.ID
}

func newHasher(m *format.Manager) (*hasher, error) {
	if h := m.GetHashFunction(); h != hashName {
		return nil, errkind.New(errkind.Unsupported, "the repository names its blocks with %s, which this version cannot: it was not made by Mooring", h)
	}
	secret := m.GetHmacSecret()
	if len(secret) < 32 {
		return nil, errkind.New(errkind.Unsupported, "the repository's hash key is shorter than any that Mooring makes")
	}
	return &hasher{zeros: map[int]content.ID{}, pool: sync.Pool{New: func() any {
		h, err := blake3.NewKeyed(secret[:32])
		if err != nil {
			return nil // only a wrong length is an error
		}
		return h
	}}}, nil
}

func (h *hasher) id(prefix content.IDPrefix, b []byte) content.ID {
	k := h.pool.Get().(*blake3.Hasher)
	defer h.pool.Put(k)
	k.Reset()
	_, _ = k.Write(b) // never fails
	var sum [32]byte
	id, err := content.IDFromHash(prefix, k.Sum(sum[:0]))
	if err != nil {
		return content.EmptyID // only a wrong prefix is an error
	}
	return id
}

// zero is the id of n zeros.
func (h *hasher) zero(n int) content.ID {
	h.mu.Lock()
	defer h.mu.Unlock()
	id, ok := h.zeros[n]
	if !ok {
		id = h.id("", make([]byte, n))
		h.zeros[n] = id
	}
	return id
}
