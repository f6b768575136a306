// Command step does one thing with a repository in a folder, in a process of
// its own, so that its time, its processor time and its memory can be compared
// with those of other programs. The benchmarks in e2e/bench run it:
//
//	step -state DIR -repository DIR create
//	step ... -image FILE -id ID [-parent ID -changed FILE] write
//	step ... -id ID verify
//	step ... -id ID -image FILE restore
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"
	"time"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/hostsvc/internal/repository/kopia"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// key is no secret: the repository is thrown away.
const key = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

type options struct {
	state, repository, image, id, parent, changed, profile string
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "step:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	var o options
	flag.StringVar(&o.state, "state", "", "folder for locks and indexes")
	flag.StringVar(&o.repository, "repository", "", "folder of the repository")
	flag.StringVar(&o.image, "image", "", "file to store or to restore to")
	flag.StringVar(&o.id, "id", "", "recovery point")
	flag.StringVar(&o.parent, "parent", "", "recovery point whose blocks are taken over")
	flag.StringVar(&o.changed, "changed", "", "file with lines of offset and length; without it everything is read")
	flag.StringVar(&o.profile, "profile", "", "file for a profile of the processor time")
	flag.Parse()
	if o.profile != "" {
		f, err := os.Create(o.profile)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	opener := kopia.New(kopia.Options{Dir: filepath.Join(o.state, "kopia"), Owner: "step"})
	place := repository.Place{Location: repository.Location{Type: repository.Directory, Path: o.repository}}
	if flag.Arg(0) == "create" {
		_, err := opener.Create(ctx, place, key, repository.Identity{ID: "step", Tenant: "step"})
		return err
	}
	r, err := opener.Open(ctx, place, key, "step")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close(ctx)) }()
	switch flag.Arg(0) {
	case "write":
		return o.write(ctx, r)
	case "verify":
		return o.verify(ctx, r)
	case "restore":
		return o.restore(ctx, r)
	}
	return fmt.Errorf("there is no step %q", flag.Arg(0))
}

func (o options) write(ctx context.Context, r repository.Repository) error {
	f, err := os.Open(o.image)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	b := repository.Backup{
		Image: &disk{File: f, size: st.Size()}, Parent: volspec.PointID(o.parent), Sample: 0.01,
		Point: repository.Point{
			ID: volspec.PointID(o.id), Created: time.Now(), Consistency: volspec.CrashConsistent,
			Source: repository.Source{Tenant: "step", TenantName: "step", Volume: "disk", Name: "disk@folder"},
		},
	}
	if o.changed != "" {
		if b.Changed, err = extents(o.changed); err != nil {
			return err
		}
	}
	p, err := r.Write(ctx, b, nil)
	if err == nil {
		fmt.Printf("%d read, %d stored, %s\n", p.Stats.Read, p.Stats.Stored, p.Tracking)
	}
	return err
}

func (o options) verify(ctx context.Context, r repository.Repository) error {
	v, err := r.Verify(ctx, volspec.PointID(o.id), repository.Verify{Mode: repository.Full}, nil)
	if err == nil && v.Lost > 0 {
		err = fmt.Errorf("%d bytes are lost: %s", v.Lost, v.Why)
	}
	return err
}

func (o options) restore(ctx context.Context, r repository.Repository) error {
	m, err := r.Open(ctx, volspec.PointID(o.id))
	if err != nil {
		return err
	}
	defer func() { _ = m.Close() }()
	f, err := os.Create(o.image)
	if err != nil {
		return err
	}
	err = f.Truncate(m.Size())
	if err == nil {
		err = image.Copy(ctx, &disk{File: f, size: m.Size()}, m, image.CopyOptions{})
	}
	return errors.Join(err, f.Close())
}

func extents(path string) (image.Extents, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var all []image.Extent
	for lines := bufio.NewReader(f); ; {
		var e image.Extent
		_, err := fmt.Fscanln(lines, &e.Offset, &e.Length)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, e)
	}
	return func(yield func(image.Extent, error) bool) {
		for _, e := range all {
			if !yield(e, nil) {
				return
			}
		}
	}, nil
}
