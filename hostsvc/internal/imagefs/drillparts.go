package imagefs

import (
	"errors"
	"io"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
)

// whole is the image as its only part.
func (d *drill) whole() part {
	return part{Extent: image.Extent{Length: d.img.Size()}}
}

// recognise finds the filesystems of the image. Of a volume there is one, or
// none if it was never formatted; a disk may hold anything.
func (d *drill) recognise() error {
	if d.o.Disk {
		parts, err := readTable(d.img, d.img.Size())
		if err != nil {
			return err
		}
		if len(parts) > 0 {
			d.parts = parts
		}
	}
	for i := range d.parts {
		p := &d.parts[i]
		if p.holds != "" {
			continue
		}
		if err := d.recognisePart(p); err != nil {
			return err
		}
		if p.sb.Type == "" {
			continue
		}
		if _, err := checker(p.sb.Type); err != nil {
			return err
		}
		if p.name == "" {
			d.report.Filesystem = p.sb.Type
		}
	}
	return nil
}

func (d *drill) recognisePart(p *part) error {
	in := io.NewSectionReader(d.img, p.Offset, p.Length)
	sb, err := readSuper(in, p.Length)
	switch {
	case err == nil && d.o.Disk && sb.Apart:
		p.holds = sb.Type + ", of which a part is on another disk"
		return nil
	case err == nil:
		p.sb = sb
		return nil
	case errors.Is(err, errBlank) && d.o.Disk:
		p.holds = "nothing"
		return nil
	case errors.Is(err, errBlank):
		p.holds = "nothing: the volume was never formatted"
		return nil
	case d.o.Disk && errkind.Is(err, errkind.Invalid):
		p.holds, err = holdsElse(in, p.Length)
	}
	return err
}

// onScratch is the part of the scratch file that is looked at.
func (d *drill) onScratch() readWriterAt { return ranged{d.file, d.now.Offset} }

// ranged is what begins at a byte of something.
type ranged struct {
	readWriterAt
	start int64
}

func (r ranged) ReadAt(b []byte, at int64) (int, error) { return r.readWriterAt.ReadAt(b, r.start+at) }

func (r ranged) WriteAt(b []byte, at int64) (int, error) {
	return r.readWriterAt.WriteAt(b, r.start+at)
}
