package hypervisortest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// toOthers are sentences that ask something of the caller or of the reader,
// or explain a word; no implementation can be tested for them.
var toOthers = []string{
	"is the contract between Mooring",
	"are the specification",
	"Ref names a disk.",
	"Disk is what is known",
	"Hypervisor is everything",
	"Disks makes, finds",
	"Snapshotter is optional",
	"Imager is optional",
	"Moments is optional",
	"Where it is to be had no snapshot has to be kept",
	"The caller knows whether the disk was enlarged since",
	"Metadata keeps a small record",
	"Its content belongs to the caller.",
	"Power is a VM's power state.",
	"Unknown is for a hypervisor that does not answer",
	"VM is one virtual machine.",
	"Device is an attached disk.",
	"Machines knows the VMs",
	"DatastoreState says what",
	"Offline includes a place",
	"Datastore is a place for disks.",
	"Datastores knows the datastores.",
	"Event is something",
	"Watcher is optional",
	"A hypervisor without it is polled.",
	"Missed events are not replayed",
	"As finds an optional ability",
	"GuestInfo is optional",
	"It shows small texts to programs inside a VM",
	"Every program in the VM may read them",
	"MachineDisk is one disk of a VM.",
	"MachineSnapshot is one moment of a VM.",
	"MachineSnapshotRef names a snapshot",
	"MachineBuild is a VM to be made.",
	"MachineImager is optional",
	"It pins the volumes that are attached until it is deleted",
	"The caller keeps the snapshot until it has closed the image.",
	"Other services may use the same hypervisor: the caller knows its own by their ids.",
	"Adopter is optional",
	"Folders is optional",
	"Without it datastores need no adoption.",
	"It is for names that were never used before.",
}

// elsewhere are sentences that need a world this suite does not build. They
// are tested beside the implementations that the words concern.
var elsewhere = map[string]string{
	"A call that a crash interrupted":                "local, faulty: killed at every call",
	"Ids are made of letters, digits and dashes":     "Ref: groups never collide",
	"Absent: not-found.":                             "Stat and Grow",
	"Cannot be done: in-use, with the remedy.":       "local: a kernel that refuses",
	"A datastore that was never adopted":             "local",
	"Adopt marks the place":                          "local",
	"Repeated, or a place that bears a mark already": "local",
	"A place with disks but without a mark: exists.": "local",
	"Unreachable or read-only: unavailable.":         "local",
}

func TestEverySentenceOfTheContractIsChecked(t *testing.T) {
	said := contractSentences(t)
	quoted := map[string]bool{}
	for _, s := range sentences() {
		assert.Contains(t, said, s.text, "%s: the suite quotes what the contract does not say", s.in)
		quoted[s.text] = true
	}
next:
	for s := range said {
		if quoted[s] {
			continue
		}
		for _, p := range toOthers {
			if strings.Contains(s, p) {
				continue next
			}
		}
		for p := range elsewhere {
			if strings.Contains(s, p) {
				continue next
			}
		}
		assert.Fail(t, "the contract says what the suite does not check", s)
	}
}

// contractSentences are all sentences of all comments on declarations and
// methods of the contract.
func contractSentences(t *testing.T) map[string]bool {
	said := map[string]bool{}
	for _, name := range []string{"../hypervisor.go", "../image.go", "../moments.go", "../guestinfo.go", "../machineimage.go", "../folders.go"} {
		sentencesOf(t, name, said)
	}
	require.Greater(t, len(said), 60)
	return said
}

func sentencesOf(t *testing.T, name string, said map[string]bool) {
	f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
	require.NoError(t, err)
	docs := []*ast.CommentGroup{f.Doc}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GenDecl:
			docs = append(docs, n.Doc)
		case *ast.FuncDecl:
			docs = append(docs, n.Doc)
		case *ast.InterfaceType:
			for _, m := range n.Methods.List {
				docs = append(docs, m.Doc)
			}
		}
		return true
	})
	for _, d := range docs {
		text := strings.Join(strings.Fields(d.Text()), " ")
		for _, s := range strings.SplitAfter(text, ". ") {
			if s = strings.TrimSpace(s); s != "" {
				said[s] = true
			}
		}
	}
}
