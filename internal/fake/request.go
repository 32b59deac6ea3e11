package fake

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Kind says what a request asks for.
type Kind uint8

// The kinds. Other is a path that the fake does not serve.
const (
	Other       Kind = iota
	Messages         // POST …/messages
	Chat             // POST …/chat/completions
	CountTokens      // POST …/messages/count_tokens
	Models           // GET …/models
)

// Request is what the fake received. The fields below Body are what it read of
// the body; they are zero where the body is no JSON object.
type Request struct {
	N      int // which call of a model it is, from 1; 0 for other requests and in an outage
	At     time.Time
	Kind   Kind
	Method string
	Path   string
	Query  url.Values
	Header http.Header
	Body   []byte

	Model     string
	Stream    bool
	WantUsage bool     // chat: stream_options.include_usage
	Tools     []string // names of the declared tools, in order
	Text      string   // of the last user turn
	HasResult bool     // a tool result stands after the last assistant turn

	Cancelled   bool // the caller went away before the answer was complete
	CancelledAt time.Time
	Ended       bool // the fake has done with it

	rec *record
}

// record is a request as it develops; guarded by Upstream.mu.
type record struct {
	request  Request
	complete bool // the last of the answer is on its way, or the fake has lost the connection: going away now is no cancel
}

// readRequest takes out of a request what behaviours depend on. It is lenient:
// judging requests is not its business.
func readRequest(r *http.Request, body []byte) Request {
	req := Request{
		Kind: kindOf(r), Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(),
		Header: r.Header.Clone(), Body: body,
	}
	var in struct {
		Model         string `json:"model"`
		Stream        bool   `json:"stream"`
		StreamOptions struct {
			IncludeUsage bool `json:"include_usage"`
		} `json:"stream_options"`
		Tools []struct {
			Name     string `json:"name"`
			Function struct {
				Name string `json:"name"`
			} `json:"function"`
		} `json:"tools"`
		Messages []struct {
			Role    string          `json:"role"`
			Content json.RawMessage `json:"content"`
		} `json:"messages"`
	}
	if json.Unmarshal(body, &in) != nil {
		return req
	}
	req.Model, req.Stream, req.WantUsage = in.Model, in.Stream, in.StreamOptions.IncludeUsage
	for _, t := range in.Tools {
		if name := t.Name + t.Function.Name; name != "" {
			req.Tools = append(req.Tools, name)
		}
	}
	for _, m := range in.Messages {
		text, result := readContent(m.Content)
		switch m.Role {
		case "assistant":
			req.HasResult = false
		case "tool":
			req.HasResult = true
		case "user":
			req.HasResult = req.HasResult || result
			if text != "" {
				req.Text = text
			}
		}
	}
	return req
}

// readContent returns the text of a message's content, a string or a list of
// parts, and whether a tool result is among them.
func readContent(raw json.RawMessage) (text string, result bool) {
	if json.Unmarshal(raw, &text) == nil {
		return text, false
	}
	var parts []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if json.Unmarshal(raw, &parts) != nil {
		return "", false
	}
	var texts []string
	for _, p := range parts {
		switch p.Type {
		case "text":
			texts = append(texts, p.Text)
		case "tool_result":
			result = true
		}
	}
	return strings.Join(texts, "\n"), result
}

func kindOf(r *http.Request) Kind {
	ends := func(s string) bool { return strings.HasSuffix(r.URL.Path, s) }
	switch {
	case r.Method == http.MethodPost && ends("/messages/count_tokens"):
		return CountTokens
	case r.Method == http.MethodPost && ends("/messages"):
		return Messages
	case r.Method == http.MethodPost && ends("/chat/completions"):
		return Chat
	case r.Method == http.MethodGet && ends("/models"):
		return Models
	}
	return Other
}

// Requests returns all requests so far, in the order of their arrival.
func (u *Upstream) Requests() []Request {
	u.mu.Lock()
	defer u.mu.Unlock()
	out := make([]Request, len(u.records))
	for i, r := range u.records {
		out[i] = r.request
	}
	return out
}

// Calls returns the requests that called a model, those of an outage included.
func (u *Upstream) Calls() []Request {
	return slices.DeleteFunc(u.Requests(), func(r Request) bool { return r.Kind != Messages && r.Kind != Chat })
}

// WaitCalls returns when at least n calls of a model have arrived, with all of
// them, or with ctx's error.
func (u *Upstream) WaitCalls(ctx context.Context, n int) ([]Request, error) {
	return u.wait(ctx, n, "have arrived", func(Request) bool { return true })
}

// WaitEnded returns when at least n calls of a model have ended, answered or
// not.
func (u *Upstream) WaitEnded(ctx context.Context, n int) ([]Request, error) {
	return u.wait(ctx, n, "have ended", func(r Request) bool { return r.Ended })
}

// WaitCancelled returns when at least n calls of a model were cancelled by
// their callers.
func (u *Upstream) WaitCancelled(ctx context.Context, n int) ([]Request, error) {
	return u.wait(ctx, n, "were cancelled", func(r Request) bool { return r.Cancelled })
}

func (u *Upstream) wait(ctx context.Context, n int, what string, is func(Request) bool) ([]Request, error) {
	for {
		u.mu.Lock()
		changed := u.changed
		u.mu.Unlock()
		calls := slices.DeleteFunc(u.Calls(), func(r Request) bool { return !is(r) })
		if len(calls) >= n {
			return calls, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return calls, fmt.Errorf("%d of %d calls %s: %w", len(calls), n, what, context.Cause(ctx))
		}
	}
}

func (u *Upstream) addLocked(r Request) *record {
	rec := &record{request: r}
	rec.request.rec = rec
	u.records = append(u.records, rec)
	u.announceLocked()
	return rec
}

func (u *Upstream) cancelled(rec *record) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if rec.request.Ended || rec.request.Cancelled || rec.complete {
		return
	}
	rec.request.Cancelled, rec.request.CancelledAt = true, u.opts.Now()
	u.announceLocked()
}

// completed notes that the last of what r gets is on its way.
func (u *Upstream) completed(r Request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	r.rec.complete = true
}

func (u *Upstream) snapshot(rec *record) Request {
	u.mu.Lock()
	defer u.mu.Unlock()
	return rec.request
}

func (u *Upstream) end(ctx context.Context, rec *record) {
	if ctx.Err() != nil {
		u.cancelled(rec) // unless it is noted already
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	rec.request.Ended = true
	u.announceLocked()
}

func (u *Upstream) announceLocked() {
	close(u.changed)
	u.changed = make(chan struct{})
}
