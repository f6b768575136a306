// Package cli is the mooring command: nouns and verbs over the service's
// admin channel. It parses, asks, prints and chooses the exit code; every
// decision about volumes and vmgroups is the service's.
//
// Commands, flags, tables and success messages that the vSphere Docker Volume
// Service's admin script had are kept byte for byte, because scripts match
// them. Data goes to standard output, talk and errors to standard error.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/errkind"
)

// DefaultSocket is where the service listens for administrators.
const DefaultSocket = "unix:///run/mooring/admin.sock"

// Exit codes that no error kind carries.
const (
	exitOK          = 0
	exitUsage       = 2
	exitPartly      = 3
	exitInterrupted = 130
)

// Options are what the command takes from its process and its wiring. All
// fields but Interactive and Color are required.
type Options struct {
	Version     string
	In          io.Reader
	Out, Err    io.Writer
	Getenv      func(string) string
	Interactive bool // a person sits at In and Err: questions make sense
	Color       bool // Err is a terminal that shows colours
	// Connect makes a client for a socket's address. It need not dial yet.
	Connect func(address string) (Admin, error)
	// Web reaches services over HTTPS.
	Web Web
	// Password asks a person for a line that does not show.
	Password func(ctx context.Context, prompt string) (string, error)
	// Config reads configuration files for config check and config show.
	Config Config
}

// Config is how the command reads the daemon's configuration, handed in so
// that this package does not depend on its schema.
type Config interface {
	// DefaultPath is the file that the daemon reads when told nothing.
	DefaultPath() string
	// Effective is the file's content over the defaults, as TOML without
	// secrets; an invalid file is errkind.Invalid with all its problems. An
	// empty path gives the defaults alone.
	Effective(path string) (string, error)
}

// tool is one run of the command: its options and the global flags.
type tool struct {
	Options
	socket string
	server string
	// contextName is what --context says.
	contextName string
	place       *place // once it is decided
	format      string
	noHeaders   bool
	yes         bool
	client      Admin
}

// Run executes one command line without the program's name and returns the
// exit code. It prints the error, if any, to Err. When ctx ends first, the
// code is 130.
func Run(ctx context.Context, args []string, o Options) int {
	t := &tool{Options: o}
	root := t.root()                          //nolint:contextcheck // commands get ctx from ExecuteContext below
	root.SetArgs(append([]string{}, args...)) // nil would mean the process's own
	root.SetIn(o.In)
	root.SetOut(o.Out)
	root.SetErr(o.Err)
	err := root.ExecuteContext(ctx)
	if t.client != nil {
		t.client.Close()
	}
	if err == nil {
		return exitOK
	}
	if ctx.Err() != nil {
		text := "interrupted: what the service had begun, it finishes or undoes by itself"
		if g, ok := errors.AsType[*goesOn](err); ok {
			text = g.text
		}
		t.complain(text)
		return exitInterrupted
	}
	t.report(err)
	return exitCode(err)
}

// report prints an error as the user reads it, one line per problem.
func (t *tool) report(err error) {
	if p, ok := errors.AsType[*partial](err); ok {
		for _, e := range p.errs {
			t.report(e)
		}
		return
	}
	t.complain(clean(errkind.Text(err), true))
	if u, ok := errors.AsType[*usage](err); ok && u.path != "" {
		fmt.Fprintf(t.Err, "See '%s --help'.\n", u.path)
	}
}

func (t *tool) complain(text string) {
	word := "Error:"
	if t.Color {
		word = "\x1b[1;31m" + word + "\x1b[0m"
	}
	fmt.Fprintf(t.Err, "%s %s\n", word, text)
}

func exitCode(err error) int {
	if p, ok := errors.AsType[*partial](err); ok {
		if p.done > 0 {
			return exitPartly
		}
		return exitCode(p.errs[0])
	}
	if _, ok := errors.AsType[*usage](err); ok {
		return exitUsage
	}
	return errkind.Of(err).ExitCode()
}

// root is the whole command tree.
func (t *tool) root() *cobra.Command {
	root := t.group(&cobra.Command{
		Use:   "mooring",
		Short: "Manage Docker volumes, their backups, vmgroups and datastores of a Mooring host service",
		Long: `mooring talks to the host service (mooringd) on this machine over its admin
socket. The user needs to be root or in the group that owns the socket. After
'mooring login' it talks to a service over HTTPS, in the name of its user there;
the users of a tenant may leave its vmgroup out.

Data is printed to standard output, everything else to standard error. The
exit code is 0 for success, 1 for failure, 2 for wrong usage or a refused
request, 3 when only a part was done, 4 not found, 5 denied, 6 conflict or in
use, 7 quota reached, 10 a repository is away or is not the expected one, 12 a
wrong key, 130 interrupted.`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	})
	root.DisableAutoGenTag = true
	root.SetHelpCommand(helpCommand())
	root.SetFlagErrorFunc(flagError)
	// The use line says COMMAND already.
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), "{{if .HasAvailableSubCommands}}\n  {{.CommandPath}} [command]{{end}}", "", 1))
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if err := t.checkFormat(cmd); err != nil {
			return err
		}
		return t.fillGroup(cmd)
	}

	f := root.PersistentFlags()
	f.StringVar(&t.socket, "socket", "", "address of the admin `socket` (default: $MOORING_SOCKET, else "+DefaultSocket+")")
	f.StringVarP(&t.server, "server", "s", "", "`address` of a service over HTTPS, https://HOST:PORT (default: $MOORING_SERVER, else that of the context)")
	f.StringVar(&t.contextName, "context", "", "`name` of a context that 'mooring login' made (default: $MOORING_CONTEXT, else the last one chosen)")
	f.StringVarP(&t.format, "output", "o", formatTable, "output `format`: table, wide, json, yaml or name")
	f.BoolVar(&t.noHeaders, "no-headers", false, "print tables without header and rule")
	f.BoolVarP(&t.yes, "yes", "y", false, "answer yes to every question")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))

	root.AddCommand(
		t.vmgroupCommand(), t.settingsCommand(), t.volumeCommand(), t.vmCommand(), t.datastoreCommand(),
		t.backupCommand(), t.repositoryCommand(), t.allowanceCommand(), t.transporterCommand(), t.jobCommand(), t.alarmCommand(), t.keyCommand(), t.selfBackupCommand(), t.notifyCommand(),
		t.statusCommand(), t.doctorCommand(), t.auditCommand(), t.configCommand(),
		t.userCommand(), t.tokenCommand(), t.oidcCommand(), t.loginCommand(), t.logoutCommand(), t.contextCommand(), t.whoamiCommand(),
		t.completionCommand(), t.manCommand(), t.versionCommand(),
	)
	return root
}

func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]...",
		Short: "Explain a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usagef(cmd, "there is no command '%s'", clean(strings.Join(args, " "), false))
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// admin is the client for this run, made at its first use.
func (t *tool) admin() (Admin, error) {
	if t.client == nil {
		p, err := t.where()
		if err != nil {
			return nil, err
		}
		c, err := t.connect(p)
		if err != nil {
			return nil, err
		}
		t.client = c
	}
	return t.client, nil
}

// address is the admin socket's: flag, environment, default. A plain path is
// a unix socket.
func (t *tool) address() string {
	address := t.socket
	if address == "" {
		address = t.Getenv("MOORING_SOCKET")
	}
	if address == "" {
		address = DefaultSocket
	}
	if address[0] == '/' || address[0] == '.' {
		address = "unix://" + address
	}
	return address
}
