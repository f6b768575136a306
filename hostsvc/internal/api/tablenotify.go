package api

import (
	"context"
	"net/http"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Notifications is everything the interface wants of who is told. vmgroup "" is
// the service.
type Notifications interface {
	Notifications(ctx context.Context, vmgroup string) (wire.Notifications, error)
	PutNotifications(ctx context.Context, c volspec.Caller, vmgroup string, n wire.Notifications) (wire.Notifications, error)
	TestNotifications(ctx context.Context, c volspec.Caller, vmgroup string) ([]wire.NotifyTest, error)
}

var (
	readNotifications = give(func(ctx context.Context, s *Server, c *call) (wire.Notifications, error) {
		return s.o.Notify.Notifications(ctx, c.group())
	})
	putNotifications = take(func(ctx context.Context, s *Server, c *call, in wire.Notifications) (wire.Notifications, error) {
		return s.o.Notify.PutNotifications(ctx, c.caller, c.group(), in)
	})
	testNotifications = give(func(ctx context.Context, s *Server, c *call) ([]wire.NotifyTest, error) {
		return s.o.Notify.TestNotifications(ctx, c.caller, c.group())
	})
)

var notifyEndpoints = []endpoint{
	{
		http.MethodGet, "/notifications", admins, serviceManage, noTenant,
		"Who is told of all vmgroups and of the service, beside what the configuration file says", nil,
		readNotifications,
	},
	{
		http.MethodPut, "/notifications", admins, serviceManage, noTenant,
		"Replace who is told; secrets that were generated are in this answer alone", nil,
		putNotifications,
	},
	{
		http.MethodPost, "/notifications/test", admins, serviceManage, noTenant,
		"Send a test message on each way, also on those of the configuration file", nil,
		testNotifications,
	},
	{
		http.MethodGet, ofGroup + "/notifications", users, tenantManage, ofPath,
		"Who is told of a vmgroup", nil,
		readNotifications,
	},
	{
		http.MethodPut, ofGroup + "/notifications", users, tenantManage, ofPath,
		"Replace who is told of a vmgroup; secrets that were generated are in this answer alone", nil,
		putNotifications,
	},
	{
		http.MethodPost, ofGroup + "/notifications/test", users, tenantManage, ofPath,
		"Send a test message on each way of a vmgroup", nil,
		testNotifications,
	},
}
