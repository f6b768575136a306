package app

import (
	"context"

	sd "github.com/coreos/go-systemd/v22/daemon"

	"mooring.dev/mooring/pkg/log"
)

// What the service manager is told.
const (
	notifyReady     = sd.SdNotifyReady
	notifyReloading = sd.SdNotifyReloading
	notifyStopping  = sd.SdNotifyStopping
)

// sdNotify tells the service manager, if there is one, about a change of state.
func sdNotify(ctx context.Context, state string) {
	if _, err := sd.SdNotify(false, state); err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Warn("service manager was not told")
	}
}
