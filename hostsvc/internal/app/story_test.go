package app_test

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/wire"
)

var anyUUID = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// TestTwoTeams plays the story of two teams that share a datastore: the
// commands as their documentation has them, on the real daemon with the real
// command, against testdata/two-teams.txt.
func TestTwoTeams(t *testing.T) {
	vms := []string{"Photon1", "Photon2", "Photon3", "Photon4", "Photon5", "Photon6"}
	p := newProcess(t, vms, "")
	p.start(t)
	var story strings.Builder
	say := func(args ...string) {
		out, code := p.mooring(t.Context(), args...)
		fmt.Fprintf(&story, "# mooring %s\n%s", strings.Join(args, " "), anyUUID.ReplaceAllStringFunc(out, func(id string) string {
			if id == "11111111-1111-1111-1111-111111111111" {
				return id
			}
			return "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
		}))
		if code != 0 {
			fmt.Fprintf(&story, "[exit %d]\n", code)
		}
		story.WriteByte('\n')
	}
	create := func(vm, name, size string) {
		fmt.Fprintf(&story, "%s# docker volume create --name=%s --driver=vsphere -o size=%s\n", vm, name, size)
		_, err := p.guest(t, vm).Create(context.Background(), wire.CreateVolume{Name: name, Options: map[string]string{"size": size}})
		if err != nil {
			name = regexp.MustCompile(` \(request [0-9a-f]+\)`).ReplaceAllString(err.Error(), "")
		}
		fmt.Fprintf(&story, "%s\n\n", name)
	}

	say("vmgroup", "ls")
	say("vmgroup", "create", "--name=Product1Dev")
	say("vmgroup", "create", "--name=Product1Test")
	say("vmgroup", "rm", "--name=_DEFAULT")
	say("vmgroup", "ls")
	say("vmgroup", "vm", "add", "--vm-list=Photon1,Photon2,Photon3", "--name=Product1Dev")
	say("vmgroup", "vm", "add", "--vm-list=Photon4,Photon5,Photon6", "--name=Product1Test")
	say("vmgroup", "ls")
	say("vmgroup", "access", "add", "--name=Product1Dev", "--datastore=datastore3", "--allow-create", "--default-datastore", "--volume-maxsize=1GB", "--volume-totalsize=20GB")
	say("vmgroup", "access", "add", "--name=Product1Test", "--datastore=datastore3", "--allow-create", "--default-datastore", "--volume-maxsize=1GB", "--volume-totalsize=40GB")
	say("vmgroup", "access", "ls", "--name", "Product1Dev")
	say("vmgroup", "access", "ls", "--name", "Product1Test")
	create("Photon4", "MyVolume", "2GB")
	create("Photon4", "MyVolume@datastore1", "2GB")
	create("Photon4", "MyVolume", "1GB")
	create("Photon1", "MyVolume", "1GB")
	say("vmgroup", "create", "--name=Product1Dev")
	say("vmgroup", "rm", "--name=Product1Test")
	say("vmgroup", "rm", "--name=NoSuch")

	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.WriteFile("testdata/two-teams.txt", []byte(story.String()), 0o644))
	}
	want, err := os.ReadFile("testdata/two-teams.txt")
	require.NoError(t, err)
	assert.Equal(t, string(want), story.String())
}
