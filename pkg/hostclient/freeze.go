package hostclient

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"mooring.dev/mooring/pkg/wire"
)

// Freezes asks for orders to freeze volumes and waits for one as long as the
// service is asked to, at most wire.MaxFreezeWait. after is the Next of the
// answer before, "" at first. No orders are no error.
func (c *Client) Freezes(ctx context.Context, after string, wait time.Duration) (o wire.FreezeOrders, err error) {
	q := url.Values{}
	set(q, "after", after)
	q.Set("wait_ms", strconv.FormatInt(wait.Milliseconds(), 10))
	_, err = c.do(ctx, call{method: http.MethodGet, path: []string{"freezes"}, query: q, into: &o})
	return o, err
}

// ReportFreeze tells how far an order is. The answer to frozen comes when the
// guest may thaw, up to the order's lease later. An order that is over or
// another VM's: not-found.
func (c *Client) ReportFreeze(ctx context.Context, id string, r wire.FreezeReport) (a wire.FreezeAnswer, err error) {
	_, err = c.do(ctx, call{method: http.MethodPost, path: []string{"freezes", id}, body: r, into: &a})
	return a, err
}
