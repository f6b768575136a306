package volspec_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

func TestContact(t *testing.T) {
	ok := volspec.Contact{Email: "ops@acme.example", Phone: "+49 30 1234", Website: "https://acme.example", Address: "Hauptstr. 1, Berlin", Labels: []string{"gold", "eu"}}
	for _, c := range []struct {
		change func(*volspec.Contact)
		text   string
	}{
		{func(*volspec.Contact) {}, ""},
		{func(r *volspec.Contact) { *r = volspec.Contact{} }, ""},
		{func(r *volspec.Contact) { r.Email = "a@b" }, ""},
		{func(r *volspec.Contact) { r.Email = "Ops <ops@acme.example>" }, "e-mail"},
		{func(r *volspec.Contact) { r.Email = "a@b\nBcc: c@d" }, "e-mail"},
		{func(r *volspec.Contact) { r.Email = strings.Repeat("a", 250) + "@b.example" }, "e-mail is longer than 254"},
		{func(r *volspec.Contact) { r.Website = "javascript:alert(1)" }, "website"},
		{func(r *volspec.Contact) { r.Website = "https://user:secret@acme.example" }, "website"},
		{func(r *volspec.Contact) { r.Website = "https:///path" }, "website"},
		{func(r *volspec.Contact) { r.Phone = "1\x002" }, "phone"},
		{func(r *volspec.Contact) { r.Address = "right\u202eleft" }, "address"},
		{func(r *volspec.Contact) { r.Address = strings.Repeat("ü", 512) }, ""},
		{func(r *volspec.Contact) { r.Address = strings.Repeat("ü", 513) }, "address is longer"},
		{func(r *volspec.Contact) { r.Labels = []string{" "} }, "label number 1 is empty"},
		{func(r *volspec.Contact) { r.Labels = []string{"a\tb"} }, "label"},
		{func(r *volspec.Contact) { r.Labels = strings.Split(strings.Repeat("x,", 32)+"x", ",") }, "there are 33"},
	} {
		v := ok
		c.change(&v)
		err := volspec.CheckContact(v)
		if c.text == "" {
			assert.NoError(t, err, "%+v", v)
			continue
		}
		assert.Equal(t, errkind.Invalid, errkind.Of(err), "%+v", v)
		assert.ErrorContains(t, err, c.text)
	}
}
