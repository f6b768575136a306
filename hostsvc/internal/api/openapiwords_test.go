package api

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

var idempotencyKey = object{
	"name": wire.HeaderIdempotency, "in": "header", "schema": object{"type": "string"},
	"description": "any text: the same key with the same request within a day does the work once and gives the same answer",
}

var securitySchemes = object{
	"token":   object{"type": "http", "scheme": "bearer", "description": "a token, made in the portal, by mooring login or in a session"},
	"session": object{"type": "apiKey", "in": "cookie", "name": SessionCookie, "description": "what POST /login sets"},
	"csrf":    object{"type": "apiKey", "in": "header", "name": wire.HeaderCSRF, "description": "the csrf of the session, beside its cookie"},
}

// examples are bodies of requests that programs begin with.
var examples = map[reflect.Type]any{
	typeOf[wire.Login](): wire.Login{Tenant: "Dev", User: "jo", Password: "correct horse battery"},
	typeOf[wire.CreateTenant](): wire.CreateTenant{
		CreateVMGroup: wire.CreateVMGroup{Name: "Dev", Description: "developers", VMs: []string{"docker1"}},
		Profile:       wire.Profile{Email: "dev@example.com", Labels: []string{"gold"}},
		Allowance:     &wire.Amounts{Volumes: new(int64(20)), Storage: new(int64(100 << 30))},
		Admin:         &wire.CreateUser{Name: "jo", Role: volspec.TenantAdmin},
	},
	typeOf[wire.CreateUser]():  wire.CreateUser{Name: "jo", Role: volspec.Operator, Email: "jo@example.com"},
	typeOf[wire.CreateToken](): wire.CreateToken{Name: "nightly report", Scope: "backup.read vmgroup.read", Days: 30},
	typeOf[wire.RunBackup]():   wire.RunBackup{Volumes: []string{"db"}, Repository: "main"},
	typeOf[wire.RunRestore]():  wire.RunRestore{Name: "db-restored"},
	typeOf[wire.Amounts]():     wire.Amounts{Sockets: new(int64(2)), Volumes: new(int64(20)), Storage: new(int64(100 << 30))},
}

func byPeople(rows []endpoint) bool {
	return slices.ContainsFunc(rows, func(e endpoint) bool { return e.audience == admins || e.audience == users || e.audience == both })
}

// security is what a caller must show. {} is nothing: a channel that proves who
// calls, or an operation that is open to all.
func security(rows []endpoint) []object {
	none := []string{}
	if !byPeople(rows) {
		return []object{{}}
	}
	e := rows[0]
	session := object{"session": none}
	if e.method != http.MethodGet {
		session["csrf"] = none
	}
	if slices.Contains(Permissions(), string(e.permission)) {
		return []object{{"token": none}, session, {}}
	}
	return []object{session, {}}
}

// tag is what an operation is about.
func tag(e endpoint) string {
	first, rest, _ := strings.Cut(e.path[1:], "/")
	if _, rest, _ = strings.Cut(rest, "/"); first == "vmgroups" && rest != "" {
		first, _, _ = strings.Cut(rest, "/")
	}
	return first
}

// operationID is a method with the words of its path; a variable makes one thing of
// a list: GET /vmgroups/{vmgroup}/users/{user} is getVmgroupUser.
func operationID(e endpoint) string {
	words := []string{strings.ToLower(e.method)}
	for segment := range strings.SplitSeq(e.path[1:], "/") {
		last := len(words) - 1
		name, is := variable(segment)
		switch plural := words[last]; {
		case !is:
			for part := range strings.SplitSeq(strings.TrimSuffix(segment, ".json"), "-") {
				words = append(words, strings.ToUpper(part[:1])+part[1:])
			}
		case strings.HasSuffix(plural, "ies"):
			words[last] = strings.TrimSuffix(plural, "ies") + "y"
		case strings.HasSuffix(plural, "ss"): // not a list of what the variable names
			words = append(words, strings.ToUpper(name[:1])+name[1:])
		default:
			words[last] = strings.TrimSuffix(plural, "s")
		}
	}
	return strings.Join(words, "")
}

func TestOperationIDs(t *testing.T) {
	of := map[string]string{}
	for _, rows := range byName() {
		id := operationID(rows[0])
		assert.Empty(t, of[id], "%s and %s", of[id], rows[0].name())
		assert.Regexp(t, "^[a-z]+([A-Z][a-z]+)+$", id)
		of[id] = rows[0].name()
	}
	assert.Equal(t, "GET /vmgroups/{vmgroup}/users/{user}", of["getVmgroupUser"])
	assert.Equal(t, "DELETE /vmgroups/{vmgroup}/access/{datastore}", of["deleteVmgroupAccessDatastore"])
	assert.Equal(t, "GET /repositories", of["getRepositories"])
}
