package kopia

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/blob/sharded"

	"mooring.dev/mooring/pkg/durable"
)

// directoryStorage is a folder in the layout of kopia's filesystem storage.
// It differs from kopia's own: blobs are synced before they get their name,
// and their folder after; the folder itself is never made, because a place
// that is not there is not a new place; an error is returned at once.
type directoryStorage struct {
	sharded.Storage
	blob.DefaultProviderImplementation
	root string
}

// shards is how blobs are spread over folders where the place does not say.
var shards = []int{1, 3}

func newDirectory(root string) (blob.Storage, error) {
	fi, err := os.Stat(root)
	if err != nil {
		return nil, err
	}
	if !fi.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: root, Err: errors.New("not a folder")}
	}
	impl := &directory{root: root}
	return &directoryStorage{Storage: sharded.New(impl, root, sharded.Options{DirectoryShards: shards}, false), root: root}, nil
}

// ConnectionInfo says nothing: see config.go, no storage is opened by it.
func (*directoryStorage) ConnectionInfo() blob.ConnectionInfo { return blob.ConnectionInfo{} }

// DisplayName is for people.
func (d *directoryStorage) DisplayName() string { return "directory " + d.root }

// sweep removes what interrupted writes left, once it is a day old.
func (d *directoryStorage) sweep(_ context.Context, now time.Time) error {
	return filepath.WalkDir(d.root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() || !strings.Contains(e.Name(), tempMark) {
			return nil
		}
		if fi, err := e.Info(); err == nil && now.Sub(fi.ModTime()) > 24*time.Hour {
			return os.Remove(path)
		}
		return nil
	})
}

// tempMark is in the name of a blob that is being written, as kopia's own.
const tempMark = ".f.tmp."

type directory struct{ root string }

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 1<<20); return &b }}

// GetBlobFromPath reads a blob or a part of it.
func (d *directory) GetBlobFromPath(_ context.Context, _, path string, offset, length int64, out blob.OutputBuffer) error {
	out.Reset()
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return blob.ErrBlobNotFound
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if length < 0 {
		_, err := f.WriteTo(out)
		return err
	}
	if offset < 0 {
		return blob.ErrInvalidRange
	}
	if b, ok := out.(*buffer); ok { // without a copy
		b.Grow(int(length))
		to := b.AvailableBuffer()[:length]
		if n, err := f.ReadAt(to, offset); n < len(to) {
			if errors.Is(err, io.EOF) {
				return blob.ErrInvalidRange
			}
			return err
		}
		_, err := b.Write(to)
		return err
	}
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	for length > 0 {
		n, err := f.ReadAt((*buf)[:min(length, int64(len(*buf)))], offset)
		if _, werr := out.Write((*buf)[:n]); werr != nil {
			return werr
		}
		offset, length = offset+int64(n), length-int64(n)
		if errors.Is(err, io.EOF) && length > 0 {
			return blob.ErrInvalidRange
		}
		if err != nil && length > 0 {
			return err
		}
	}
	return nil
}

// GetMetadataFromPath is length and time of a blob.
func (d *directory) GetMetadataFromPath(_ context.Context, _, path string) (blob.Metadata, error) {
	fi, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return blob.Metadata{}, blob.ErrBlobNotFound
	}
	if err != nil {
		return blob.Metadata{}, err
	}
	return blob.Metadata{Length: fi.Size(), Timestamp: fi.ModTime()}, nil
}

// PutBlobInPath writes a blob, whole and durable or not at all.
func (d *directory) PutBlobInPath(ctx context.Context, _, path string, data blob.Bytes, o blob.PutOptions) error {
	if o.HasRetentionOptions() || o.DoNotRecreate {
		return blob.ErrUnsupportedPutBlobOption
	}
	if filepath.Base(path) == sharded.ParametersFile && !creating(ctx) {
		return errors.New("the place does not say how it is laid out") // kopia goes on with the default
	}
	f, err := d.temp(path)
	if err != nil {
		return err
	}
	if err := fill(f, data, o); err != nil {
		return errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	if err := f.Close(); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return durable.SyncDir(filepath.Dir(path))
}

func fill(f *os.File, data blob.Bytes, o blob.PutOptions) error {
	if _, err := data.WriteTo(f); err != nil {
		return err
	}
	if !o.SetModTime.IsZero() {
		if err := os.Chtimes(f.Name(), o.SetModTime, o.SetModTime); err != nil {
			return err
		}
	}
	if o.GetModTime != nil {
		fi, err := f.Stat()
		if err != nil {
			return err
		}
		*o.GetModTime = fi.ModTime()
	}
	return f.Sync()
}

func (d *directory) temp(path string) (*os.File, error) {
	var r [8]byte
	_, _ = rand.Read(r[:]) // never fails
	name := path + ".tmp." + hex.EncodeToString(r[:])
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	if err := d.folders(filepath.Dir(path)); err != nil {
		return nil, err
	}
	return os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
}

// folders makes dir below the root, and never the root.
func (d *directory) folders(dir string) error {
	rel, err := filepath.Rel(d.root, dir)
	if err != nil || rel == "." {
		return err
	}
	at := d.root
	for _, name := range strings.Split(rel, string(filepath.Separator)) {
		parent := at
		at = filepath.Join(at, name)
		switch err := os.Mkdir(at, 0o700); {
		case errors.Is(err, fs.ErrExist):
		case err != nil:
			return err
		default:
			if err := durable.SyncDir(parent); err != nil {
				return err
			}
		}
	}
	return nil
}

// DeleteBlobInPath removes a blob. Absent: nil.
func (d *directory) DeleteBlobInPath(_ context.Context, _, path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// ReadDir lists a folder; what vanishes meanwhile is left out.
func (d *directory) ReadDir(_ context.Context, dir string) ([]os.FileInfo, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) && dir != d.root {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	infos := make([]os.FileInfo, 0, len(entries))
	for _, e := range entries {
		fi, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		infos = append(infos, fi)
	}
	return infos, nil
}
