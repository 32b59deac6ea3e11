package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/dreyhq/drey"
)

// Readiness says how to see that a backend is ready (the healing contract §7).
type Readiness struct {
	Path     string        // what is asked; "" = /health
	Interval time.Duration // between two looks; 0 = 250 ms
	Timeout  time.Duration // of the whole; 0 = 5 min
}

func (r Readiness) withDefaults() Readiness {
	if r.Path == "" {
		r.Path = "/health"
	}
	if r.Interval <= 0 {
		r.Interval = 250 * time.Millisecond
	}
	if r.Timeout <= 0 {
		r.Timeout = 5 * time.Minute
	}
	return r
}

const (
	// fallbackPath is asked of servers that do not know the readiness path.
	fallbackPath = "/v1/models"
	// oneLook is how long one answer may take; a loading server may accept
	// connections and answer none.
	oneLook = 5 * time.Second
)

// Ready waits until the backend is ready: the first 200 at its path. A server
// that answers 404 there is asked for /v1/models from then on; all other
// answers, and none, mean that it is still loading.
//
// The error is ErrExited when the process ends first, ErrNotReady (with what
// was seen last) after the timeout, or ctx's. The process is left as it is.
func (p *Process) Ready(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := time.AfterFunc(p.ready.Timeout, func() { cancel(ErrNotReady) })
	defer late.Stop()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-p.exited:
			cancel(ErrExited)
		case <-ctx.Done():
		}
	}()
	defer func() { cancel(nil); <-watched }()

	client, path, last := loopbackClient(), p.ready.Path, "no answer"
	tick := time.NewTicker(p.ready.Interval)
	defer tick.Stop()
	for {
		status, err := look(ctx, client, "http://127.0.0.1:"+strconv.Itoa(p.port)+path)
		switch {
		case ctx.Err() != nil: // also when it has answered: who ended is not ready
			return p.notReady(context.Cause(ctx), last)
		case err != nil:
			last = err.Error()
		case status == http.StatusOK:
			return nil
		case status == http.StatusNotFound && path != fallbackPath:
			path = fallbackPath
			continue
		default:
			last = "answer " + strconv.Itoa(status) + " at " + path
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return p.notReady(context.Cause(ctx), last)
		}
	}
}

// notReady says on one line why it is not.
func (p *Process) notReady(cause error, last string) error {
	if errors.Is(cause, ErrNotReady) {
		return fmt.Errorf("%w after %s: %s", cause, drey.Duration(p.ready.Timeout), last)
	}
	return cause
}

// look asks once and returns the status of the answer.
func look(ctx context.Context, client *http.Client, url string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, oneLook)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	return resp.StatusCode, resp.Body.Close()
}

// loopbackClient returns a client that goes straight to this machine: no
// proxy, no redirect (which is no 200), no connection that is kept.
func loopbackClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: oneLook}).DialContext,
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
