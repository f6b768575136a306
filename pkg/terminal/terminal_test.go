package terminal

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestReadLineTakesNoMore(t *testing.T) {
	in := strings.NewReader("one\n\ntwo")
	for _, want := range []string{"one", "", "two", ""} {
		assert.Equal(t, want, ReadLine(in))
	}
}

// pty is the two ends of a pseudo terminal.
func pty(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("this machine has no pseudo terminals")
	}
	t.Cleanup(func() { person.Close() })
	require.NoError(t, unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { program.Close() })
	return person, program
}

func TestASecretDoesNotShow(t *testing.T) {
	person, program := pty(t)
	assert.True(t, Is(program))
	shown := make(chan string, 2)
	go func() {
		r := bufio.NewReader(person)
		prompt, _ := r.ReadString(' ')
		_, _ = person.WriteString("secret\n")
		rest, _ := r.ReadString('\n')
		shown <- prompt
		shown <- rest
	}()
	got, err := ReadSecret(t.Context(), program, program, "Password: ")
	require.NoError(t, err)
	assert.Equal(t, "secret", got)
	assert.Equal(t, "Password: ", <-shown)
	assert.Equal(t, "\r\n", <-shown)
	echo, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
	require.NoError(t, err)
	assert.NotZero(t, echo.Lflag&unix.ECHO, "the terminal is as it was")
}

// Whoever breaks a question off gets the terminal back as it was.
func TestASecretThatNobodyGives(t *testing.T) {
	person, program := pty(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _ = bufio.NewReader(person).ReadString(' ')
		cancel()
	}()
	_, err := ReadSecret(ctx, program, program, "Password: ")
	require.ErrorIs(t, err, context.Canceled)
	echo, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
	require.NoError(t, err)
	assert.NotZero(t, echo.Lflag&unix.ECHO)
}

func TestAFileIsNoTerminal(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/f")
	require.NoError(t, err)
	defer f.Close()
	assert.False(t, Is(f))
	_, err = ReadSecret(t.Context(), f, f, "?")
	assert.ErrorContains(t, err, "give it in a file")
}
