package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
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
	fmt.Fprintf(t.Err, "%s Continue? [y/N] ", clean(question, false))
	// A read from a terminal cannot be cancelled; the reader ends with the
	// process, or with the line.
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(t.In).ReadString('\n')
		answer <- line
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case line := <-answer:
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "y", "yes":
			return nil
		}
		return errors.New("nothing was changed: the answer was not yes")
	}
}
