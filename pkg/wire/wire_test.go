package wire

import (
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/volspec"
)

// bodies are all messages.
var bodies = []any{
	Problem{}, Hello{}, CreateVolume{}, Volume{}, VolumeList{}, Attach{}, Attachment{}, Detach{}, SetFormat{}, Heartbeat{}, VolumeUse{},
	HeartbeatReply{}, VMGroup{}, VM{}, Access{}, CreateVMGroup{}, UpdateVMGroup{}, VMList{}, SetAccess{}, Datastore{}, Scan{}, ScanResult{},
	ScanItem{}, SetVolume{}, Resize{}, CreateSnapshot{}, Snapshot{}, DetachVolume{}, Undelete{}, Status{}, Finding{}, AuditEntry{}, Message{},
}

// Field names are part of the protocol: snake case, given for every field,
// never twice in one message.
func TestFieldNames(t *testing.T) {
	word := regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	for _, b := range bodies {
		typ := reflect.TypeOf(b)
		seen := map[string]bool{}
		for field := range typ.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			assert.Regexp(t, word, name, "%s.%s", typ.Name(), field.Name)
			assert.False(t, seen[name], "%s has %q twice", typ.Name(), name)
			seen[name] = true
		}
	}
}

// The messages of a guest have nothing to say about whose they are.
func TestGuestRequestsNameNobody(t *testing.T) {
	for _, b := range []any{CreateVolume{}, Attach{}, Detach{}, SetFormat{}, Heartbeat{}, VolumeUse{}} {
		typ := reflect.TypeOf(b)
		for field := range typ.Fields() {
			name := field.Tag.Get("json")
			assert.NotRegexp(t, `(?i)vm|group|tenant|caller|admin`, name, typ.Name())
		}
	}
}

// The bytes of two messages that both ends must agree on, for ever.
func TestExamples(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)
	for want, in := range map[string]any{
		`{"id":"i","name":"v@ds","volume":"v","datastore":"ds","vmgroup":"g","state":"ready","format":"formatted","size_bytes":104857600,"used_bytes":1,` +
			`"fs_bytes":2,"fs_note":"","spec":{"size":"100mb","fstype":"ext4","uid":0,"mode":493},"clone_from":"","created":"2026-11-22T09:30:00Z","created_by":"vm",` +
			`"attached_to":"","attach_state":"detached","epoch":3,"serial":"s","snapshots":0,"health":"ok"}`: Volume{
			ID: "i", Name: "v@ds", Volume: "v", Datastore: "ds", VMGroup: "g", State: volspec.Ready, Format: volspec.Formatted, SizeBytes: 104857600,
			UsedBytes: 1, FSBytes: 2, Spec: volspec.Spec{Size: 100 * volspec.MiB, FSType: "ext4", UID: new(0), Mode: new(uint32(0o755))},
			Created: at, CreatedBy: "vm", AttachState: "detached", Epoch: 3, Serial: "s", Health: "ok",
		},
		`{"datastore":"ds","allow_create":false,"max_size":"0b","total_size":"10gb","default_datastore":true}`: SetAccess{
			Datastore: "ds", AllowCreate: new(false), MaxSize: new(volspec.Size(0)), TotalSize: new(10 * volspec.GiB), DefaultDatastore: true,
		},
		`{"datastore":"ds"}`:   SetAccess{Datastore: "ds"},
		`{}`:                   UpdateVMGroup{},
		`{"description":""}`:   UpdateVMGroup{Description: new("")},
		`{"mountopts":[]}`:     SetVolume{MountOpts: &[]string{}},
		`{"volumes":null}`:     VolumeList{},
		`{"attachments":null}`: HeartbeatReply{},
	} {
		got, err := json.Marshal(in)
		require.NoError(t, err)
		assert.JSONEq(t, want, string(got))
		back := reflect.New(reflect.TypeOf(in))
		require.NoError(t, json.Unmarshal(got, back.Interface()))
		assert.Equal(t, in, back.Elem().Interface(), "reads back")
	}
}

// Whatever a peer sends is refused or understood, and what was understood
// means the same when it is sent on.
func FuzzBodies(f *testing.F) {
	for _, s := range []string{
		`{}`, `null`, `[]`, `{"size":"1gb"}`, `{"size":"0b"}`, `{"name":"a","options":{"size":"1gb"}}`, `{"epoch":9223372036854775807}`,
		`{"max_size":"64pb","total_size":null}`, `{"created":"2026-11-22T09:30:00.123456789+01:00"}`, `{"spec":{"uid":-1,"mkfsopts":null}}`,
		`{"uses":[{"id":"x"},{}]}`, "{\"name\":\"\xff\"}", `{"NAME":"a"}`, `{"name":"a","name":"b"}`, `{"counts":{"":1}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, b := range bodies {
			typ := reflect.TypeOf(b)
			first := reflect.New(typ)
			if json.Unmarshal(data, first.Interface()) != nil {
				continue
			}
			sent, err := json.Marshal(first.Interface())
			if err != nil {
				t.Fatalf("%s: understood %q, cannot send it: %v", typ.Name(), data, err)
			}
			second := reflect.New(typ)
			if err := json.Unmarshal(sent, second.Interface()); err != nil {
				t.Fatalf("%s: %q became %q: %v", typ.Name(), data, sent, err)
			}
			again, err := json.Marshal(second.Interface())
			if err != nil || string(again) != string(sent) {
				t.Fatalf("%s: %q became %q became %q: %v", typ.Name(), data, sent, again, err)
			}
		}
	})
}
