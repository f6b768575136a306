package app

import "mooring.dev/mooring/plugin/internal/disk"

// Guard is the life of a process that the plugin starts to hold a frozen
// filesystem, see package disk: args are the arguments of the process, isGuard
// is false when they are those of anything else. It comes before settings,
// logs and everything that could fail.
func Guard(args []string) (code int, isGuard bool) {
	if len(args) == 0 || args[0] != disk.GuardWord {
		return 0, false
	}
	return disk.RunGuard(args[1:]), true
}
