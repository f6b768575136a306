package wire

import (
	"time"

	"mooring.dev/mooring/pkg/volspec"
)

// SelfBackup tells how the service backs up its own catalog.
type SelfBackup struct {
	Configured bool                 `json:"configured"`
	Place      string               `json:"place,omitempty"`
	Repository volspec.RepositoryID `json:"repository,omitempty"` // "" until the first copy is begun
	Every      string               `json:"every,omitempty"`
	Keep       int                  `json:"keep,omitempty"`
	Next       time.Time            `json:"next,omitzero"`
	Kit        time.Time            `json:"kit_exported,omitzero"` // zero: nobody can recover
	Error      string               `json:"error,omitempty"`       // of the last attempt, or of looking into the place
	Copies     []CatalogCopy        `json:"copies"`                // newest first
}

// CatalogCopy is one copy of the catalog.
type CatalogCopy struct {
	ID      volspec.PointID `json:"id"`
	Created time.Time       `json:"created"`
	Size    int64           `json:"size_bytes"`
	Rows    int64           `json:"rows"`
}
