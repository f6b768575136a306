package selfbackup

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"os"
	"time"

	"mooring.dev/mooring/pkg/errkind"
)

// File is a small file of the state directory or the configuration. Its text is
// a secret.
type File struct {
	Name string
	Text []byte
}

// A copy is lines of JSON, version 1: the header; one line for each file; the
// catalog, see catalog.Dump; the end, with a checksum over all lines before it.
// Line ends fill it up to whole sectors.
type header struct {
	Mooring string    `json:"mooring"` // magic
	Version int       `json:"version"`
	Made    time.Time `json:"made"`
	Build   string    `json:"build"`
	Files   int       `json:"files"`
}

type fileLine struct {
	File string `json:"file"`
	Text []byte `json:"text"`
}

type endLine struct {
	End string `json:"sha256"`
}

const (
	magic   = "copy of a catalog"
	version = 1
	sector  = 512
	maxLine = 64 << 20
)

// summed counts and sums what is written to it.
type summed struct {
	to  io.Writer
	sum hash.Hash
	n   int64
}

func (s *summed) Write(p []byte) (int, error) {
	n, err := s.to.Write(p)
	s.sum.Write(p[:n])
	s.n += int64(n)
	return n, err
}

// write makes a copy in f. dump writes the catalog.
func write(f io.Writer, h header, files []File, dump func(io.Writer) error) error {
	b := bufio.NewWriterSize(f, 1<<16)
	w := &summed{to: b, sum: sha256.New()}
	out := json.NewEncoder(w)
	h.Mooring, h.Version, h.Files = magic, version, len(files)
	err := out.Encode(h)
	for _, f := range files {
		err = errors.Join(err, out.Encode(fileLine{f.Name, f.Text}))
	}
	if err == nil {
		err = dump(w)
	}
	if err == nil {
		err = out.Encode(endLine{hex.EncodeToString(w.sum.Sum(nil))})
	}
	for err == nil && w.n%sector != 0 {
		_, err = w.Write([]byte{'\n'})
	}
	if err == nil {
		err = b.Flush()
	}
	if _, known := errors.AsType[*errkind.Error](err); known {
		return err
	}
	return errkind.Wrap(errkind.Unavailable, err, "the copy of the catalog cannot be written: make room in backup.scratch_dir")
}

// Copy is a copy of a catalog that was found whole.
type Copy struct {
	Made    time.Time
	Build   string
	Files   []File
	catalog *io.SectionReader
}

// Catalog reads the catalog in it.
func (c Copy) Catalog() io.Reader { return c.catalog }

func damaged(why string) error {
	return errkind.New(errkind.Corrupt, "the copy of the catalog is damaged, %s: take another one", why)
}

// read examines the whole copy in f before anything of it is believed.
func read(f *os.File) (c Copy, err error) {
	in, sum := bufio.NewReaderSize(f, 1<<16), sha256.New()
	var at, begin int64
	h, files := header{}, -1
	for {
		line, err := nextLine(in)
		if err != nil {
			return Copy{}, err
		}
		switch {
		case files < 0:
			if err := h.parse(line); err != nil {
				return Copy{}, err
			}
			files = h.Files
		case files > 0:
			var l fileLine
			if err := json.Unmarshal(line, &l); err != nil || l.File == "" {
				return Copy{}, damaged("a file in it cannot be read")
			}
			c.Files = append(c.Files, File{l.File, l.Text})
			files--
		default:
			var end endLine
			if line[0] == '{' && json.Unmarshal(line, &end) == nil && end.End != "" {
				if end.End != hex.EncodeToString(sum.Sum(nil)) {
					return Copy{}, damaged("its checksum is another")
				}
				c.Made, c.Build, c.catalog = h.Made, h.Build, io.NewSectionReader(f, begin, at-begin)
				return c, nil
			}
		}
		sum.Write(line)
		at += int64(len(line))
		if files == 0 && begin == 0 {
			begin = at
		}
	}
}

func (h *header) parse(line []byte) error {
	if err := json.Unmarshal(line, h); err != nil || h.Mooring != magic || h.Version < 1 || h.Files < 0 {
		return errkind.New(errkind.Invalid, "this is no copy of a catalog: name the repository that the kit of `mooring self-backup kit` is of")
	}
	if h.Version > version {
		return errkind.New(errkind.Unsupported, "the copy of the catalog was made by a newer mooringd (%s): install that version", h.Build)
	}
	return nil
}

// nextLine is a line with its end. A copy without its last line is damaged.
func nextLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case errors.Is(err, bufio.ErrBufferFull) && len(line) < maxLine:
		case errors.Is(err, bufio.ErrBufferFull):
			return nil, damaged("a line in it never ends")
		case errors.Is(err, io.EOF):
			return nil, damaged("its end is missing")
		default:
			return nil, errkind.Wrap(errkind.Unavailable, err, "the copy of the catalog cannot be read")
		}
	}
}
