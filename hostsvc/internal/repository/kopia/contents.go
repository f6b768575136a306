package kopia

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/kopia/kopia/repo/blob"
	kcompression "github.com/kopia/kopia/repo/compression"
	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/repo/format"
	"github.com/kopia/kopia/repo/object"

	"mooring.dev/mooring/pkg/errkind"
)

// Contents are read here and not by kopia: its reader keeps copies on the
// local disk, which hide what happened to the place, and copies each block
// several times in memory. What is read is authenticated and hashed.

// errDamaged is a content whose bytes are not those that were stored.
var errDamaged = errors.New("its bytes are not those that were stored")

// unsealer decrypts and decompresses contents.
type unsealer struct {
	keys    sync.Pool
	decoder *zstd.Decoder
}

func newUnsealer(m *format.Manager) (*unsealer, error) {
	if e := m.GetEncryptionAlgorithm(); e != encryptionName || m.GetECCAlgorithm() != "" {
		return nil, errkind.New(errkind.Unsupported, "the repository is encrypted with %s, which this version cannot read: it was not made by Mooring", e)
	}
	// As kopia's package encryption derives it.
	secret, err := hkdf.Key(sha256.New, m.GetMasterKey(), []byte("encryption"), "", 32)
	if err != nil {
		return nil, errkind.Wrap(errkind.Internal, err, "derive the key of contents")
	}
	d, err := newDecoder()
	if err != nil {
		return nil, errkind.Wrap(errkind.Internal, err, "make a decompressor")
	}
	return &unsealer{decoder: d, keys: sync.Pool{New: func() any { return hmac.New(sha256.New, secret) }}}, nil
}

func newDecoder() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(64<<20))
}

// open decrypts b, in place.
func (u *unsealer) open(b []byte, id content.ID) ([]byte, error) {
	h := id.Hash()
	iv := h[len(h)-aes.BlockSize:]
	k := u.keys.Get().(hash.Hash)
	defer u.keys.Put(k)
	k.Reset()
	k.Write(iv)
	var key [32]byte
	c, err := aes.NewCipher(k.Sum(key[:0]))
	if err != nil {
		return nil, err
	}
	a, err := cipher.NewGCM(c)
	if err != nil {
		return nil, err
	}
	if len(b) < a.NonceSize()+a.Overhead() {
		return nil, errDamaged
	}
	text, err := a.Open(b[a.NonceSize():a.NonceSize()], b[:a.NonceSize()], b[a.NonceSize():], iv)
	if err != nil {
		return nil, errDamaged
	}
	return text, nil
}

// unpack decompresses b to the end of dst.
func (u *unsealer) unpack(dst, b []byte, by kcompression.HeaderID) ([]byte, error) {
	if by == content.NoCompression {
		return append(dst, b...), nil
	}
	if by < kcompression.HeaderZstdDefault || by > kcompression.HeaderZstdBestCompression {
		return nil, errkind.New(errkind.Unsupported, "a block is compressed by method %x, which this version cannot", by)
	}
	if len(b) < 4 || kcompression.HeaderID(binary.BigEndian.Uint32(b)) != by {
		return nil, errDamaged
	}
	out, err := u.decoder.DecodeAll(b[4:], dst)
	if err != nil {
		return nil, errDamaged
	}
	return out, nil
}

var packed = sync.Pool{New: func() any { return &buffer{} }}

// readTo appends a content to dst.
func (r *Repository) readTo(ctx context.Context, dst []byte, id content.ID) ([]byte, error) {
	out, err := r.readOnce(ctx, dst, id)
	if (errors.Is(err, blob.ErrBlobNotFound) || errors.Is(err, content.ErrContentNotFound)) && r.stale() {
		// Another process may have moved it.
		if rerr := r.fresh(ctx); rerr != nil {
			return nil, errors.Join(rerr, err)
		}
		out, err = r.readOnce(ctx, dst, id)
	}
	if err != nil {
		return nil, fmt.Errorf("content %s: %w", id, err)
	}
	return out, nil
}

// read reads a content.
func (r *Repository) read(ctx context.Context, id content.ID) ([]byte, error) {
	return r.readTo(ctx, nil, id)
}

func (r *Repository) readOnce(ctx context.Context, dst []byte, id content.ID) ([]byte, error) {
	i, err := r.kopia.ContentInfo(ctx, id)
	if err != nil {
		return nil, err
	}
	b := packed.Get().(*buffer)
	defer packed.Put(b)
	b.Reset()
	if err := r.g.GetBlob(ctx, i.PackBlobID, int64(i.PackOffset), int64(i.PackedLength), b); err != nil {
		return nil, err
	}
	text, err := r.unseal.open(b.Bytes(), id)
	if err != nil {
		return nil, err
	}
	start := len(dst)
	out, err := r.unseal.unpack(dst, text, i.CompressionHeaderID)
	if err != nil {
		return nil, err
	}
	if r.hash.id(id.Prefix(), out[start:]) != id {
		return nil, errDamaged
	}
	return out, nil
}

// readObject reads an object that fits into memory.
func (r *Repository) readObject(ctx context.Context, id object.ID) ([]byte, error) {
	index, ok := id.IndexObjectID()
	if !ok {
		cid, compressed, ok := id.ContentID()
		if !ok || compressed {
			return nil, errIndex
		}
		return r.read(ctx, cid)
	}
	text, err := r.readObject(ctx, index)
	if err != nil {
		return nil, err
	}
	parts, err := parseIndex(text)
	if err != nil {
		return nil, err
	}
	var out []byte
	for _, e := range parts {
		b, err := r.readObject(ctx, e.Object)
		if err != nil {
			return nil, err
		}
		if int64(len(b)) != e.Length || e.Start != int64(len(out)) {
			return nil, errIndex
		}
		out = append(out, b...)
	}
	return out, nil
}

// parseIndex reads any index of kopia's.
func parseIndex(text []byte) ([]object.IndirectObjectEntry, error) {
	var parts struct {
		Entries []object.IndirectObjectEntry `json:"entries"`
	}
	if json.Unmarshal(text, &parts) != nil {
		return nil, errIndex
	}
	return parts.Entries, nil
}
