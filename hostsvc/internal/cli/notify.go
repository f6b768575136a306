package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

// notifyAdmin is the part of Admin about who is told.
type notifyAdmin interface {
	Notifications(ctx context.Context, vmgroup string) (wire.Notifications, error)
	PutNotifications(ctx context.Context, vmgroup string, n wire.Notifications) (wire.Notifications, error)
	TestNotifications(ctx context.Context, vmgroup string) ([]wire.NotifyTest, error)
}

func (t *tool) notifyCommand() *cobra.Command {
	return t.group(&cobra.Command{Use: "notify", Short: "Say who is told when something is wrong"},
		t.notifyShowCommand(), t.notifySetCommand(), t.notifyTestCommand())
}

func (t *tool) ofVMGroup(cmd *cobra.Command) *string {
	group := new(string)
	t.vmgroupFlag(cmd, group, "of `vmgroup`; without it, of all and of the service")
	return group
}

func (t *tool) notifyShowCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show", Short: "Show who is told", Args: noArgs}
	group := t.ofVMGroup(cmd)
	cmd.RunE = t.onService(func(cmd *cobra.Command, admin Admin) error {
		n, err := admin.Notifications(cmd.Context(), *group)
		if err != nil {
			return err
		}
		return t.object(n, *group, notifyText(n))
	})
	return cmd
}

func notifyText(n wire.Notifications) string {
	all := func(list []string, none string) string {
		if len(list) == 0 {
			return none
		}
		return clean(strings.Join(list, ", "), false)
	}
	var b strings.Builder
	b.WriteString("Mail to: " + all(n.Emails, "nobody") + "\n")
	b.WriteString("About: " + all(n.Events, "everything") + "\n")
	b.WriteString("Digest: " + orDash(n.Digest) + "\n")
	for _, w := range n.Webhooks {
		b.WriteString("Webhook " + clean(w.Name, false) + ": " + clean(w.URL, false) + " about " + all(w.Events, "everything") + "\n")
	}
	return b.String()
}

func (t *tool) notifySetCommand() *cobra.Command {
	var emails, events, hooks []string
	var digest string
	cmd := &cobra.Command{
		Use:   "set",
		Short: "Change who is told",
		Long: `Changes who is told, beside what the configuration file says. What is not given
stays as it is; --email= without an address tells nobody by mail. The secret of a new
webhook is shown once: requests are signed with it.`,
		Args: noArgs,
	}
	group := t.ofVMGroup(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&emails, "email", nil, "`addresses` that get mails")
	f.StringSliceVar(&events, "event", nil, "`kinds` of events that mails are about; --event= for all")
	f.StringVar(&digest, "digest", "", "`how often` a summary is mailed: daily, weekly, or none")
	f.StringSliceVar(&hooks, "webhook", nil, "`name=url` of a URL that gets signed requests; --webhook= for none")
	cmd.RunE = t.onService(func(cmd *cobra.Command, admin Admin) error {
		n, err := admin.Notifications(cmd.Context(), *group)
		if err != nil {
			return err
		}
		override(cmd, "email", &n.Emails, wordsOf(emails))
		override(cmd, "event", &n.Events, wordsOf(events))
		override(cmd, "digest", &n.Digest, strings.TrimSuffix(digest, "none"))
		if f.Changed("webhook") {
			if n.Webhooks, err = webhooks(cmd, n.Webhooks, wordsOf(hooks)); err != nil {
				return err
			}
		}
		if n, err = admin.PutNotifications(cmd.Context(), *group, n); err != nil {
			return err
		}
		text := notifyText(n)
		for _, w := range n.Webhooks {
			if w.Secret != "" {
				text += "Secret of webhook " + clean(w.Name, false) + ", shown only now: " + w.Secret + "\n"
			}
		}
		return t.object(n, *group, text)
	})
	return cmd
}

// wordsOf is a list whose only empty word means none.
func wordsOf(list []string) []string {
	if len(list) == 1 && list[0] == "" {
		return []string{}
	}
	return list
}

// webhooks are those of the command line; one that was there keeps its events.
func webhooks(cmd *cobra.Command, have []wire.NotifyWebhook, list []string) ([]wire.NotifyWebhook, error) {
	out := []wire.NotifyWebhook{}
	for _, w := range list {
		name, url, ok := strings.Cut(w, "=")
		if !ok {
			return nil, usagef(cmd, "--webhook %q is not valid: write NAME=URL", clean(w, false))
		}
		hook := wire.NotifyWebhook{Name: name, URL: url}
		for _, h := range have {
			if h.Name == name {
				hook.Events = h.Events
			}
		}
		out = append(out, hook)
	}
	return out, nil
}

var notifyTestColumns = []column[wire.NotifyTest]{
	{header: "Way", value: func(r wire.NotifyTest) string { return r.Way }},
	{header: "Arrived", value: func(r wire.NotifyTest) string { return yesNo(r.OK) }},
	{header: "Detail", value: func(r wire.NotifyTest) string { return r.Detail }},
}

func (t *tool) notifyTestCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test",
		Short: "Send a test notification on every configured way",
		Long:  "Sends a test notification on every configured way. The exit code is 1 when one fails.",
		Args:  noArgs,
	}
	group := t.ofVMGroup(cmd)
	cmd.RunE = t.onService(func(cmd *cobra.Command, admin Admin) error {
		results, err := admin.TestNotifications(cmd.Context(), *group)
		if err != nil {
			return err
		}
		if err := list(t, results, notifyTestColumns, func(r wire.NotifyTest) string { return r.Way }); err != nil {
			return err
		}
		bad := 0
		for _, r := range results {
			if !r.OK {
				bad++
			}
		}
		if bad > 0 {
			return errkind.New(errkind.Unavailable, "%s failed: see the details", count(bad, "way"))
		}
		return nil
	})
	return cmd
}
