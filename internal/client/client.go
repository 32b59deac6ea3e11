// Package client is the CLI's side of the control API: it talks to the daemon
// over the control socket.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
)

// CodeNoDaemon is the code of the error where no daemon listens.
const CodeNoDaemon = "no_daemon"

// base is the address of a daemon behind a socket. The name stands for whoever
// listens there; the socket asks for none.
const base = "http://drey" + api.Prefix

// maxAnswer bounds an answer in one piece. It is far above any page.
const maxAnswer = 256 << 20

// Client talks to one daemon. Its methods may be called concurrently. Errors
// are *drey.Error: CodeNoDaemon where nobody listens, else the code that the
// daemon gave; the *api.Error that it sent is in the tree, with its fields.
type Client struct {
	http *http.Client
}

// Dial returns a client of the daemon behind a control socket. It connects once
// to see that somebody is there.
func Dial(ctx context.Context, socket string) (*Client, error) {
	c := New(socket)
	conn, err := c.http.Transport.(*http.Transport).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, wrap("dial", err)
	}
	_ = conn.Close() // nothing was said on it
	return c, nil
}

// New is Dial without a look whether somebody is there: the first call tells.
func New(socket string) *Client {
	return &Client{http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
		DisableCompression: true, // it would only cost, within one machine
		IdleConnTimeout:    time.Minute,
	}}}
}

// Close closes connections that are idle. The client stays usable.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status returns the daemon in one look.
func (c *Client) Status(ctx context.Context) (api.Status, error) {
	var st api.Status
	return st, c.get(ctx, "/status", nil, &st)
}

// Config returns the configuration in force.
func (c *Client) Config(ctx context.Context) (api.Config, error) {
	var cfg api.Config
	return cfg, c.get(ctx, "/config", nil, &cfg)
}

// Reload has the daemon read its configuration again. It returns when the new
// one is in force; on an error of code api.CodeConfigRejected nothing has
// changed, and the *api.Error in its tree has the places in the file.
func (c *Client) Reload(ctx context.Context) (api.Reload, error) {
	var r api.Reload
	return r, c.post(ctx, "/config/reload", nil, &r)
}

// RequestQuery selects requests. The zero value selects the newest 100.
type RequestQuery struct {
	Cursor   string // NextCursor of the page before
	Profile  string
	Provider string // who served
	Outcome  string // ok, cancel, failed, failed_midstream, refused
	Since    string // a time (RFC 3339), or a duration back from now ("2h", "7d")
	Limit    int    // 0 = 100, at most 1000
}

// Requests returns one page of the requests that have ended, newest first.
func (c *Client) Requests(ctx context.Context, q RequestQuery) (api.Requests, error) {
	v := url.Values{}
	set(v, "cursor", q.Cursor)
	set(v, "profile", q.Profile)
	set(v, "provider", q.Provider)
	set(v, "outcome", q.Outcome)
	set(v, "since", q.Since)
	setLimit(v, q.Limit)
	var page api.Requests
	return page, c.get(ctx, "/requests", v, &page)
}

// Request returns one request with its events, as the store holds it.
func (c *Client) Request(ctx context.Context, id drey.RequestID) (json.RawMessage, error) {
	var row json.RawMessage
	return row, c.get(ctx, "/requests/"+url.PathEscape(string(id)), nil, &row)
}

func set(v url.Values, key, value string) {
	if value != "" {
		v.Set(key, value)
	}
}

func setLimit(v url.Values, limit int) {
	if limit != 0 {
		v.Set("limit", strconv.Itoa(limit))
	}
}

// get reads a resource.
func (c *Client) get(ctx context.Context, path string, q url.Values, into any) error {
	return c.call(ctx, http.MethodGet, path, q, nil, into)
}

// post asks for an act. body is what it needs to know; nil = nothing.
func (c *Client) post(ctx context.Context, path string, body, into any) error {
	if body == nil {
		return c.call(ctx, http.MethodPost, path, nil, nil, into)
	}
	data, err := json.Marshal(body)
	if err != nil {
		return &drey.Error{Op: http.MethodPost + " " + path, Err: err}
	}
	return c.call(ctx, http.MethodPost, path, nil, data, into)
}

// call performs one call with an answer in one piece.
func (c *Client) call(ctx context.Context, method, path string, q url.Values, body []byte, into any) error {
	op := method + " " + path
	header := http.Header{"Accept": {"application/json"}}
	if body != nil {
		header.Set("Content-Type", "application/json")
	}
	resp, err := c.send(ctx, method, path, q, header, body)
	if err != nil {
		return wrap(op, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return wrap(op, err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return &drey.Error{Class: drey.BadOutput, Op: op, Err: fmt.Errorf("read the answer: %w", err)}
	}
	return nil
}

// send sends a request. An answer other than 200 comes back as an error.
func (c *Client) send(ctx context.Context, method, path string, q url.Values, header http.Header, body []byte) (*http.Response, error) {
	u := base + path
	if len(q) > 0 {
		u += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = header
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20)) // what came of it has to do
	return nil, refusal(resp.StatusCode, said)
}

// refusal reads the daemon's error.
func refusal(status int, body []byte) error {
	var b api.ErrorBody
	if err := json.Unmarshal(body, &b); err != nil || b.Error.Message == "" {
		b.Error = api.Error{Message: fmt.Sprintf("the daemon answered with status %d", status)}
	}
	class := drey.Caller
	if status >= 500 {
		class = drey.Server
	}
	return &drey.Error{Class: class, Code: b.Error.Code, Status: status, Hint: b.Error.Hint, Err: &b.Error}
}

// wrap names the call in an error, and tells that nobody is there from the
// other ways in which a call fails.
func wrap(op string, err error) error {
	if e, ok := errors.AsType[*drey.Error](err); ok {
		e.Op = op
		return e
	}
	out := &drey.Error{Class: drey.Transport, Op: op, Err: err}
	if u, ok := errors.AsType[*url.Error](err); ok {
		out.Err = u.Err // its text is the address that we made up
	}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		out.Class = drey.Cancel
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		out.Code, out.Op, out.Err = CodeNoDaemon, "", errors.New("no daemon is running")
		out.Hint = "start it with `drey serve`"
	case errors.Is(err, fs.ErrPermission):
		out.Code = api.CodeForbidden
		out.Hint = "the control socket belongs to another user"
	}
	return out
}
