package cbt

import (
	"errors"
	"strings"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/pkg/errkind"
)

// Explain gives the error of a query its meaning. Tracking that cannot answer
// is unsupported with the reason: the whole disk is read instead. A question
// that was wrong is internal. Everything else is as it was: it may pass.
func Explain(err error) error {
	if err == nil {
		return nil
	}
	switch text := words(err); {
	case strings.Contains(text, "cbt.notrack"):
		return cannot("changes of the disk are not tracked")
	case strings.Contains(text, "cbt.noepoch"):
		return cannot("tracking was begun anew after the older snapshot")
	case strings.Contains(text, "cbt.cannotgetchanges"):
		return cannot("tracking does not know the older snapshot: it was reset, or the disk was put back to an earlier state")
	case strings.Contains(text, "cbt.") && strings.Contains(text, "corrupt"):
		return cannot("what tracking has recorded is damaged")
	}
	var a *types.InvalidArgument
	if _, ok := fault.As(err, &a); !ok {
		return err
	}
	switch property := strings.ToLower(a.InvalidProperty); {
	case strings.Contains(property, "changeid"):
		return cannot("tracking does not know the older snapshot")
	case strings.Contains(property, "startoffset"), strings.Contains(property, "snapshot"), strings.Contains(property, "devicekey"):
		return errkind.Wrap(errkind.Internal, err, "changed areas were asked for wrongly (%s)", a.InvalidProperty)
	}
	return err
}

// words are all that a fault and its causes say, in lower case: the keys of
// messages, and the texts of servers that send no keys.
func words(err error) string {
	var b strings.Builder
	for e := err; e != nil; e = errors.Unwrap(e) {
		b.WriteString(e.Error() + "\n")
	}
	fault.In(err, func(_ types.BaseMethodFault, localized string, messages []types.LocalizableMessage) bool {
		b.WriteString(localized + "\n")
		for _, m := range messages {
			b.WriteString(m.Key + "\n" + m.Message + "\n")
		}
		return false
	})
	return strings.ToLower(b.String())
}
