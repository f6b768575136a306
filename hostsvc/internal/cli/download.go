package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/wire"
)

// outFlags say where content goes.
type outFlags struct {
	path  string
	force bool
}

func (o *outFlags) register(cmd *cobra.Command, usage string) {
	cmd.Flags().StringVar(&o.path, "out", "", usage)
	cmd.Flags().BoolVar(&o.force, "force", false, "overwrite a file that exists")
}

// standardOut is the path of standard output.
const standardOut = "-"

// fetch writes what open gives to its place. A file is whole when it has its
// name: until then it is FILE.part, which is removed when something fails.
// With sparse, blocks of zeros become holes.
func (t *tool) fetch(cmd *cobra.Command, to *outFlags, sparse bool, open func(context.Context) (hostclient.Download, error)) error {
	if to.path == "" {
		return usagef(cmd, "'%s' needs a file to write to: add --out=FILE, or --out=- for standard output", cmd.CommandPath())
	}
	if to.path != standardOut {
		if err := to.free(); err != nil {
			return err
		}
	}
	d, err := open(cmd.Context())
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }() // read to its end or given up
	from := &meter{t: t, from: d, size: d.Size, began: time.Now()}
	if to.path == standardOut {
		_, err := io.Copy(onlyWriter{t.Out}, from)
		from.clear()
		return outError(err, "standard output cannot be written")
	}
	err = to.save(from, sparse)
	from.clear()
	if err != nil {
		return err
	}
	return t.done(to.path, "%s is written to %s.", amount(from.done), to.path)
}

// onlyWriter hides what else a writer can do, so that reads are metered.
type onlyWriter struct{ io.Writer }

// outError puts errors of writing into words; those of reading have them.
func outError(err error, text string) error {
	if _, ok := errors.AsType[*errkind.Error](err); ok {
		return err
	}
	return errkind.Wrap(errkind.Unavailable, err, "%s", text)
}

// free fails when the file exists and is not to be overwritten.
func (o *outFlags) free() error {
	info, err := os.Lstat(o.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return errkind.Wrap(errkind.Unavailable, err, "nothing is written")
	case !info.Mode().IsRegular():
		return errkind.New(errkind.Exists, "nothing is written: %s exists and is not a file", o.path)
	case !o.force:
		return errkind.New(errkind.Exists, "nothing is written: %s exists already, add --force to overwrite it", o.path)
	}
	return nil
}

func (o *outFlags) save(from io.Reader, sparse bool) (err error) {
	part := o.path + ".part"
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return errkind.New(errkind.Exists, "nothing is written: %s exists, another command writes it or was killed; remove it if none does", part)
	}
	if err != nil {
		return errkind.Wrap(errkind.Unavailable, err, "nothing is written")
	}
	defer func() {
		if err != nil {
			err = errors.Join(outError(err, o.path+" cannot be written"), os.Remove(part))
		}
	}()
	if sparse {
		err = copySparse(f, from)
	} else {
		_, err = io.Copy(onlyWriter{f}, from)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = o.free(); err != nil { // somebody may have made it meanwhile
		return err
	}
	return os.Rename(part, o.path)
}

// hole is the size of a block that is left out if it is all zeros.
const hole = 64 << 10

var zeros = make([]byte, hole)

// copySparse copies with holes where blocks are zeros. f is new.
func copySparse(f *os.File, from io.Reader) error {
	block := make([]byte, hole)
	var size int64
	for {
		n, err := io.ReadFull(from, block)
		if n > 0 && !bytes.Equal(block[:n], zeros[:n]) {
			if _, err := f.WriteAt(block[:n], size); err != nil {
				return err
			}
		}
		size += int64(n)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF) && errkind.Of(err) == errkind.Internal:
			return f.Truncate(size)
		case err != nil:
			return err
		}
	}
}

// meter counts what is read and draws how far it is, where a person looks.
type meter struct {
	t     *tool
	from  io.Reader
	size  int64
	done  int64
	began time.Time
	drawn time.Time
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.from.Read(p)
	m.done += int64(n)
	if m.t.Interactive && time.Since(m.drawn) >= askEvery && time.Since(m.began) >= askEvery {
		m.drawn = time.Now()
		p := wire.JobProgress{DoneBytes: m.done, TotalBytes: max(m.size, 0), ETASeconds: -1}
		p.Rate = float64(m.done) / time.Since(m.began).Seconds()
		if m.size > 0 && p.Rate > 0 {
			p.ETASeconds = int64(float64(m.size-m.done) / p.Rate)
		}
		fmt.Fprintf(m.t.Err, "\r%s\x1b[K", strings.Join(progress(p), "  "))
	}
	return n, err
}

func (m *meter) clear() {
	if !m.drawn.IsZero() {
		fmt.Fprint(m.t.Err, "\r\x1b[K")
	}
}
