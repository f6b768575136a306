package vc

import (
	"crypto/sha1"
	"encoding/hex"
	"hash"
	"io"
	"net/http"
	"os"

	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/pkg/vmdk"
	"mooring.dev/mooring/simvc/internal/vmfile"
)

// serveNFC moves the disks of leases as streams. The URL is the permission.
func (s *Server) serveNFC(w http.ResponseWriter, r *http.Request) {
	l, t := s.transfer(r.URL.Path)
	if t == nil {
		http.NotFound(w, r)
		return
	}
	sum := sha1.New()
	switch {
	case r.Method == http.MethodGet && !l.upload:
		w.Header().Set("Content-Type", "application/x-vnd.vmware-streamVmdk")
		n := &counter{w: io.MultiWriter(w, sum)}
		err := send(n, t)
		if s.rules.count("nfc", n.n); err != nil {
			panic(http.ErrAbortHandler) // cuts the stream where it is
		}
		l.record(t, sum, n.n)
	case (r.Method == http.MethodPut || r.Method == http.MethodPost) && l.upload:
		n := &counter{w: sum}
		err := receive(io.TeeReader(r.Body, n), t)
		if s.rules.count("nfc", n.n); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		l.record(t, sum, n.n)
		w.WriteHeader(http.StatusCreated)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// record notes a transfer in the manifest.
func (l *lease) record(t *transfer, sum hash.Hash, size int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t.done = true
	l.manifest = append(l.manifest, types.HttpNfcLeaseManifestEntry{
		Key: t.key, Sha1: hex.EncodeToString(sum.Sum(nil)), Size: size, Disk: true, Capacity: t.size,
		PopulatedSize: vmfile.Used(t.flat),
	})
}

// send encodes an extent.
func send(w io.Writer, t *transfer) error {
	f, err := os.Open(t.flat)
	if err != nil {
		return err
	}
	defer f.Close()
	extents, err := vmfile.Allocated(f)
	if err != nil {
		return err
	}
	out, err := vmdk.NewWriter(w, t.size)
	if err != nil {
		return err
	}
	buf := make([]byte, vmdk.Grain)
	next := int64(0)
	for _, e := range extents {
		for off := max(next, e.Offset/vmdk.Grain*vmdk.Grain); off < e.Offset+e.Length; off += vmdk.Grain {
			n := min(int64(vmdk.Grain), t.size-off)
			if _, err := f.ReadAt(buf[:n], off); err != nil {
				return err
			}
			if _, err := out.WriteAt(buf[:n], off); err != nil {
				return err
			}
			next = off + vmdk.Grain
		}
	}
	return out.Close()
}

// receive decodes into an extent.
func receive(r io.Reader, t *transfer) error {
	f, err := os.OpenFile(t.flat, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = vmdk.Decode(r, func(off int64, data []byte) error {
		if off+int64(len(data)) > t.size {
			data = data[:max(0, t.size-off)]
		}
		_, err := f.WriteAt(data, off)
		return err
	})
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}
