package bench

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"mooring.dev/mooring/e2e/harness"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/invite"
	"mooring.dev/mooring/pkg/transport"
	"mooring.dev/mooring/pkg/wire"
	"mooring.dev/mooring/simvc/control"
)

// The size of the vCenter that is measured on.
const (
	manyVMs     = 1000
	manyVolumes = 2000
	manyGroups  = 100
)

// BenchmarkVSphere measures on a simulated vCenter with 1000 VMs and 2000
// volumes: how long calls take there, of which the simulator has the larger
// part, and how many calls of vCenter each makes, which is ours.
func BenchmarkVSphere(b *testing.B) {
	ctx := context.Background()
	program, err := control.Build(ctx)
	require.NoError(b, err)
	defer os.RemoveAll(filepath.Dir(program))
	sim, err := control.Start(ctx, program, control.Options{VMs: manyVMs, Hosts: 8, Capacity: 1 << 40})
	require.NoError(b, err)
	defer func() { require.NoError(b, sim.Stop()) }()
	d := onVCenter(b, sim)
	d.Start(b)
	defer func() { d.Stop(b) }()
	admin := hostclient.NewAdmin("unix://"+d.Config.Admin.Socket, hostclient.Options{})
	populate(ctx, b, admin)
	for b.Loop() {
		d.Stop(b)
		require.NoError(b, sim.ResetCalls(ctx))
		start := time.Now()
		d.Start(b)
		vms, err := admin.VMs(ctx)
		require.NoError(b, err)
		require.Len(b, vms, manyVMs)
		onScale(ctx, b, sim, "from the start to the list of all VMs", sample{time.Since(start)}, 1)
		guest := member(ctx, b, admin, "vm-0")
		measureVSphere(ctx, b, sim, guest)
	}
}

// onVCenter is a service on sim that others do not reach.
func onVCenter(b *testing.B, sim *control.Sim) *harness.Daemon {
	password := filepath.Join(b.TempDir(), "password")
	require.NoError(b, os.WriteFile(password, []byte(sim.Password+"\n"), 0o600))
	return lab.Daemon(b, "vscale", nil, nil, func(c *harness.Config) {
		c.Log.Level, c.Hypervisor, c.DefaultVMGroup = "warn", "vsphere", false
		c.Volume.Reconcile = "1m" // as it is by default
		c.VSphere = map[string]any{"url": sim.URL, "user": sim.User, "password_file": password, "thumbprint": sim.Thumbprint}
		c.Guest = map[string]any{"listen": "127.0.0.1:0"}
	})
}

// populate makes vmgroups with their volumes, and puts vm-0 into one.
func populate(ctx context.Context, b *testing.B, admin *hostclient.Admin) {
	var eg errgroup.Group
	eg.SetLimit(8)
	for i := range manyGroups {
		eg.Go(func() error {
			name := fmt.Sprintf("tenant%d", i)
			if _, err := admin.CreateVMGroup(ctx, wire.CreateVMGroup{Name: name, DefaultDatastore: "ds-1"}); err != nil {
				return err
			}
			for j := range manyVolumes / manyGroups {
				if _, err := admin.CreateVolume(ctx, name, wire.CreateVolume{Name: fmt.Sprintf("v%d", j)}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(b, eg.Wait())
	require.NoError(b, admin.AddVMs(ctx, "tenant0", []string{"vm-0"}))
}

// member is what the plugin in a VM is to the service.
func member(ctx context.Context, b *testing.B, admin *hostclient.Admin, vm string) *hostclient.Client {
	in, err := admin.InviteVM(ctx, vm, wire.Invite{})
	require.NoError(b, err)
	pin, err := transport.ReadPin(in.CA)
	require.NoError(b, err)
	code, err := invite.Parse(in.Code)
	require.NoError(b, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(b, err)
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	require.NoError(b, err)
	c, err := hostclient.Enroll(ctx, in.URL, pin, code, request, hostclient.Options{})
	require.NoError(b, err)
	cert := &tls.Certificate{Certificate: [][]byte{c.Certificate}, PrivateKey: key}
	return hostclient.New(in.URL, hostclient.Options{TLS: func() (*tls.Config, error) { return transport.ClientTLS(pin, cert), nil }})
}

// measureVSphere takes each operation of a guest in turn, a few times.
func measureVSphere(ctx context.Context, b *testing.B, sim *control.Sim, guest *hostclient.Client) {
	const times = 20
	for _, op := range []struct {
		work string
		do   func(i int) error
	}{
		{"create", func(i int) error {
			_, err := guest.Create(ctx, wire.CreateVolume{Name: fmt.Sprintf("new%d", i)})
			return err
		}},
		{"list one vmgroup", func(int) error { _, err := guest.List(ctx); return err }},
		{"attach", func(i int) error {
			_, err := guest.Attach(ctx, fmt.Sprintf("new%d", i), wire.Attach{BootID: "bench"})
			return err
		}},
		{"detach", func(i int) error { return guest.Detach(ctx, fmt.Sprintf("new%d", i), wire.Detach{}) }},
		{"remove", func(i int) error { return guest.Remove(ctx, fmt.Sprintf("new%d", i)) }},
	} {
		require.NoError(b, sim.ResetCalls(ctx))
		var took sample
		for i := range times {
			start := time.Now()
			require.NoError(b, op.do(i), op.work)
			took = append(took, time.Since(start))
		}
		onScale(ctx, b, sim, op.work, took, times)
	}
}

// onScale adds a row with the calls of vCenter that each of n operations made.
func onScale(ctx context.Context, b *testing.B, sim *control.Sim, work string, took sample, n int) {
	made, err := sim.Calls(ctx)
	require.NoError(b, err)
	sum := 0
	for _, calls := range made {
		sum += calls
	}
	result := took.String()
	if n == 1 {
		result = ms(took[0])
	}
	b.ReportMetric(float64(took.at(0.5).Microseconds())/1000, strings.ReplaceAll(work, " ", "-")+"-p50-ms")
	alone(fmt.Sprintf("vSphere, %d VMs, %d volumes: %s", manyVMs, manyVolumes, work), fmt.Sprintf("%s, %.1f calls of vCenter", result, float64(sum)/float64(n)), "")
}
