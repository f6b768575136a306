package vcenter

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/pkg/errkind"
)

// Files reads and writes files of datastores. Paths are relative to the root
// of the datastore.
type Files struct{ c *Client }

// Files of all datastores.
func (c *Client) Files() Files { return Files{c} }

// Path is how vSphere writes the place of a file.
func Path(datastore, file string) string {
	return (&object.DatastorePath{Datastore: datastore, Path: file}).String()
}

// SplitPath is the inverse of Path.
func SplitPath(s string) (datastore, file string, ok bool) {
	var p object.DatastorePath
	ok = p.FromString(s)
	return p.Datastore, p.Path, ok
}

// Get opens n bytes of a file from off on, fewer at its end; n < 0 means all
// that follow. The caller closes what it gets. Absent: not-found.
func (f Files) Get(ctx context.Context, datastore, file string, off, n int64) (io.ReadCloser, error) {
	if n == 0 {
		return http.NoBody, nil
	}
	var body io.ReadCloser
	what := fmt.Sprintf("reading file %s", Path(datastore, file))
	err := f.c.again(ctx, func() error {
		return f.send(ctx, what, http.MethodGet, datastore, file, func(r *http.Request) error {
			if off == 0 && n < 0 {
				return nil
			}
			r.Header.Set("Range", fmt.Sprintf("bytes=%d-", off))
			if n > 0 {
				r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", off, off+n-1))
			}
			return nil
		}, func(res *http.Response) error {
			switch {
			case res.StatusCode == http.StatusPartialContent, res.StatusCode == http.StatusOK && off == 0:
				body = res.Body
				return nil
			case res.StatusCode == http.StatusRequestedRangeNotSatisfiable:
				body = http.NoBody
			case res.StatusCode == http.StatusOK:
				defer res.Body.Close()
				return errkind.New(errkind.Unsupported, "%s: the server does not answer with parts of files", what)
			default:
				defer res.Body.Close()
				return &StatusError{res.StatusCode}
			}
			return res.Body.Close()
		})
	})
	return body, err
}

// Size is how large a file is. Absent: not-found.
func (f Files) Size(ctx context.Context, datastore, file string) (size int64, err error) {
	what := fmt.Sprintf("looking at file %s", Path(datastore, file))
	err = f.c.again(ctx, func() error {
		return f.send(ctx, what, http.MethodHead, datastore, file, nil, func(res *http.Response) error {
			defer res.Body.Close()
			if res.StatusCode != http.StatusOK {
				return &StatusError{res.StatusCode}
			}
			size = res.ContentLength
			return nil
		})
	})
	return size, err
}

// Put writes a file whole, in place of one that is there. It is not atomic:
// readers see the beginning of it before its end, and an error leaves some of
// it.
func (f Files) Put(ctx context.Context, datastore, file string, r io.Reader, size int64) error {
	what := fmt.Sprintf("writing file %s", Path(datastore, file))
	// A session that has ended would be noticed only after the bytes were sent.
	err := f.c.Read(ctx, what, func(ctx context.Context, vc *vim25.Client) error { return ping(ctx, vc) })
	if err != nil {
		return err
	}
	return f.send(ctx, what, http.MethodPut, datastore, file, func(req *http.Request) error {
		if s, ok := r.(io.Seeker); ok {
			if _, err := s.Seek(0, io.SeekStart); err != nil {
				return err
			}
		}
		req.Header.Set("Content-Type", "application/octet-stream")
		req.Body, req.ContentLength = io.NopCloser(r), size
		if size == 0 {
			req.Body = http.NoBody
		}
		return nil
	}, func(res *http.Response) error {
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusCreated {
			return &StatusError{res.StatusCode}
		}
		return nil
	})
}

// send makes one request in a live session. take closes the body.
func (f Files) send(ctx context.Context, what, method, datastore, file string, prepare func(*http.Request) error, take func(*http.Response) error) error {
	return f.c.in(ctx, what, func(ctx context.Context, s *conn) error {
		u := object.NewDatastoreURL(*s.vim.URL(), s.dc.InventoryPath, datastore, path.Clean(file))
		req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
		if err != nil {
			return errkind.Wrap(errkind.Invalid, err, "%s", what)
		}
		req.Header.Set("User-Agent", f.c.o.UserAgent)
		if prepare != nil {
			if err := prepare(req); err != nil {
				return err
			}
		}
		res, err := s.vim.Client.Client.Do(req)
		if err != nil {
			return err
		}
		if res.StatusCode == http.StatusUnauthorized {
			_ = res.Body.Close()
			return &notAuthenticated{}
		}
		return take(res)
	})
}

// notAuthenticated is how HTTP says that a session has ended.
type notAuthenticated struct{}

func (*notAuthenticated) Error() string { return "the session has ended" }

// Fault makes it the same as the fault of other requests.
func (*notAuthenticated) Fault() types.BaseMethodFault { return &types.NotAuthenticated{} }

// Delete removes a file, and with the descriptor of a disk its content. Absent:
// nil.
func (f Files) Delete(ctx context.Context, datastore, file string) error {
	p := Path(datastore, file)
	_, err := f.task(ctx, "deleting file "+p, func(ctx context.Context, m *object.FileManager, dc *object.Datacenter) (*object.Task, error) {
		return m.DeleteDatastoreFile(ctx, p, dc)
	})
	if errkind.Is(err, errkind.NotFound) {
		return nil
	}
	return err
}

// Move renames a file within a datastore, in place of one that is there. It is
// not for disks, which consist of several files. When the answer is lost, the
// datastore is asked what became of it.
func (f Files) Move(ctx context.Context, datastore, from, to string) error {
	a, b := Path(datastore, from), Path(datastore, to)
	_, err := f.task(ctx, fmt.Sprintf("moving file %s to %s", a, b), func(ctx context.Context, m *object.FileManager, dc *object.Datacenter) (*object.Task, error) {
		return m.MoveDatastoreFile(ctx, a, dc, b, dc, true)
	})
	if !Lost(err) || ctx.Err() != nil {
		return err
	}
	_, left := f.Size(ctx, datastore, from)
	_, arrived := f.Size(ctx, datastore, to)
	if errkind.Is(left, errkind.NotFound) && arrived == nil {
		return nil
	}
	return err
}

// MakeFolder makes a folder and those above it. It is there: nil.
func (f Files) MakeFolder(ctx context.Context, datastore, folder string) error {
	p := Path(datastore, folder)
	attempt := func() error {
		return f.c.in(ctx, "making folder "+p, func(ctx context.Context, s *conn) error {
			return object.NewFileManager(s.vim).MakeDirectory(ctx, p, s.dc, true)
		})
	}
	err := attempt()
	if Is[*types.CannotCreateFile](err) && f.makeTop(ctx, datastore, folder) == nil {
		err = attempt()
	}
	if errkind.Is(err, errkind.Exists) {
		return nil
	}
	return err
}

// makeTop makes the first folder of a path on a datastore that keeps objects, where
// it is one of them.
func (f Files) makeTop(ctx context.Context, datastore, folder string) error {
	top, _, _ := strings.Cut(strings.Trim(path.Clean(folder), "/"), "/")
	err := f.c.in(ctx, "making folder "+Path(datastore, top), func(ctx context.Context, s *conn) error {
		ds, err := find.NewFinder(s.vim).SetDatacenter(s.dc).Datastore(ctx, datastore)
		if err != nil || s.vim.ServiceContent.DatastoreNamespaceManager == nil {
			return err
		}
		_, err = object.NewDatastoreNamespaceManager(s.vim).CreateDirectory(ctx, ds, top, "")
		return err
	})
	if errkind.Is(err, errkind.Exists) {
		return nil
	}
	return err
}

func (f Files) task(ctx context.Context, what string, start func(context.Context, *object.FileManager, *object.Datacenter) (*object.Task, error)) (*types.TaskInfo, error) {
	return f.c.task(ctx, what, func(ctx context.Context, s *conn) (types.ManagedObjectReference, error) {
		t, err := start(ctx, object.NewFileManager(s.vim), s.dc)
		if err != nil {
			return types.ManagedObjectReference{}, err
		}
		return t.Reference(), nil
	})
}
