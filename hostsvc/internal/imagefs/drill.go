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
	// Disk is for the disk of a VM: it may have partitions, and what they hold
	// need not be known here.
	Disk bool
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

// The steps of a drill, in this order. Each stands in the report once; those
// from the journal on once for each partition of a disk.
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
	Part     string // partition of a disk
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
	Parts      []DrillPart    // of a disk
}

// DrillPart is what a drill found on a disk: one partition, or the whole of a
// disk without any.
type DrillPart struct {
	Name       string // "partition 2", "" for the whole disk
	Filesystem string // that was checked, "" for none
	Holds      string // in words, where none was
	Files      int64
}

// Failed is the step that failed, "" for none.
func (r DrillReport) Failed() string {
	for _, s := range r.Steps {
		if s.Result == StepFailed {
			return s.Name + part{name: s.Part}.of()
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
	total  int64  // bytes of data
	parts  []part // of a volume it is one
	now    *part  // whose filesystem is looked at
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
// passes without the steps that need a filesystem; they are marked skipped. So
// are those of partitions of a disk that hold something else.
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
	d.parts = []part{d.whole()}
	for _, s := range []struct {
		name string
		do   func(context.Context) (string, error)
	}{{StepPrepare, d.prepare}, {StepRestore, d.restore}, {StepCompare, d.compare}} {
		if err != nil {
			d.skip(s.name, part{}, earlier)
		} else {
			err = d.step(ctx, s.name, part{}, s.do)
		}
	}
	for i := range d.parts {
		d.now = &d.parts[i]
		err = d.files(ctx, err)
	}
	for _, p := range d.parts {
		if o.Disk {
			r.Parts = append(r.Parts, DrillPart{p.name, p.sb.Type, p.holds, p.files})
		}
	}
	return r, errors.Join(err, d.step(context.WithoutCancel(ctx), StepClean, part{}, d.clean))
}

const earlier = "an earlier step failed"

// files does the steps that need a filesystem, unless failed is that of one
// before them.
func (d *drill) files(ctx context.Context, failed error) error {
	for _, s := range []struct {
		name string
		do   func(context.Context) (string, error)
	}{{StepJournal, d.journal}, {StepCheck, d.check}, {StepMount, d.mount}, {StepRead, d.read}} {
		switch {
		case failed != nil:
			d.skip(s.name, *d.now, earlier)
		case d.now.sb.Type == "":
			d.skip(s.name, *d.now, "it holds "+d.now.holds)
		default:
			failed = d.step(ctx, s.name, *d.now, s.do)
		}
	}
	return failed
}

func (d *drill) skip(name string, p part, why string) {
	d.report.Steps = append(d.report.Steps, DrillStep{Name: name, Part: p.name, Result: StepSkipped, Detail: why})
}

// step does one step and reports it.
func (d *drill) step(ctx context.Context, name string, p part, do func(context.Context) (string, error)) error {
	d.pace.begin(d.o.Report, name)
	start := time.Now()
	detail, err := do(ctx)
	s := DrillStep{Name: name, Part: p.name, Result: StepOK, Duration: time.Since(start), Detail: detail}
	if err != nil {
		if ctx.Err() != nil {
			err = errkind.Wrap(errkind.Unavailable, context.Cause(ctx), "it was stopped")
		}
		s.Result, s.Detail = StepFailed, err.Error()
		err = errkind.Wrap(errkind.Of(err), err, "restore drill, step %q%s", name, p.of())
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
	if err := d.recognise(); err != nil {
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
	if d.now.sb.Type == volspec.Btrfs {
		if err := disguise(d.onScratch(), d.now.Length); err != nil {
			return "", err
		}
	}
	dirty := d.now.sb.Dirty
	if d.now.sb.Type == volspec.XFS {
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

func (d *drill) check(ctx context.Context) (_ string, err error) {
	c, err := checker(d.now.sb.Type)
	if err != nil {
		return "", err
	}
	if err := d.file.Sync(); err != nil {
		return "", fail(err, "writing the scratch file")
	}
	at := d.file.Name()
	if d.now.name != "" {
		if d.loop, err = bindRange(d.file, true, d.label, d.now.Extent); err != nil {
			return "", fail(err, "making a loop device")
		}
		defer func() { err = errors.Join(err, d.unmount(ctx)) }()
		at = d.loop.path()
	}
	return c.name + ": no errors", c.run(ctx, at)
}

func (d *drill) mount(ctx context.Context) (string, error) {
	if err := d.mountOn(true); err != nil {
		return "", fail(errors.Join(err, d.unmount(ctx)), "mounting the restored filesystem")
	}
	return "mounted read-only", nil
}

// mountOn puts the scratch file on a loop device and mounts it.
func (d *drill) mountOn(readOnly bool) (err error) {
	if d.loop, err = bindRange(d.file, readOnly, d.label, d.now.Extent); err != nil {
		return fail(err, "making a loop device")
	}
	d.tree, err = mount(d.loop.path(), d.now.sb.Type, readOnly)
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
