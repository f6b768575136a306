package kopia

import (
	"encoding/json"

	"github.com/kopia/kopia/repo/object"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
)

// record is what is known of a point without reading its image. It is the
// description of the snapshot, so that a list of thousands of points reads
// nothing but manifests. Version 1; fields are only ever added.
type record struct {
	Version int              `json:"mooring"`
	Point   repository.Point `json:"point"`
	// Image is the object of disk.img: see index.go for the layout.
	Image   string `json:"image"`
	Block   int64  `json:"block"`
	Segment int64  `json:"segment"`
}

const recordVersion = 1

// Names in the folder of a snapshot.
const (
	imageName = "disk.img"
	pointName = "point.json"
)

// pointFile is point.json.
type pointFile struct {
	Version int              `json:"mooring"`
	Point   repository.Point `json:"point"`
}

// pointTag is the label that carries a point's id, in the form of kopia's tags.
const pointTag = "tag:mooring-point"

func (r record) text() (string, error) {
	b, err := json.Marshal(r)
	return string(b), err
}

func parseRecord(text string) (record, error) {
	var r record
	if err := json.Unmarshal([]byte(text), &r); err != nil || r.Version < 1 || r.Point.ID == "" || r.Point.Size <= 0 {
		return r, errkind.New(errkind.Corrupt, "a recovery point's record cannot be understood")
	}
	if r.Version > recordVersion || r.Block != blockSize || r.Segment != segmentSize {
		return r, errkind.New(errkind.Unsupported, "recovery point %s was made by a newer version of Mooring: update this one", r.Point.ID)
	}
	return r, nil
}

// top is the object that holds the index of the image.
func (r record) top() (object.ID, error) {
	id, err := object.ParseID(r.Image)
	if err != nil {
		return id, errIndex
	}
	index, ok := id.IndexObjectID()
	if !ok {
		return id, errIndex
	}
	return index, nil
}
