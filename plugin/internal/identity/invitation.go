package identity

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/invite"
	"mooring.dev/mooring/pkg/secret"
)

// File reads invitations from a file that only its owner may read: the code
// alone, or what the hypervisor has for the VM.
func File(path string) func(context.Context) (invite.Invitation, error) {
	return func(context.Context) (invite.Invitation, error) {
		text, err := secret.ReadFile(path, "the code for enrolling")
		if err != nil {
			return invite.Invitation{}, err
		}
		return invite.Read([]byte(text.Reveal()))
	}
}

// The program of VMware's guest tools that asks the hypervisor, and how long
// it may take.
const (
	rpcTool     = "vmware-rpctool"
	rpcToolTime = 10 * time.Second
)

// GuestInfo reads invitations that vSphere has for the VM, with VMware's guest
// tools.
func GuestInfo(ctx context.Context) (invite.Invitation, error) {
	path, err := exec.LookPath(rpcTool)
	if err != nil {
		return invite.Invitation{}, errkind.New(errkind.Unsupported, "%s is not here to ask the hypervisor: let the VM itself write what %s prints to a file, and name that in MOORING_ENROLL", rpcTool, "'info-get guestinfo."+invite.Key+"'")
	}
	ctx, cancel := context.WithTimeout(ctx, rpcToolTime)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "info-get guestinfo."+invite.Key).Output()
	if _, failed := errors.AsType[*exec.ExitError](err); failed || err == nil && strings.TrimSpace(string(out)) == "" {
		return invite.Invitation{}, errkind.New(errkind.NotFound, "the hypervisor has no invitation for this VM")
	}
	if err != nil {
		return invite.Invitation{}, errkind.Wrap(errkind.Unavailable, err, "ask the hypervisor for an invitation")
	}
	return invite.Read(out)
}
