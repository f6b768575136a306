package cli

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

func (t *tool) vmgroupSave() *cobra.Command {
	var group groupFlag
	var out, file string
	cmd := &cobra.Command{
		Use:   "save",
		Short: "Save a vmgroup in a file, to load it into another installation",
		Long: `Saves everything that a vmgroup is in a file, sealed under a passphrase: its
description, rights, limits, users with their passwords and second factors,
policies, and its repositories with what opens them. 'mooring vmgroup load' makes
a vmgroup of it in another installation. Volumes come back from recovery points.
Sessions, tokens, jobs and the audit log stay here. Nothing is changed here, and
it is audited.`,
		Example: `  mooring vmgroup save --name=Dev --out=new.bundle --passphrase-file=passphrase`,
		RunE: t.onGroup(&group, func(cmd *cobra.Command, admin Admin, name string) error {
			if out == "" {
				return usagef(cmd, "'%s' needs a file to make: add --out", cmd.CommandPath())
			}
			if _, err := os.Lstat(out); err == nil { // before a secret is asked for; again when it is made
				return fileExists("the bundle", out)
			}
			passphrase, err := t.passphrase(cmd, file, true)
			if err != nil {
				return err
			}
			b, err := admin.SaveTenant(cmd.Context(), name, wire.SaveTenant{Passphrase: passphrase})
			if err != nil {
				return err
			}
			text, err := json.MarshalIndent(b, "", "  ")
			if err != nil {
				return errkind.Wrap(errkind.Internal, err, "write a bundle")
			}
			if err := writeSecret("the bundle", out, string(text)+"\n"); err != nil {
				return err
			}
			return t.done(name, "vmgroup '%s' is saved in %s. Whoever has it and its passphrase can read all its recovery points.", name, out)
		}),
	}
	group.register(t, cmd, true)
	cmd.Flags().StringVar(&out, "out", "", "`file` to make, with mode 0600")
	registerPassphrase(cmd, &file)
	return cmd
}

func (t *tool) vmgroupLoad() *cobra.Command {
	var name, file string
	var amounts amountFlags
	cmd := &cobra.Command{
		Use:   "load FILE",
		Short: "Make a vmgroup of what another installation has saved",
		Long: `Makes a vmgroup of a file of 'mooring vmgroup save', under new ids, or changes
nothing. It is disabled at first, so that two installations do not work for it at
once: take it out of use where it was saved, do what the answer lists, then let it
begin with 'mooring vmgroup enable'. What is not here (a VM, folder, datastore or
transporter) is left out and listed. Its recovery points are read from its
repositories. The file is loaded once: a name or a repository that is here already
is refused.`,
		Example: `  mooring vmgroup load dev.bundle --passphrase-file=passphrase
  mooring vmgroup load dev.bundle --passphrase-file=passphrase --new-name=Dev2 --storage=500GB`,
		Args: args(1, 1, "one file"),
		RunE: t.onArgs(func(cmd *cobra.Command, admin Admin, files []string) error {
			r := wire.LoadTenant{Name: name}
			var err error
			if r.Bundle, err = readBundle(files[0]); err != nil {
				return err
			}
			if amounts.given(cmd) {
				r.Allowance = &wire.Amounts{}
				if err := amounts.change(cmd, r.Allowance); err != nil {
					return err
				}
			}
			if r.Passphrase, err = t.passphrase(cmd, file, false); err != nil {
				return err
			}
			v, err := admin.LoadTenant(cmd.Context(), r)
			if err != nil {
				return err
			}
			return t.object(v, v.Tenant.Name, loadedText(v))
		}),
	}
	cmd.Flags().StringVar(&name, "new-name", "", "`name` for the vmgroup; without it the one it had")
	amounts.register(cmd)
	registerPassphrase(cmd, &file)
	return cmd
}

func loadedText(v wire.TenantLoaded) string {
	var b strings.Builder
	b.WriteString("vmgroup '" + v.Tenant.Name + "' is loaded. To do:\n")
	for _, line := range v.ToDo {
		b.WriteString("- " + clean(line, false) + "\n")
	}
	return b.String()
}

func registerPassphrase(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "passphrase-file", "", "`file` with the passphrase; - is standard input; without it you are asked")
	_ = cmd.MarkFlagFilename("passphrase-file")
}

// passphrase reads that of a bundle, from a person twice if it is a new one.
func (t *tool) passphrase(cmd *cobra.Command, file string, fresh bool) (string, error) {
	if file != "" {
		return t.secretOf(file, "the passphrase")
	}
	if !t.Interactive {
		return "", usagef(cmd, "'%s' needs a passphrase, and nobody can be asked without a terminal: add --passphrase-file", cmd.CommandPath())
	}
	first, err := t.Password(cmd.Context(), "Passphrase: ")
	if err != nil || !fresh {
		return first, err
	}
	again, err := t.Password(cmd.Context(), "The same again: ")
	if err == nil && first != again {
		err = usagef(cmd, "the two passphrases differ: nothing was saved")
	}
	return first, err
}

// readBundle reads a file of vmgroup save. A key that is not known is refused.
func readBundle(path string) (b wire.Bundle, err error) {
	f, err := os.Open(path)
	if err != nil {
		return b, errkind.Wrap(errkind.Invalid, err, "the bundle cannot be read")
	}
	defer f.Close()
	dec := json.NewDecoder(io.LimitReader(f, wire.MaxBundle))
	dec.DisallowUnknownFields()
	err = dec.Decode(&b)
	if err == nil {
		if _, end := dec.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("there is something after its end")
		}
	}
	return b, errkind.Wrap(errkind.Invalid, err, "%s is no bundle of a vmgroup: make one with 'mooring vmgroup save'", path)
}
