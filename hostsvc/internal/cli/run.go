package cli

import (
	"github.com/spf13/cobra"
)

type runE = func(*cobra.Command, []string) error

// onService makes the body of a command that asks the service.
func (t *tool) onService(do func(*cobra.Command, Admin) error) runE {
	return t.onArgs(func(cmd *cobra.Command, admin Admin, _ []string) error { return do(cmd, admin) })
}

// onArgs is onService for a command with arguments.
func (t *tool) onArgs(do func(cmd *cobra.Command, admin Admin, args []string) error) runE {
	return func(cmd *cobra.Command, args []string) error {
		admin, err := t.admin()
		if err != nil {
			return err
		}
		return do(cmd, admin, args)
	}
}

// onGroup makes the body of a command about one vmgroup.
func (t *tool) onGroup(group *groupFlag, do func(cmd *cobra.Command, admin Admin, name string) error) runE {
	return func(cmd *cobra.Command, args []string) error {
		name, err := group.get(cmd, args)
		if err != nil {
			return err
		}
		admin, err := t.admin()
		if err != nil {
			return err
		}
		return do(cmd, admin, name)
	}
}

// onRow makes the body of a command about one access row.
func (t *tool) onRow(a *accessFlags, do func(cmd *cobra.Command, admin Admin, group string) error) runE {
	return t.onGroup(&a.groupFlag, func(cmd *cobra.Command, admin Admin, name string) error {
		if a.datastore == "" {
			return usagef(cmd, "'%s' needs a datastore: add --datastore", cmd.CommandPath())
		}
		return do(cmd, admin, name)
	})
}

// onVolume makes the body of a command about one volume with want further
// arguments; what names them.
func (t *tool) onVolume(which *volumeFlags, want int, what string, do func(cmd *cobra.Command, admin Admin, o object, rest []string) error) runE {
	return func(cmd *cobra.Command, args []string) error {
		o, rest, err := which.one(cmd, args)
		if err != nil {
			return err
		}
		switch {
		case len(rest) < want:
			return usagef(cmd, "'%s' needs %s", cmd.CommandPath(), what)
		case len(rest) > want:
			return usagef(cmd, "%q is too much for '%s'", clean(rest[want], false), cmd.CommandPath())
		}
		admin, err := t.admin()
		if err != nil {
			return err
		}
		return do(cmd, admin, o, rest)
	}
}

// onVolumes makes the body of a command about several volumes.
func (t *tool) onVolumes(which *volumeFlags, do func(cmd *cobra.Command, admin Admin, volumes []object) error) runE {
	return func(cmd *cobra.Command, args []string) error {
		volumes, err := which.some(cmd, args)
		if err != nil {
			return err
		}
		admin, err := t.admin()
		if err != nil {
			return err
		}
		return do(cmd, admin, volumes)
	}
}
