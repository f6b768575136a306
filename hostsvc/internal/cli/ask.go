package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/terminal"
)

// confirm lets a person think again. With --yes it agrees at once; without a
// terminal nobody can be asked, so the flag is required.
func (t *tool) confirm(cmd *cobra.Command, question string) error {
	if !t.yes && !t.Interactive {
		return usagef(cmd, "%s Nobody can be asked without a terminal: add --yes", clean(question, false))
	}
	return t.ask(cmd.Context(), question)
}

// ask is confirm for commands of the old script, which never asked: without a
// terminal it agrees.
func (t *tool) ask(ctx context.Context, question string) error {
	if t.yes || !t.Interactive {
		return nil
	}
	return t.agree(ctx, question)
}

// agree is ask where only a person can answer.
func (t *tool) agree(ctx context.Context, question string) error {
	line, err := t.line(ctx, clean(question, false)+" Continue? [y/N] ")
	if err != nil {
		return err
	}
	switch strings.ToLower(line) {
	case "y", "yes":
		return nil
	}
	return errors.New("nothing was changed: the answer was not yes")
}

// line asks a person for a line, without the blanks around it.
func (t *tool) line(ctx context.Context, prompt string) (string, error) {
	fmt.Fprint(t.Err, prompt)
	line, err := terminal.WaitLine(ctx, t.In)
	return strings.TrimSpace(line), err
}
