package vcenter

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/pkg/errkind"
)

func TestTranslate(t *testing.T) {
	const what = "creating disk X"
	lockedByKey := &types.GenericVmConfigFault{}
	lockedByKey.FaultMessage = []types.LocalizableMessage{{Key: "msg.fileio.lock", Message: "Failed to lock the file"}}
	inner := &types.GenericVmConfigFault{}
	inner.FaultCause = &types.LocalizedMethodFault{Fault: &types.NoDiskSpace{}}
	for name, c := range map[string]struct {
		err  error
		kind errkind.Kind
		says string
		lost bool
	}{
		"full":                  {vim(&types.NoDiskSpace{}), errkind.Quota, "full", false},
		"full, deeper":          {vim(inner), errkind.Quota, "full", false},
		"locked":                {vim(&types.FileLocked{}), errkind.InUse, "locked", false},
		"locked, by its key":    {vim(lockedByKey), errkind.InUse, "locked", false},
		"in use":                {vim(&types.ResourceInUse{}), errkind.InUse, "detach", false},
		"file there":            {vim(&types.FileAlreadyExists{}), errkind.Exists, "already", false},
		"no file":               {vim(&types.FileNotFound{}), errkind.NotFound, "no such file", false},
		"gone":                  {vim(&types.ManagedObjectNotFound{}), errkind.NotFound, "gone", false},
		"no right":              {vim(&types.NoPermission{PrivilegeId: "Datastore.Browse", Object: &types.ManagedObjectReference{Type: "Datastore", Value: "ds-7"}}), errkind.Denied, "Datastore.Browse on Datastore:ds-7", false},
		"session":               {vim(&types.NotAuthenticated{}), errkind.Unavailable, "session", false},
		"login":                 {vim(&types.InvalidLogin{}), errkind.Denied, "password", false},
		"busy":                  {vim(&types.TaskInProgress{}), errkind.Unavailable, "another task", false},
		"somebody else":         {vim(&types.ConcurrentAccess{}), errkind.Unavailable, "somebody else", false},
		"datastore away":        {vim(&types.InaccessibleDatastore{}), errkind.Unavailable, "not accessible", false},
		"host away":             {vim(&types.HostNotConnected{}), errkind.Unavailable, "host", false},
		"unknown method":        {vim(&types.MethodNotFound{}), errkind.Unsupported, "version", false},
		"our mistake":           {vim(&types.InvalidArgument{}), errkind.Internal, "InvalidArgument", false},
		"a file that fails":     {vim(&types.CannotAccessFile{}), errkind.Unavailable, "cannot be accessed", false},
		"a fault over SOAP":     {soap.WrapSoapFault(overSOAP(&types.FileLocked{})), errkind.InUse, "locked", false},
		"connection cut":        {&url.Error{Op: "Post", URL: "https://vc", Err: io.EOF}, errkind.Unavailable, "connection", true},
		"no connection":         {&url.Error{Op: "Post", URL: "https://vc", Err: &net.OpError{Op: "dial", Err: errors.New("refused")}}, errkind.Unavailable, "connection", true},
		"given up":              {fmt.Errorf("x: %w", context.Canceled), errkind.Unavailable, "given up", true},
		"unknown authority":     {&url.Error{Op: "Post", URL: "https://vc", Err: x509.UnknownAuthorityError{}}, errkind.Denied, "CA file", false},
		"name of another":       {&url.Error{Op: "Post", URL: "https://vc", Err: x509.HostnameError{Certificate: &x509.Certificate{}, Host: "vc"}}, errkind.Denied, "address", false},
		"no such file, by HTTP": {&StatusError{404}, errkind.NotFound, "404", false},
		"host busy, by HTTP":    {&StatusError{500}, errkind.Unavailable, "repeat", false},
		"full, by HTTP":         {&StatusError{507}, errkind.Quota, "507", false},
		"anything else":         {errors.New("odd"), errkind.Internal, "odd", false},
		"has a kind already":    {errkind.New(errkind.Corrupt, "it is damaged"), errkind.Corrupt, "it is damaged", false},
	} {
		t.Run(name, func(t *testing.T) {
			got := Translate(c.err, what)
			require.Equal(t, c.kind, errkind.Of(got), "%v", got)
			assert.Contains(t, errkind.Text(got), c.says)
			assert.Equal(t, c.lost, Lost(got))
			if c.kind != errkind.Corrupt {
				assert.Contains(t, errkind.Text(got), what)
				assert.Equal(t, got, Translate(got, "something around it"), "the first sentence stays")
			}
		})
	}
	assert.NoError(t, Translate(nil, what))
	assert.True(t, Is[*types.FileLocked](Translate(vim(&types.FileLocked{}), what)), "the fault can still be asked for")
	assert.Equal(t, []string{"msg.fileio.lock"}, Keys(Translate(vim(lockedByKey), what)))
}

func vim(f types.BaseMethodFault) error { return soap.WrapVimFault(f) }

func overSOAP(f types.BaseMethodFault) *soap.Fault {
	s := &soap.Fault{Code: "ServerFaultCode", String: "text"}
	s.Detail.Fault = f
	return s
}

func TestPathsOfDatastores(t *testing.T) {
	for _, c := range [][2]string{{"ds 1", "mooring/a b.vmdk"}, {"ds", "x"}} {
		ds, file, ok := SplitPath(Path(c[0], c[1]))
		require.True(t, ok)
		assert.Equal(t, c, [2]string{ds, file})
	}
	_, _, ok := SplitPath("no path")
	assert.False(t, ok)
}
