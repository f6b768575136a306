package backup

import (
	"context"
	"io"
	"path"
	"strings"
	"sync"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// sessionIdle is how long a filesystem stays mounted after its last use.
const sessionIdle = 2 * time.Minute

// sessions are the filesystems of points that are mounted now.
type sessions struct {
	mu   sync.Mutex // guards open and the counts in it
	open map[volspec.PointID]*session
}

// session is one mounted filesystem. ready is closed when fs or err is there.
type session struct {
	repo  volspec.RepositoryID
	ready chan struct{}
	fs    FS
	close func(context.Context) error
	err   error
	users int
	last  time.Time
	gone  bool // to be closed after the last user
}

// browse lends the filesystem of a point to fn.
func (s *Service) browse(ctx context.Context, p Point, fn func(FS) error) error {
	ss, mine := s.sessions.take(p)
	if mine {
		ss.fs, ss.close, ss.err = s.mount(ctx, p)
		close(ss.ready)
	}
	defer s.release(ctx, p.ID, ss)
	select {
	case <-ss.ready:
	case <-ctx.Done():
		return errkind.Wrap(errkind.Unavailable, context.Cause(ctx), "the filesystem of recovery point %s is still being opened: repeat the command", p.ID)
	}
	if ss.err != nil {
		return ss.err
	}
	return fn(ss.fs)
}

func (m *sessions) take(p Point) (ss *session, mine bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open == nil {
		m.open = map[volspec.PointID]*session{}
	}
	ss = m.open[p.ID]
	if ss == nil {
		ss, mine = &session{repo: p.Repository, ready: make(chan struct{})}, true
		m.open[p.ID] = ss
	}
	ss.users++
	return ss, mine
}

// release gives a session back. A failed one is forgotten at once, so that the
// next try is a new one.
func (s *Service) release(ctx context.Context, id volspec.PointID, ss *session) {
	m := &s.sessions
	m.mu.Lock()
	ss.users--
	ss.last = time.Now()
	if ss.err != nil && m.open[id] == ss {
		delete(m.open, id)
	}
	end := ss.gone && ss.users == 0
	m.mu.Unlock()
	if end {
		ss.end(ctx)
	}
}

func (ss *session) end(ctx context.Context) {
	if ss.close == nil {
		return
	}
	ctx, cancel := briefly(ctx)
	defer cancel()
	if err := ss.close(ctx); err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Warn("filesystem of a recovery point was not closed cleanly")
	}
}

// drop ends the sessions that which selects, now or after their last user.
func (m *sessions) drop(ctx context.Context, which func(volspec.PointID, *session) bool) {
	var end []*session
	m.mu.Lock()
	for id, ss := range m.open {
		if !which(id, ss) {
			continue
		}
		delete(m.open, id)
		ss.gone = true
		if ss.users == 0 {
			end = append(end, ss)
		}
	}
	m.mu.Unlock()
	for _, ss := range end {
		ss.end(ctx)
	}
}

func (m *sessions) dropPoint(ctx context.Context, p volspec.PointID) {
	m.drop(ctx, func(id volspec.PointID, _ *session) bool { return id == p })
}

func (m *sessions) dropRepository(ctx context.Context, r volspec.RepositoryID) {
	m.drop(ctx, func(_ volspec.PointID, ss *session) bool { return ss.repo == r })
}

func (m *sessions) dropIdle(ctx context.Context, before time.Time) {
	m.drop(ctx, func(_ volspec.PointID, ss *session) bool { return ss.users == 0 && ss.last.Before(before) })
}

func (m *sessions) dropAll(ctx context.Context) {
	m.drop(ctx, func(volspec.PointID, *session) bool { return true })
}

// mount opens a point's image and the filesystem in it.
func (s *Service) mount(ctx context.Context, p Point) (FS, func(context.Context) error, error) {
	img, closeImage, err := s.openImage(ctx, p)
	if err != nil {
		return nil, nil, err
	}
	fs, err := s.o.Files.Open(ctx, img)
	if err != nil {
		return nil, nil, joined(err, closeImage(context.WithoutCancel(ctx)))
	}
	return fs, func(ctx context.Context) error { return joined(fs.Close(), closeImage(ctx)) }, nil
}

// openImage opens a point's image with a repository of its own.
func (s *Service) openImage(ctx context.Context, p Point) (image.Image, func(context.Context) error, error) {
	r, err := s.row(ctx, p.Repository)
	if err != nil {
		return nil, nil, err
	}
	rp, err := s.open(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	img, err := rp.Open(ctx, p.ID)
	if err != nil {
		return nil, nil, joined(err, rp.Close(context.WithoutCancel(ctx)))
	}
	return img, func(ctx context.Context) error { return joined(img.Close(), rp.Close(ctx)) }, nil
}

// Files lists a folder of a point's filesystem. Reading content is audited.
func (s *Service) Files(ctx context.Context, c volspec.Caller, group, ref, dir, after string, limit int) (wire.FileList, error) {
	p, _, g, err := s.findPoint(ctx, group, ref)
	if err != nil {
		return wire.FileList{}, err
	}
	out := wire.FileList{}
	err = s.browse(ctx, p, func(fs FS) error {
		out.Files, out.Next, err = fs.List(ctx, inside(dir), after, pageSize(limit))
		return err
	})
	s.audit(ctx, c, g.Name, "point files", string(p.ID)+" "+dir, err)
	return out, err
}

// inside makes a path relative to the filesystem's root.
func inside(p string) string { return strings.TrimPrefix(path.Clean("/"+p), "/") }

// File writes one file to w.
func (s *Service) File(ctx context.Context, c volspec.Caller, group, ref, name string, start func(string, int64), w io.Writer) error {
	p, _, g, err := s.findPoint(ctx, group, ref)
	if err != nil {
		return err
	}
	return s.reading(ctx, c, g.Name, "point get", string(p.ID)+" "+name, w, func(w io.Writer) error {
		return s.browse(ctx, p, func(fs FS) error {
			f, e, err := fs.OpenFile(ctx, inside(name))
			if err != nil {
				return err
			}
			defer f.Close()
			start(path.Base("/"+name), e.Size)
			return s.pour(ctx, w, f)
		})
	})
}

// Tar writes files and folders, all for none named, as an archive.
func (s *Service) Tar(ctx context.Context, c volspec.Caller, group, ref string, paths []string, start func(string, int64), w io.Writer) error {
	p, _, g, err := s.findPoint(ctx, group, ref)
	if err != nil {
		return err
	}
	var in []string
	for _, name := range paths {
		in = append(in, inside(name))
	}
	return s.reading(ctx, c, g.Name, "point tar", string(p.ID)+" "+strings.Join(paths, " "), w, func(w io.Writer) error {
		return s.browse(ctx, p, func(fs FS) error {
			begun := func() { start(p.Volume+"-"+p.Created.Format("20060102-150405")+".tar", -1) }
			return fs.Tar(ctx, &lateWriter{w: w, begin: begun}, in)
		})
	})
}

// lateWriter calls begin before the first byte, so that an error before it
// can still be told as one.
type lateWriter struct {
	w     io.Writer
	begin func()
}

func (l *lateWriter) Write(b []byte) (int, error) {
	if l.begin != nil {
		l.begin()
		l.begin = nil
	}
	return l.w.Write(b)
}

// Image writes the whole disk, holes as zeros.
func (s *Service) Image(ctx context.Context, c volspec.Caller, group, ref string, start func(string, int64), w io.Writer) error {
	p, _, g, err := s.findPoint(ctx, group, ref)
	if err != nil {
		return err
	}
	return s.reading(ctx, c, g.Name, "point export", string(p.ID), w, func(w io.Writer) error {
		img, done, err := s.openImage(ctx, p)
		if err != nil {
			return err
		}
		start(p.Volume+"-"+p.Created.Format("20060102-150405")+".img", img.Size())
		err = s.pour(ctx, w, io.NewSectionReader(img, 0, img.Size()))
		closing, cancel := briefly(ctx)
		defer cancel()
		return joined(err, done(closing))
	})
}

// pour copies until ctx ends.
func (s *Service) pour(ctx context.Context, w io.Writer, r io.Reader) error {
	buf := make([]byte, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return errkind.Wrap(errkind.Unavailable, context.Cause(ctx), "the download was given up")
		}
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return errkind.Wrap(errkind.Unavailable, err, "the download was cut off")
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// OpenView shows a point as the disk of a volume; see volume.Points.
func (s *Service) OpenView(ctx context.Context, g volspec.VMGroupID, v volspec.VolumeID, id volspec.PointID) error {
	return s.o.Views.Add(ctx, g, v, func(ctx context.Context) (image.Image, error) {
		var p Point
		err := s.o.Store.View(ctx, func(tx Tx) (err error) {
			p, err = tx.Point(id)
			return err
		})
		if err != nil {
			return nil, err
		}
		img, done, err := s.openImage(ctx, p)
		if err != nil {
			return nil, err
		}
		return &ownedImage{img, done}, nil
	})
}

// CloseView ends it.
func (s *Service) CloseView(ctx context.Context, g volspec.VMGroupID, v volspec.VolumeID) error {
	return s.o.Views.Remove(ctx, g, v)
}

// ownedImage closes its repository with itself.
type ownedImage struct {
	image.Image
	done func(context.Context) error
}

func (o *ownedImage) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return o.done(ctx)
}
