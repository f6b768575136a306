package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
)

// Client speaks to the control socket. It is safe for concurrent use.
type Client struct {
	http *http.Client
}

// Error is the simulator's refusal of a request.
type Error struct{ Text string }

func (e *Error) Error() string { return "simvc: " + e.Text }

type args map[string]any

// Connect makes a client of a control socket; it reaches for it with the first
// request.
func Connect(socket string) *Client {
	var d net.Dialer
	return &Client{http: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "unix", socket)
		},
	}}}
}

func (c *Client) call(ctx context.Context, op string, in args, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://simvc/"+op, bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("simvc: %w", err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("simvc: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return &Error{Text: string(bytes.TrimSpace(data))}
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return errors.Join(errors.New("simvc: unreadable answer"), err)
	}
	return nil
}
