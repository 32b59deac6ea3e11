package client

import (
	"context"
	"net/url"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
)

// Captures returns one page of the requests that were captured, newest first.
// cursor is NextCursor of the page before, "" for the first; limit 0 is 100.
func (c *Client) Captures(ctx context.Context, cursor string, limit int) (api.Captures, error) {
	v := url.Values{}
	set(v, "cursor", cursor)
	setLimit(v, limit)
	var page api.Captures
	return page, c.get(ctx, "/captures", v, &page)
}

// Capture returns one captured request, whole.
func (c *Client) Capture(ctx context.Context, id drey.RequestID) (api.Capture, error) {
	var out api.Capture
	return out, c.get(ctx, "/captures/"+url.PathEscape(string(id)), nil, &out)
}

// Replay sends a captured request again and returns when it has been answered,
// or when ctx ends, which ends the replay too.
func (c *Client) Replay(ctx context.Context, id drey.RequestID, ask api.ReplayAsk) (api.Replay, error) {
	var out api.Replay
	return out, c.post(ctx, "/requests/"+url.PathEscape(string(id))+"/replay", ask, &out)
}
