package imagefs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// DrillOptions of Drill.
type DrillOptions struct {
	// Dir is a private folder for scratch files, as in Options. It needs room for
	// the data of the image.
	Dir string
	// Name is for people who look at loop devices.
	Name string
	// Streams is how many blocks are worked on at a time; 0: 4.
	Streams int
	// Reserve is how many bytes must stay free in Dir; 0: 256 MiB.
	Reserve int64
	// ReadLimit is how many bytes of contents of files are read; 0: all of them,
	// below 0: none.
	ReadLimit int64
	// Report is told of progress, from any goroutine, at most a few times a second.
	Report func(DrillProgress)
}

// DrillProgress says how far a drill is. Total is 0 while it is not known.
type DrillProgress struct {
	Step        string
	Done, Total int64
}

// The steps of a drill, in this order. Each stands in the report once.
const (
	StepPrepare = "prepare" // is there room, are there tools
	StepRestore = "restore" // to a sparse scratch file
	StepCompare = "compare" // what was written with what was read
	StepJournal = "journal" // replayed on the scratch file, if it has to be
	StepCheck   = "check"   // the filesystem, by its own tool
	StepMount   = "mount"
	StepRead    = "read" // the tree, and contents
	StepClean   = "clean"
)

// Results of steps.
const (
	StepOK      = "ok"
	StepFailed  = "failed"
	StepSkipped = "skipped"
)

// DrillStep is what became of one step.
type DrillStep struct {
	Name     string
	Result   string
	Duration time.Duration
	Detail   string // what was found, or why it failed or was skipped
}

// DrillReport is what a drill found.
type DrillReport struct {
	Steps      []DrillStep
	Filesystem string // "": the volume was never formatted
	Replayed   bool   // the journal was not empty
	Restored   int64  // bytes that are not holes
	Compared   int64  // bytes read back and found equal by hash
	Files      int64
	Dirs       int64
	Others     int64
	Read       int64          // bytes of contents of files
	Lost       []image.Extent // of the image, when it could not be read
}

// Failed is the step that failed, "" for none.
func (r DrillReport) Failed() string {
	for _, s := range r.Steps {
		if s.Result == StepFailed {
			return s.Name
		}
	}
	return ""
}

// drill is one that runs.
type drill struct {
	img    image.Image
	o      DrillOptions
	dir    string
	label  string
	report *DrillReport
	total  int64 // bytes of data
	sb     super
	file   *os.File
	blocks []block
	loop   *loop
	tree   *os.File
	pace   pace
}

// Drill proves that an image can be restored: to scratch, byte for byte, with a
// filesystem that its own tool finds in order and that the kernel mounts and
// reads. The image is not changed and stays the caller's. Nothing is left in
// Dir, whatever happens, but by a kill: see Sweep.
//
// The error is that of the first step that failed and names it. Its kind is
// quota without room, unsupported without a tool, and corrupt when the point is
// no good. The steps after it are skipped. A volume that was never formatted
// passes without the steps that need a filesystem; they are marked skipped.
func Drill(ctx context.Context, img image.Image, o DrillOptions) (r DrillReport, err error) {
	dir, err := private(o.Dir)
	if err != nil {
		return r, err
	}
	if o.Streams <= 0 {
		o.Streams = 4
	}
	if o.Reserve == 0 {
		o.Reserve = 256 << 20
	}
	d := &drill{img: img, o: o, dir: dir, label: labelOf(dir, o.Name), report: &r}
	for _, s := range []struct {
		name  string
		files bool // needs a filesystem
		do    func(context.Context) (string, error)
	}{
		{StepPrepare, false, d.prepare},
		{StepRestore, false, d.restore},
		{StepCompare, false, d.compare},
		{StepJournal, true, d.journal},
		{StepCheck, true, d.check},
		{StepMount, true, d.mount},
		{StepRead, true, d.read},
	} {
		switch {
		case err != nil:
			r.Steps = append(r.Steps, DrillStep{Name: s.name, Result: StepSkipped, Detail: "an earlier step failed"})
		case s.files && d.sb.Type == "":
			r.Steps = append(r.Steps, DrillStep{Name: s.name, Result: StepSkipped, Detail: "the volume was never formatted"})
		default:
			err = d.step(ctx, s.name, s.do)
		}
	}
	return r, errors.Join(err, d.step(context.WithoutCancel(ctx), StepClean, d.clean))
}

// step does one step and reports it.
func (d *drill) step(ctx context.Context, name string, do func(context.Context) (string, error)) error {
	d.pace.begin(d.o.Report, name)
	start := time.Now()
	detail, err := do(ctx)
	s := DrillStep{Name: name, Result: StepOK, Duration: time.Since(start), Detail: detail}
	if err != nil {
		if ctx.Err() != nil {
			err = errkind.Wrap(errkind.Unavailable, context.Cause(ctx), "it was stopped")
		}
		s.Result, s.Detail = StepFailed, err.Error()
		err = errkind.Wrap(errkind.Of(err), err, "restore drill, step %q", name)
	}
	d.report.Steps = append(d.report.Steps, s)
	return err
}

func (d *drill) prepare(ctx context.Context) (string, error) {
	for e, err := range d.img.Data(ctx) {
		if err != nil {
			return "", fail(err, "reading which parts of the image hold data")
		}
		d.total += e.Length
	}
	sb, err := readSuper(d.img, d.img.Size())
	switch {
	case err == nil:
		if _, err := checker(sb.Type); err != nil {
			return "", err
		}
		d.sb, d.report.Filesystem = sb, sb.Type
	case !neverFormatted(err):
		return "", err
	}
	free, err := freeIn(d.dir)
	if err != nil {
		return "", fail(err, "looking for room in %s", d.dir)
	}
	if need := d.total + d.o.Reserve; free < need {
		return "", errkind.New(errkind.Quota, "the drill needs %s in %s and there are %s: make room, or choose another folder", volspec.Size(need), d.dir, volspec.Size(free))
	}
	return fmt.Sprintf("%s to restore, %s free", volspec.Size(d.total), volspec.Size(free)), nil
}

// journal replays the journal on the scratch file.
func (d *drill) journal(ctx context.Context) (string, error) {
	if d.sb.Type == volspec.Btrfs {
		if err := disguise(d.file, d.img.Size()); err != nil {
			return "", err
		}
	}
	dirty := d.sb.Dirty
	if d.sb.Type == volspec.XFS {
		err := d.mountOn(true)
		if dirty = readOnlyDevice(err); err != nil && !dirty {
			return "", fail(errors.Join(err, d.unmount(ctx)), "mounting it the first time")
		}
		if err := d.unmount(ctx); err != nil {
			return "", err
		}
	}
	if !dirty {
		return "the filesystem was unmounted or frozen: there is nothing to replay", nil
	}
	d.report.Replayed = true
	err := d.mountOn(false)
	if err = errors.Join(err, d.unmount(ctx)); err != nil {
		return "", fail(err, "replaying the journal")
	}
	return "replayed on the scratch file: the point is from a running machine", nil
}

func (d *drill) check(ctx context.Context) (string, error) {
	c, err := checker(d.sb.Type)
	if err != nil {
		return "", err
	}
	if err := d.file.Sync(); err != nil {
		return "", fail(err, "writing the scratch file")
	}
	return c.name + ": no errors", c.run(ctx, d.file.Name())
}

func (d *drill) mount(ctx context.Context) (string, error) {
	if err := d.mountOn(true); err != nil {
		return "", fail(errors.Join(err, d.unmount(ctx)), "mounting the restored filesystem")
	}
	return "mounted read-only", nil
}

// mountOn puts the scratch file on a loop device and mounts it.
func (d *drill) mountOn(readOnly bool) (err error) {
	if d.loop, err = bind(d.file, readOnly, d.label); err != nil {
		return fail(err, "making a loop device")
	}
	d.tree, err = mount(d.loop.path(), d.sb.Type, readOnly)
	return err
}

func (d *drill) unmount(ctx context.Context) error {
	var err error
	if d.tree != nil {
		err = d.tree.Close()
		d.tree = nil
	}
	if d.loop != nil {
		err = errors.Join(err, d.loop.release(context.WithoutCancel(ctx)))
		d.loop = nil
	}
	return err
}

// clean takes everything away, as far as there is something.
func (d *drill) clean(ctx context.Context) (string, error) {
	err := d.unmount(ctx)
	if d.file != nil {
		err = errors.Join(err, os.Remove(d.file.Name()), d.file.Close())
	}
	return "", fail(err, "removing the scratch file")
}
