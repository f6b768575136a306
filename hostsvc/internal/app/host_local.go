package app

import (
	"mooring.dev/mooring/config"
	"mooring.dev/mooring/pkg/errkind"
)

func newHost(cfg config.Config) (host, error) {
	return nil, errkind.New(errkind.Unsupported, "hypervisor %q is not built in", cfg.Hypervisor)
}
