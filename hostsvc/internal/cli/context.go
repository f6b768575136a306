package cli

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

// shownContext is a context without its secrets.
type shownContext struct {
	Name    string    `json:"name" yaml:"name"`
	Current bool      `json:"current" yaml:"current"`
	Server  string    `json:"server" yaml:"server"`
	Tenant  string    `json:"tenant,omitempty" yaml:"tenant,omitempty"`
	User    string    `json:"user,omitempty" yaml:"user,omitempty"`
	Expires time.Time `json:"expires,omitzero" yaml:"expires,omitempty"`
	Trust   string    `json:"trust" yaml:"trust"`
}

func (t *tool) shown(all contexts) []shownContext {
	out := []shownContext{{Name: localContext, Current: all.Current == "", Server: t.address(), Trust: "this machine"}}
	for _, s := range all.All {
		c := shownContext{Name: s.Name, Current: all.Current == s.Name, Server: s.Server, Tenant: s.Tenant, User: s.User, Expires: s.Expires, Trust: "authorities of this machine"}
		switch {
		case s.Pin != "":
			c.Trust = s.Pin
		case s.CA != "":
			c.Trust = "its own authority"
		}
		out = append(out, c)
	}
	return out
}

var contextColumns = []column[shownContext]{
	{header: "Context", value: func(c shownContext) string { return c.Name }},
	{header: "Current", value: func(c shownContext) string {
		if c.Current {
			return "*"
		}
		return ""
	}},
	{header: "Server", value: func(c shownContext) string { return c.Server }},
	{header: "Tenant", value: func(c shownContext) string { return orDash(c.Tenant) }},
	{header: "User", value: func(c shownContext) string { return orDash(c.User) }},
	{header: "Until", value: func(c shownContext) string {
		if c.Expires.IsZero() {
			return "-"
		}
		return moment(c.Expires)
	}},
	{header: "Trust", wide: true, value: func(c shownContext) string { return c.Trust }},
}

func (t *tool) contextCommand() *cobra.Command {
	return t.group(&cobra.Command{
		Use:   "context",
		Short: "Choose among the host services that you are logged in to",
		Long: `A context is a host service over HTTPS with the token that 'mooring login' made
there. The context "local" is the service of this machine, over its admin socket.`,
	}, t.contextList(), t.contextUse(), t.contextRemove(), t.contextShow())
}

func (t *tool) contextList() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List contexts",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			all, err := t.contexts()
			if err != nil {
				return err
			}
			return list(t, t.shown(all), contextColumns, func(c shownContext) string { return c.Name })
		},
	}
}

// oneContext is a command about the context that its argument names.
func (t *tool) oneContext(use, short string, do func(all contexts, name string) error) *cobra.Command {
	return &cobra.Command{
		Use:   use + " CONTEXT",
		Short: short,
		Args:  args(1, 1, "one context"),
		ValidArgsFunction: func(_ *cobra.Command, args []string, typed string) (offers []string, _ cobra.ShellCompDirective) {
			all, err := t.contexts()
			if err != nil || len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			for _, c := range t.shown(all) {
				if strings.HasPrefix(c.Name, typed) {
					offers = append(offers, c.Name)
				}
			}
			return offers, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			all, err := t.contexts()
			if err != nil {
				return err
			}
			if _, ok := all.get(args[0]); !ok && args[0] != localContext {
				return noContext(args[0])
			}
			return do(all, args[0])
		},
	}
}

func (t *tool) contextUse() *cobra.Command {
	return t.oneContext("use", "Let later commands be about another service", func(all contexts, name string) error {
		all.Current = name
		if name == localContext {
			all.Current = ""
		}
		if err := t.keep(all); err != nil {
			return err
		}
		return t.done(name, "Commands are about context %q from now on.", name)
	})
}

func (t *tool) contextRemove() *cobra.Command {
	return t.oneContext("rm", "Forget a context without ending its token", func(all contexts, name string) error {
		if name == localContext {
			return errkind.New(errkind.Denied, "context %q is the service of this machine: it is always there", name)
		}
		all.remove(name)
		if err := t.keep(all); err != nil {
			return err
		}
		return t.done(name, "Context %q is forgotten. Its token holds until it expires or is removed in the portal.", name)
	})
}

func (t *tool) contextShow() *cobra.Command {
	return t.oneContext("show", "Show one context", func(all contexts, name string) error {
		for _, c := range t.shown(all) {
			if c.Name == name {
				return list(t, []shownContext{c}, contextColumns, func(c shownContext) string { return c.Name })
			}
		}
		return nil
	})
}

func (t *tool) whoamiCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "whoami",
		Short: "Show which user this command is at the service",
		Args:  noArgs,
		RunE: t.onService(func(cmd *cobra.Command, admin Admin) error {
			p, err := t.where()
			if err != nil {
				return err
			}
			if p.socket != "" {
				s := wire.Session{User: "administrator of this machine", Permissions: []string{}}
				return t.object(s, s.User, "The administrator of this machine, over "+p.socket+"\n")
			}
			s, err := admin.Session(cmd.Context())
			if err != nil {
				return err
			}
			who := stored{User: s.User, Tenant: s.Tenant}.who()
			return t.object(s, who, who+" ("+string(s.Role)+") at "+p.Server+"\n")
		}),
	}
}
