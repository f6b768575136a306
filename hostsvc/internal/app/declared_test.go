package app

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/assert"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/pkg/secret"
)

// What a configuration says of a repository arrives, every key of it.
func TestADeclaredRepositoryIsWhole(t *testing.T) {
	r := config.Repository{
		Name: "n", Type: "t", Path: "p", Endpoint: "e", Region: "r", Bucket: "b", Prefix: "x", Insecure: true, CAFile: "c", Host: "h", Port: 1, User: "u", HostKey: "k",
	}
	s := secret.New("s")
	got := declaredRepository(r, config.RepositoryCredentials{AccessKey: s, SecretKey: s, SessionToken: s, PrivateKey: s, Password: s})
	assert.Equal(t, "n", got.Name)
	for _, part := range []any{got.Location, got.Credentials} {
		v := reflect.ValueOf(part)
		for i := range v.NumField() {
			assert.False(t, v.Field(i).IsZero(), v.Type().Field(i).Name)
		}
	}
}
