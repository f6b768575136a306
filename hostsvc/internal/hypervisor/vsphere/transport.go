package vsphere

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
)

// transport is a way on which the content of disks comes here and gets there.
// One that does not fit says unsupported with the reason, before it has changed
// anything; the next is asked then.
type transport interface {
	fmt.Stringer // as sentences name it
	// open opens a disk for reading.
	open(ctx context.Context, s source) (content, error)
	// send gives a disk the content that was gathered.
	send(ctx context.Context, n blank, s *scratch) error
}

// source is a disk that is read. Nobody writes to it meanwhile.
type source struct {
	what   string // for sentences
	ds     vcenter.Datastore
	file   string // on ds
	size   int64
	ours   bool        // nobody else uses it: a copy, or one that was just made
	frozen *frozenDisk // the disk of a VM's snapshot that it is, if it is one
}

func (s source) at() string { return vcenter.Path(s.ds.Name, s.file) }

// content is a disk that is open for reading.
type content interface {
	reader
	// Close lets the disk go. Nothing is left of what was made for reading it.
	io.Closer
}

// reader reads a disk: all of p, or it fails. It is safe for concurrent use.
type reader interface {
	readAt(ctx context.Context, p []byte, off int64) (int, error)
}

// transports are tried in this order.
func (v *VSphere) transports() []transport {
	all := []transport{overHTTP{v}, overNFC{v}}
	if v.o.Transporter != "" {
		all = slices.Insert(all, 0, transport(overHotAdd{v}))
	}
	return all
}

// openDisk opens a disk on the first transport that fits. None does: unsupported
// with all their reasons.
func (v *VSphere) openDisk(ctx context.Context, s source) (content, error) {
	return onFirst(v.transports(), fmt.Sprintf("%s cannot be read", s.what), func(t transport) (content, error) { return t.open(ctx, s) })
}

// sendTo gives a disk that was just made, and that nobody has, its content, and
// reads it back. Another content is corrupt. What it was sent on may be full by the
// time it is read.
func (v *VSphere) sendTo(ctx context.Context, n blank, s *scratch) error {
	_, err := onFirst(v.transports(), fmt.Sprintf("%s cannot be written", n.what), func(t transport) (transport, error) { return t, t.send(ctx, n, s) })
	if err != nil {
		return err
	}
	ds, file, err := v.placeOf(ctx, n.at)
	if err != nil {
		return err
	}
	written, err := v.openDisk(ctx, source{what: n.what, ds: ds, file: file, size: int64(n.size), ours: true})
	if err != nil {
		return err
	}
	return errors.Join(compare(ctx, written, s, n.what), written.Close())
}

func (v *VSphere) placeOf(ctx context.Context, at string) (ds vcenter.Datastore, file string, err error) {
	name, file, ok := vcenter.SplitPath(at)
	if !ok {
		return ds, "", errkind.New(errkind.Internal, "%q is no place on a datastore", at)
	}
	ds, err = v.inv.Datastore(ctx, name)
	return ds, file, err
}

// onFirst tries all until one fits.
func onFirst[T any](all []transport, cannot string, try func(transport) (T, error)) (T, error) {
	var reasons error
	for _, t := range all {
		done, err := try(t)
		if !errkind.Is(err, errkind.Unsupported) {
			return done, err
		}
		reasons = errors.Join(reasons, fmt.Errorf("%s: %s", t, errkind.Text(err)))
	}
	var none T
	return none, errkind.Wrap(errkind.Unsupported, reasons, "%s", cannot)
}
