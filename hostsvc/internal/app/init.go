package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/hostsvc/internal/account"
	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/hostsvc/internal/audit"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// InitOptions say what mooringd init makes.
type InitOptions struct {
	Config string // path of the configuration
	Mode   string // multi or single, "": as it is
	User   string
	// Password is asked once a user is made; an empty one is generated.
	Password func() (string, error)
	Out      io.Writer
}

// Init makes the first administrator of the master and sets the mode of the
// installation, in the running service or, if none runs, in its catalog. With
// administrators it is exists, and changes nothing but the mode.
func Init(ctx context.Context, o InitOptions) error {
	cfg, err := config.Load(o.Config)
	if err != nil {
		return err
	}
	s, err := openState(cfg)
	if _, locked := errors.AsType[lockedError](err); locked {
		a := hostclient.NewAdmin("unix://"+cfg.Admin.Socket, hostclient.Options{})
		defer a.Close()
		return initialise(ctx, a, o)
	}
	if err != nil {
		return err
	}
	defer s.close()
	return initCatalog(ctx, cfg, o)
}

// initCatalog is Init without a running service: the same interface, inside
// this process.
func initCatalog(ctx context.Context, cfg config.Config, o InitOptions) (err error) {
	c, err := openCatalog(ctx, cfg.Catalog)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	ring, err := openRing(ctx, cfg, c)
	if err != nil {
		return err
	}
	server := api.New(api.Options{
		Tenants:  tenancy.New(tenancy.Options{Store: c.Tenancy()}),
		Accounts: account.New(account.Options{Store: c.Accounts(), Sealer: ring, Holds: api.PermissionsOf, Given: api.Permissions()}),
		Audit:    audit.New(c.AuditLog()),
	})
	ctx = api.WithCaller(ctx, volspec.Caller{Admin: true, Role: volspec.MasterAdmin, Actor: fmt.Sprintf("admin:%d", os.Getuid())})
	return initialise(ctx, hostclient.NewAdminInside(server.Inside(), hostclient.Options{}), o)
}

func initialise(ctx context.Context, a *hostclient.Admin, o InitOptions) error {
	users, err := a.Users(ctx, "")
	if err != nil {
		return err
	}
	settings, err := a.Settings(ctx)
	if err != nil {
		return err
	}
	// The mode first: a user without it would end what can be repeated.
	changed := o.Mode != "" && o.Mode != settings.Mode
	if changed {
		settings.Mode = o.Mode
		if _, err := a.PutSettings(ctx, settings); err != nil {
			return err
		}
		crashpoint.Here("app.init.mode")
		fmt.Fprintf(o.Out, "The mode of this installation is %s now.\n", o.Mode)
	}
	if len(users) > 0 {
		if changed {
			return nil
		}
		return errkind.New(errkind.Exists, "this installation has users already (%s): nothing was changed; log in as one of them, or give one another password with `mooring user reset NAME`", userNames(users))
	}
	password, err := o.Password()
	if err != nil {
		return err
	}
	u, err := a.CreateUser(ctx, "", wire.CreateUser{Name: o.User, Role: volspec.MasterAdmin, Password: password})
	if err != nil {
		return err
	}
	crashpoint.Here("app.init.user")
	fmt.Fprintf(o.Out, "User %s is the first administrator.\n", u.Name)
	if u.Password != "" {
		fmt.Fprintf(o.Out, "Its password, which is not shown again and must be changed at the first log-in:\n%s\n", u.Password)
	}
	return nil
}

func userNames(users []wire.User) string {
	var names []string
	for i, u := range users {
		if i == 3 {
			names = append(names, fmt.Sprintf("%d more", len(users)-i))
			break
		}
		names = append(names, u.Name)
	}
	return strings.Join(names, ", ")
}
