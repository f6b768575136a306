package vcenter

import (
	"context"
	"time"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vslm"
	vslmtypes "github.com/vmware/govmomi/vslm/types"

	"mooring.dev/mooring/pkg/errkind"
)

// Tasks are looked at, soon at first, then ever less often: what is asked
// survives a lost connection and a new session, which a collector's filter
// does not.
const (
	firstLook = 10 * time.Millisecond
	lastLook  = time.Second
	// busyWait is how long is waited between attempts while the object has
	// another task.
	busyWait = 200 * time.Millisecond
)

// Task starts a task and waits for its end. While the object is busy with
// another one the start is repeated. What became of a task that vCenter has
// forgotten is unavailable: it may have been done. When ctx ends the task goes
// on.
func (c *Client) Task(ctx context.Context, what string, start func(ctx context.Context, vc *vim25.Client) (types.ManagedObjectReference, error)) (*types.TaskInfo, error) {
	return c.task(ctx, what, func(ctx context.Context, s *conn) (types.ManagedObjectReference, error) { return start(ctx, s.vim) })
}

func (c *Client) task(ctx context.Context, what string, start func(ctx context.Context, s *conn) (types.ManagedObjectReference, error)) (*types.TaskInfo, error) {
	for wait := busyWait; ; wait = min(2*wait, 5*time.Second) {
		var ref types.ManagedObjectReference
		err := c.in(ctx, what, func(ctx context.Context, s *conn) (err error) {
			ref, err = start(ctx, s)
			return err
		})
		var info *types.TaskInfo
		if err == nil {
			info, err = c.finish(ctx, what, ref)
		}
		if !Is[*types.TaskInProgress](err) || !pause(ctx, wait) {
			return info, err
		}
	}
}

func (c *Client) finish(ctx context.Context, what string, ref types.ManagedObjectReference) (*types.TaskInfo, error) {
	for wait := firstLook; ; wait = min(2*wait, lastLook) {
		var t mo.Task
		err := c.Read(ctx, what, func(ctx context.Context, vc *vim25.Client) error {
			return property.DefaultCollector(vc).RetrieveOne(ctx, ref, []string{"info"}, &t)
		})
		switch {
		case Is[*types.ManagedObjectNotFound](err):
			return nil, errkind.Wrap(errkind.Unavailable, &lost{err}, "%s: vCenter forgot the task; repeat it", what)
		case Lost(err) && ctx.Err() == nil:
			// It goes on without us; it is found again when vCenter is.
		case err != nil:
			return nil, err
		case t.Info.State == types.TaskInfoStateSuccess:
			return &t.Info, nil
		case t.Info.State == types.TaskInfoStateError:
			return nil, Translate(soap.WrapVimFault(taskFault(t.Info.Error)), what)
		}
		if !pause(ctx, wait) {
			return nil, Translate(context.Cause(ctx), what)
		}
	}
}

// taskFault keeps the words of the server with the fault.
func taskFault(f *types.LocalizedMethodFault) types.BaseMethodFault {
	if f == nil || f.Fault == nil {
		return &types.SystemError{Reason: "a task failed without a reason"}
	}
	return f.Fault
}

// VSLMTask is Task for the service for first-class disks, whose tasks are its
// own.
func (c *Client) VSLMTask(ctx context.Context, what string, start func(ctx context.Context, vs *vslm.Client) (*vslm.Task, error)) (*vslmtypes.VslmTaskInfo, error) {
	for wait := busyWait; ; wait = min(2*wait, 5*time.Second) {
		var task *vslm.Task
		err := c.WithVSLM(ctx, what, func(ctx context.Context, vs *vslm.Client) (err error) {
			task, err = start(ctx, vs)
			return err
		})
		var info *vslmtypes.VslmTaskInfo
		if err == nil {
			info, err = c.finishVSLM(ctx, what, task.ManagedObjectReference)
		}
		if !Is[*types.TaskInProgress](err) || !pause(ctx, wait) {
			return info, err
		}
	}
}

func (c *Client) finishVSLM(ctx context.Context, what string, ref types.ManagedObjectReference) (*vslmtypes.VslmTaskInfo, error) {
	for wait := firstLook; ; wait = min(2*wait, lastLook) {
		var info *vslmtypes.VslmTaskInfo
		err := c.again(ctx, func() error {
			return c.WithVSLM(ctx, what, func(ctx context.Context, vs *vslm.Client) (err error) {
				info, err = vslm.NewTask(vs, ref).QueryInfo(ctx)
				return err
			})
		})
		switch {
		case Is[*types.ManagedObjectNotFound](err):
			return nil, errkind.Wrap(errkind.Unavailable, &lost{err}, "%s: vCenter forgot the task; repeat it", what)
		case Lost(err) && ctx.Err() == nil:
		case err != nil:
			return nil, err
		case info.State == vslmtypes.VslmTaskInfoStateSuccess:
			return info, nil
		case info.State == vslmtypes.VslmTaskInfoStateError:
			return nil, Translate(soap.WrapVimFault(taskFault(info.Error)), what)
		}
		if !pause(ctx, wait) {
			return nil, Translate(context.Cause(ctx), what)
		}
	}
}

// pause is false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
