package catalogtest

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/enroll"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

func enrolments(t require.TestingT, c Catalog, fn func(enroll.Tx) error) {
	require.NoError(t, c.Enrolment().Update(context.Background(), fn))
}

func certN(n int, vm volspec.VMID) enroll.Certificate {
	at := time.Unix(int64(n)*100, 1000).UTC()
	return enroll.Certificate{Serial: string(rune('a'-1+n)) + "0ff", VM: vm, Generation: 2, Issued: at, Expires: at.Add(time.Hour)}
}

// enrolmentRecords: every field comes back as it was put, and lists are in
// their order.
func enrolmentRecords(t *testing.T, b Backend) {
	c := open(t, b)
	at := time.Unix(7, 8000).UTC()
	vm := enroll.VM{ID: "vm-b", Name: "nämé", Generation: 3, Revoked: true, Refused: "why", RefusedAt: at}
	cert := enroll.Certificate{Serial: "0ff1", VM: vm.ID, Generation: 3, Issued: at, Expires: at.Add(time.Hour), Used: true, Replaced: true}
	code := enroll.Code{VM: vm.ID, Name: "nämé", ID: "00ff", Verifier: []byte{0, 1, 255}, Placed: true, Expires: at, Attempts: 4}
	for _, v := range []any{vm, cert, code} {
		for i := range reflect.ValueOf(v).NumField() {
			require.False(t, reflect.ValueOf(v).Field(i).IsZero(), "the test must fill all fields of %T", v)
		}
	}
	for range 2 { // inserted, then replaced by the same
		enrolments(t, c, func(tx enroll.Tx) error {
			require.NoError(t, tx.PutGuestVM(vm))
			require.NoError(t, tx.PutGuestCertificate(cert))
			return tx.PutGuestCode(code)
		})
		require.NoError(t, c.Enrolment().View(t.Context(), func(tx enroll.Tx) error {
			gotVM, err := tx.GuestVM(vm.ID)
			require.NoError(t, err)
			assert.Equal(t, vm, gotVM)
			gotCert, err := tx.GuestCertificate(cert.Serial)
			require.NoError(t, err)
			assert.Equal(t, cert, gotCert)
			gotCode, err := tx.GuestCode(code.ID)
			assert.Equal(t, code, gotCode)
			return err
		}))
	}
	err := c.Enrolment().View(t.Context(), func(tx enroll.Tx) error {
		for _, err := range []error{second(tx.GuestVM("none")), second(tx.GuestCertificate("none")), second(tx.GuestCode("none")), second(tx.GuestCode(""))} {
			require.Equal(t, errkind.NotFound, errkind.Of(err))
		}
		return nil
	})
	require.NoError(t, err)
	err = c.Enrolment().Update(t.Context(), func(tx enroll.Tx) error { return tx.PutGuestCertificate(certN(1, "stranger")) })
	require.Equal(t, errkind.NotFound, errkind.Of(err), "a certificate of nobody")

	next := enroll.Code{VM: vm.ID, ID: "new", Expires: at}
	enrolments(t, c, func(tx enroll.Tx) error {
		require.NoError(t, tx.PutGuestCode(next))
		require.NoError(t, tx.PutGuestCode(enroll.Code{VM: "vm-a", ID: "other", Expires: at}))
		require.Equal(t, errkind.NotFound, errkind.Of(second(tx.GuestCode(code.ID))), "a VM has one code")
		all, err := tx.GuestCodes()
		require.NoError(t, err)
		require.Len(t, all, 2)
		assert.Equal(t, volspec.VMID("vm-a"), all[0].VM)
		require.NoError(t, tx.DeleteGuestCode(vm.ID))
		require.NoError(t, tx.DeleteGuestCode(vm.ID))
		require.Equal(t, errkind.NotFound, errkind.Of(second(tx.GuestCode(next.ID))))

		require.NoError(t, tx.PutGuestVM(enroll.VM{ID: "vm-a"}))
		vms, err := tx.GuestVMs()
		require.NoError(t, err)
		require.Len(t, vms, 2)
		assert.Equal(t, enroll.VM{ID: "vm-a"}, vms[0])

		for _, n := range []int{3, 1, 2} {
			require.NoError(t, tx.PutGuestCertificate(certN(n, "vm-a")))
		}
		certs, err := tx.GuestCertificates("vm-a")
		require.NoError(t, err)
		assert.Equal(t, []enroll.Certificate{certN(1, "vm-a"), certN(2, "vm-a"), certN(3, "vm-a")}, certs)
		certs, err = tx.GuestCertificates("")
		require.NoError(t, err)
		assert.Len(t, certs, 4)
		require.NoError(t, tx.TrimGuestCertificates(certN(2, "").Expires))
		require.NoError(t, tx.DeleteGuestCertificate(certN(3, "").Serial))
		require.NoError(t, tx.DeleteGuestCertificate(certN(3, "").Serial))
		certs, err = tx.GuestCertificates("")
		assert.Equal(t, []enroll.Certificate{certN(2, "vm-a")}, certs)
		return err
	})
}
