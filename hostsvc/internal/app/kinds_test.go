package app

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/hostsvc/internal/notify"
)

// What a configuration may choose is what there is to be told.
func TestEventsOfTheConfigurationAreThoseOfTheNotifier(t *testing.T) {
	var kinds []string
	for _, k := range notify.Kinds {
		kinds = append(kinds, string(k))
	}
	assert.ElementsMatch(t, kinds, config.Events)
}
