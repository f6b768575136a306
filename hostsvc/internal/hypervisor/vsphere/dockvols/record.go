package dockvols

import (
	"bytes"
	"encoding/json"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// maxSide bounds what is read of a metadata file, which is padded to 4 KiB.
const maxSide = 64 << 10

// side is what a metadata file says.
type side struct {
	Status         string            `json:"status"` // attached or detached
	Created        string            `json:"created"`
	CreatedBy      string            `json:"created-by"`
	AttachedVMName string            `json:"attachedVMName"`
	Options        map[string]string `json:"volOpts"`
}

// parseSide reads a metadata file: JSON with blanks or zero bytes behind it.
func parseSide(data []byte) (side, error) {
	var raw struct {
		side
		Options map[string]any `json:"volOpts"`
	}
	data = bytes.TrimRight(data, " \t\r\n\x00")
	if err := json.Unmarshal(data, &raw); err != nil {
		return side{}, errkind.New(errkind.Corrupt, "its metadata is not readable: %v", err)
	}
	s := raw.side
	s.Options = map[string]string{}
	for k, v := range raw.Options {
		if text, ok := v.(string); ok && text != "" && text != "None" {
			s.Options[k] = text
		}
	}
	return s, nil
}

// created is when the volume was made: its text is that of C's asctime, in UTC.
func (s side) created() time.Time {
	t, err := time.Parse(time.ANSIC, s.Created)
	if err != nil {
		return time.Time{}
	}
	return t
}

// spec is what the options say; those that mean nothing to us are left out,
// and named.
func (s side) spec(size volspec.Size) (spec volspec.Spec, left []string) {
	for _, name := range []string{"fstype", "diskformat", "access", "attach-as"} {
		value, ok := s.Options[name]
		if !ok {
			continue
		}
		one, err := volspec.ParseOptions(map[string]string{name: value})
		if err != nil {
			left = append(left, name+"="+value)
			continue
		}
		switch name {
		case "fstype":
			spec.FSType = one.FSType
		case "diskformat":
			spec.DiskFormat = one.DiskFormat
		case "access":
			spec.Access = one.Access
		case "attach-as":
			spec.AttachAs = one.AttachAs
		}
	}
	if policy := s.Options["vsan-policy-name"]; policy != "" && policy != "[VSAN default]" {
		left = append(left, "vsan-policy-name="+policy)
	}
	spec.Size = size
	return spec.Defaulted(), left
}
