package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// terminal writes the story for a person to read, in colours where the output
// is a terminal and NO_COLOR is not set.
type terminal struct{ color bool }

func newTerminal() *terminal {
	_, err := unix.IoctlGetTermios(int(os.Stdout.Fd()), unix.TCGETS)
	return &terminal{color: err == nil && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

func (t *terminal) paint(code, s string) string {
	if !t.color || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// title begins a chapter.
func (t *terminal) title(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	fmt.Printf("\n%s\n", t.paint("1", "== "+s+" "+strings.Repeat("=", max(2, 74-len([]rune(s))))))
}

// say explains.
func (t *terminal) say(format string, args ...any) {
	for line := range strings.SplitSeq(fmt.Sprintf(format, args...), "\n") {
		fmt.Println(t.paint("2", "# "+line))
	}
}

func (t *terminal) plain(line string) { fmt.Println(line) }

// command shows what is about to run.
func (t *terminal) command(words []string) { fmt.Println(t.paint("36", "$ "+quote(words))) }

// request shows what is about to be asked on a VM's channel.
func (t *terminal) request(path, vm string) {
	fmt.Println(t.paint("36", "> GET "+path+"   (on the channel of "+vm+")"))
}

func (t *terminal) fail(text string) {
	fmt.Fprintln(os.Stderr, "\ndemo: "+text)
}

// quote writes words as a shell would read them.
func quote(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		switch {
		case w != "" && !strings.ContainsAny(w, " \t\n'\"\\$&|;<>()*?[]{}~#!`"):
		case strings.Contains(w, "'") && !strings.ContainsAny(w, "\"\\$`!"):
			w = `"` + w + `"`
		default:
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		out[i] = w
	}
	return strings.Join(out, " ")
}

func list(items []string) string {
	const most = 5
	if n := len(items); n > most {
		items = append(items[:most:most], fmt.Sprintf("and %d more", n-most))
	}
	return strings.Join(items, ", ")
}
