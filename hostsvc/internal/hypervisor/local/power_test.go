package local

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
)

func TestPower(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	var p powers
	v := VM{Name: "vm", InitPIDFile: file}
	is := func(want hypervisor.Power) string {
		t.Helper()
		power, boot := p.of(v)
		assert.Equal(t, want, power)
		assert.Equal(t, want == hypervisor.On, boot != "")
		return boot
	}
	is(hypervisor.Off) // no file
	for _, garbage := range []string{"", "x", "0", "-1", "1 2"} {
		require.NoError(t, os.WriteFile(file, []byte(garbage), 0o644))
		is(hypervisor.Unknown)
	}
	start := func() *exec.Cmd {
		cmd := exec.Command("sleep", "infinity")
		require.NoError(t, cmd.Start())
		require.NoError(t, os.WriteFile(file, []byte(strconv.Itoa(cmd.Process.Pid)), 0o644))
		return cmd
	}
	first := start()
	boot := is(hypervisor.On)
	assert.Equal(t, boot, is(hypervisor.On))
	require.NoError(t, first.Process.Kill())
	var st hypervisor.Power
	for range 1000 { // a dead process that nobody has waited for is dead
		if st, _ = p.of(v); st == hypervisor.Off {
			break
		}
	}
	assert.Equal(t, hypervisor.Off, st)
	_ = first.Wait()
	is(hypervisor.Off)
	second := start()
	assert.NotEqual(t, boot, is(hypervisor.On))
	require.NoError(t, second.Process.Kill())
	_ = second.Wait()
	is(hypervisor.Off)
}

// The pid in the file of a VM that is off is given to another process.
func TestPIDOfAnotherProcess(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	require.NoError(t, os.WriteFile(file, []byte(strconv.Itoa(os.Getpid())), 0o644))
	var p powers
	v := VM{Name: "vm", InitPIDFile: file}
	power, _ := p.of(v)
	require.Equal(t, hypervisor.On, power)
	m := p.seen[file]
	m.start-- // as if the process had been another one when it was first seen
	p.seen[file] = m
	power, _ = p.of(v)
	assert.Equal(t, hypervisor.Off, power)
}

// A service from which processes are hidden must not take a VM for off.
func TestHiddenProcess(t *testing.T) {
	cmd := exec.Command("sleep", "infinity")
	require.NoError(t, cmd.Start())
	pid := strconv.Itoa(cmd.Process.Pid)
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	file := filepath.Join(t.TempDir(), "pid")
	require.NoError(t, os.WriteFile(file, []byte(pid), 0o644))
	run(t, "mount", "--bind", t.TempDir(), "/proc/"+pid)
	defer run(t, "umount", "/proc/"+pid)
	var p powers
	power, _ := p.of(VM{Name: "vm", InitPIDFile: file})
	assert.Equal(t, hypervisor.Unknown, power)
}

func TestThisMachineIsOn(t *testing.T) {
	l, err := New(Options{VMs: []VM{{Name: "here"}}})
	require.NoError(t, err)
	v, err := l.VM(t.Context(), VMID("here"))
	require.NoError(t, err)
	assert.Equal(t, hypervisor.On, v.Power)
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	require.NoError(t, err)
	assert.Equal(t, string(boot), v.BootID+"\n")
}

// A process's name may look like the end of its entry.
func TestProcessStart(t *testing.T) {
	odd := filepath.Join(t.TempDir(), ") R 1 (")
	b, err := os.ReadFile("/bin/sleep")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(odd, b, 0o755))
	cmd := exec.Command(odd, "infinity")
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	start, err := processStart(cmd.Process.Pid)
	require.NoError(t, err)
	self, err := processStart(os.Getpid())
	require.NoError(t, err)
	assert.GreaterOrEqual(t, start, self)
	gone, err := processStart(1 << 22)
	require.NoError(t, err)
	assert.Zero(t, gone)
}

func TestChanges(t *testing.T) {
	on := func(boot string) hypervisor.VM { return hypervisor.VM{Power: hypervisor.On, BootID: boot} }
	off := hypervisor.VM{Power: hypervisor.Off}
	assert.Empty(t, changes(on("1"), on("1")))
	assert.Empty(t, changes(off, off))
	assert.Equal(t, []string{"power-off"}, changes(on("1"), off))
	assert.Equal(t, []string{"power-on"}, changes(off, on("1")))
	assert.Equal(t, []string{"power-off", "power-on"}, changes(on("1"), on("2")), "off and on between two looks")
}
