package cli

import (
	"context"

	"mooring.dev/mooring/pkg/wire"
)

func (m *memAdmin) Notifications(_ context.Context, vmgroup string) (wire.Notifications, error) {
	return wire.Notifications{
		Emails: []string{"ops@example.org"}, Events: []string{"job-failed"}, Digest: "daily",
		Webhooks: []wire.NotifyWebhook{{Name: "chat", URL: "https://chat.example.org/hook", Events: []string{"quota"}}},
	}, m.did("Notifications", vmgroup)
}

func (m *memAdmin) PutNotifications(_ context.Context, vmgroup string, n wire.Notifications) (wire.Notifications, error) {
	for i := range n.Webhooks {
		if n.Webhooks[i].Name == "new" {
			n.Webhooks[i].Secret = "whsec_AAAA"
		}
	}
	return n, m.did("PutNotifications", vmgroup, n)
}

func (m *memAdmin) TestNotifications(_ context.Context, vmgroup string) ([]wire.NotifyTest, error) {
	return []wire.NotifyTest{
		{Way: "email ops@example.org", OK: true, Detail: "the test message was accepted"},
		{Way: "webhook chat", Detail: "webhook chat: chat.example.org answered 404 Not Found"},
	}, m.did("TestNotifications", vmgroup)
}
