package backup

import (
	"context"
	"fmt"
	"io"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// reading runs read, which gives content of a point to a person by way of a
// counted writer. A line of the audit log says that it begins, without which
// nothing is given, and another one how much was given.
func (s *Service) reading(ctx context.Context, c volspec.Caller, group, action, object string, w io.Writer, read func(io.Writer) error) error {
	begun := entry(ctx, c, group, action, object)
	begun.Detail = "begun"
	if err := s.o.Store.Update(ctx, func(tx Tx) error { return tx.AddAudit(begun) }); err != nil {
		return errkind.Wrap(errkind.Of(err), err, "nothing was read, because the audit log could not be written")
	}
	counted := &countedWriter{w: w}
	err := read(counted)
	end := entry(ctx, c, group, action, object)
	end.Detail = fmt.Sprintf("%d bytes", counted.n)
	if err != nil {
		end.Outcome = string(errkind.Of(err))
		end.Detail = fmt.Sprintf("cut off after %d bytes: %s", counted.n, errkind.Text(err))
	}
	s.write(ctx, end)
	return err
}

// countedWriter counts what was taken.
type countedWriter struct {
	w io.Writer
	n int64
}

func (c *countedWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}
