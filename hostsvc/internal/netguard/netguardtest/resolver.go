package netguardtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"sync"
	"testing"
)

// nameServer answers each question with the next of its addresses, and with the
// last one from then on.
type nameServer struct {
	mu      sync.Mutex
	answers [][4]byte
}

func (n *nameServer) next() [4]byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := n.answers[0]
	if len(n.answers) > 1 {
		n.answers = n.answers[1:]
	}
	return a
}

// reply is an answer to a question about one name: with an address, if it asks
// for one of IPv4.
func (n *nameServer) reply(question []byte) []byte {
	end := 12 + bytes.IndexByte(question[12:], 0) + 5 // header, name, type and class
	kind := binary.BigEndian.Uint16(question[end-4:])
	out := append([]byte(nil), question[:end]...)
	copy(out[2:], []byte{0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0})
	if kind != 1 {
		return out
	}
	out[7] = 1
	ip := n.next()
	return append(out, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, ip[0], ip[1], ip[2], ip[3])
}

// Resolver asks a name server of its own, over real datagrams: each name leads
// to the first of answers, then to the next, and to the last from then on.
func Resolver(t testing.TB, answers ...[4]byte) *net.Resolver {
	t.Helper()
	l, err := net.ListenPacket("udp", "127.0.0.1:0") //nolint:noctx // it is there at once
	if err != nil {
		t.Fatal(err)
	}
	n := &nameServer{answers: answers}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	wg.Go(func() {
		b := make([]byte, 4096)
		for {
			k, from, err := l.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = l.WriteTo(n.reply(b[:k]), from)
		}
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", l.LocalAddr().String())
	}}
}

// Resolve makes every name of the process lead to answers, as Resolver does,
// until the test ends. Such a test has no parallel ones.
func Resolve(t testing.TB, answers ...[4]byte) {
	t.Helper()
	was := net.DefaultResolver
	net.DefaultResolver = Resolver(t, answers...)
	t.Cleanup(func() { net.DefaultResolver = was })
}
