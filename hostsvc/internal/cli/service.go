package cli

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/wire"
)

func (t *tool) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the state of the host service",
		Args:  noArgs,
		RunE: t.onService(func(cmd *cobra.Command, admin Admin) error {
			s, err := admin.Status(cmd.Context())
			if err != nil {
				return err
			}
			p, err := t.where()
			if err != nil {
				return err
			}
			return t.object(s, s.Version, statusText(s, cmp.Or(p.socket, p.Server)))
		}),
	}
}

// statusText keeps the form of the old script: sections and key: value lines.
func statusText(s wire.Status, socket string) string {
	state := "Running"
	if !s.Ready {
		state = "Starting"
	}
	var b strings.Builder
	line := func(key, value string) { fmt.Fprintf(&b, "%s: %s\n", key, clean(value, false)) }
	b.WriteString("=== Service:\n")
	line("Version", s.Version)
	line("Status", state)
	line("Pid", strconv.Itoa(s.PID))
	line("Started", moment(s.Started))
	line("Socket", socket)
	line("Hypervisor", s.Hypervisor)
	line("Config", cmp.Or(s.Config, "defaults"))
	line("LogLevel", strings.ToUpper(s.LogLevel))
	b.WriteString("=== Catalog:\n")
	line("DB", s.Catalog)
	for _, k := range slices.Sorted(maps.Keys(s.Counts)) {
		line(k, strconv.FormatInt(s.Counts[k], 10))
	}
	if len(s.Problems) > 0 {
		b.WriteString("=== Problems:\n")
		for _, p := range s.Problems {
			b.WriteString(clean(p, false) + "\n")
		}
	}
	return b.String()
}

func (t *tool) doctorCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Let the host service examine itself and say what to do",
		Long: `Lets the host service examine itself, its datastores, volumes and VMs. The exit
code is 1 when there is at least one error.`,
		Args: noArgs,
		RunE: t.onService(func(cmd *cobra.Command, admin Admin) error {
			found, err := admin.Doctor(cmd.Context())
			if err != nil {
				return err
			}
			return t.findings(found)
		}),
	}
	c.AddCommand(t.doctorIsolationCommand())
	return c
}

func (t *tool) doctorIsolationCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "isolation",
		Short: "Let the host service look for ways in which tenants learn of each other",
		Long: `Makes two tenants, lets users of the first ask everything that can be asked with
the names of the second, compares the answers with those about what does not
exist, and removes both tenants. Nothing of other tenants is touched. It takes a
minute or less. The exit code is 1 when there is at least one error.`,
		Args: noArgs,
		RunE: t.onService(func(cmd *cobra.Command, admin Admin) error {
			found, err := admin.DoctorIsolation(cmd.Context())
			if err != nil {
				return err
			}
			return t.findings(found)
		}),
	}
}
