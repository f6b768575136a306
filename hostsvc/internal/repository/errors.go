package repository

import "fmt"

func (e *TrackingError) Error() string {
	return fmt.Sprintf("the change tracking did not tell of a change at byte %d", e.Offset)
}
