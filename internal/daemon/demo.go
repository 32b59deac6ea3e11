package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/fake"
)

// demoConfig is the configuration of `drey demo`: two built-in providers, the
// first of which will break.
const demoConfig = `version: 1
listen: {addr: "127.0.0.1:0"}
providers:
  nest: {wire: openai, url: "demo:echo?as=nest", class: local, model: nest-model}
  cloud: {wire: anthropic, url: "demo:echo?as=cloud", class: free, model: cloud-model}
profiles:
  default: {chain: [nest, cloud]}
`

// Demo runs a whole daemon in a home of its own for a moment, drives a handful
// of requests through it while its first provider breaks and comes back, and
// tells on w what was decided. With asJSON it tells one JSON object per line.
func Demo(ctx context.Context, w io.Writer, version string, asJSON bool) error {
	home, err := os.MkdirTemp("", "drey-demo-")
	if err != nil {
		return fmt.Errorf("make a home for the demo: %w", err)
	}
	defer os.RemoveAll(home)
	if err := os.WriteFile(filepath.Join(home, "drey.yaml"), []byte(demoConfig), 0o600); err != nil {
		return fmt.Errorf("write the demo's configuration: %w", err)
	}
	nest := fake.New(fake.Options{Script: fake.Always(fake.Text("The nest answers."))})
	cloud := fake.New(fake.Options{Script: fake.Always(fake.Text("The cloud answers."))})
	defer nest.Close()
	defer cloud.Close()

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ready := make(chan string, 1)
	ended := make(chan error, 1)
	var d *Daemon
	d, err = boot(ctx, Options{
		Version: version, Home: home, Log: slog.New(slog.DiscardHandler),
		Env:   func(string) (string, bool) { return "", false },
		Ready: func(addr string) { ready <- addr },
		Demo: func(url string) (http.RoundTripper, error) {
			if strings.Contains(url, "nest") {
				return nest, nil
			}
			return cloud, nil
		},
	})
	if err != nil {
		return err
	}
	go func() { ended <- d.serve(ctx) }()
	s := &story{w: w, json: asJSON, d: d}
	select {
	case s.addr = <-ready:
	case err := <-ended:
		return err
	}
	err = s.tell(ctx, nest)
	stop()
	return errors.Join(err, <-ended)
}

// story drives the demo's requests and tells what happened to each.
type story struct {
	w    io.Writer
	json bool
	d    *Daemon
	addr string
}

func (s *story) tell(ctx context.Context, nest *fake.Upstream) error {
	s.say("Two providers: nest (local, speaks OpenAI's wire) and cloud (free, speaks Anthropic's). Local comes first.")
	chapters := []struct {
		say   string
		act   func()
		wire  drey.Wire
		times int
	}{
		{"All is well. An OpenAI client asks:", func() {}, drey.WireChat, 1},
		{"An Anthropic client asks; its request is translated for nest:", func() {}, drey.WireAnthropic, 1},
		{"Now nest breaks: it answers 500. The client notices nothing:", func() { nest.Outage(fake.ServerError()) }, drey.WireAnthropic, 1},
		{"nest says that it has had enough for 2 seconds (429, Retry-After). It is parked and not even asked:", func() {
			nest.Outage(fake.RateLimited().RetryAfter(2 * time.Second))
		}, drey.WireChat, 2},
		{"nest is back, and its pause is over:", func() {
			nest.Restore()
			wait(ctx, 2100*time.Millisecond)
		}, drey.WireChat, 1},
	}
	for _, c := range chapters {
		s.say(c.say)
		c.act()
		for range c.times {
			if err := s.request(ctx, c.wire); err != nil {
				return err
			}
		}
	}
	s.say("That was it. `drey serve` does the same with the models that you have.")
	return ctx.Err()
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (s *story) say(text string) {
	if s.json {
		s.line(map[string]any{"say": text})
		return
	}
	fmt.Fprintf(s.w, "\n%s\n", text)
}

func (s *story) line(v any) {
	enc := json.NewEncoder(s.w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // plain values; and who does not read the demo does not miss it
}

// request sends one, and tells each decision about it as it was made.
func (s *story) request(ctx context.Context, w drey.Wire) error {
	path, body := "/v1/chat/completions", `{"model":"any","stream":true,"messages":[{"role":"user","content":"Who answers?"}]}`
	if w == drey.WireAnthropic {
		path, body = "/v1/messages", `{"model":"any","max_tokens":64,"stream":true,"messages":[{"role":"user","content":"Who answers?"}]}`
	}
	sub := s.d.bus.Subscribe()
	defer sub.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.addr+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("demo request: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("demo answer: %w", err)
	}
	for {
		ev, err := sub.Next(ctx)
		if err != nil {
			return err
		}
		s.event(ev)
		if ev.Name == "request-ended" {
			break
		}
	}
	s.answer(w, resp, answer)
	return nil
}

func (s *story) event(ev drey.Event) {
	if s.json {
		s.line(ev)
		return
	}
	if ev.Name == "request-ended" {
		return // the answer says it
	}
	var b strings.Builder
	for _, f := range ev.Fields {
		fmt.Fprintf(&b, " %s=%v", f.Key, f.Value)
	}
	fmt.Fprintf(s.w, "    %-18s%s\n", ev.Name, b.String())
}

func (s *story) answer(w drey.Wire, resp *http.Response, body []byte) {
	text := streamText(body)
	provider := resp.Header.Get("X-Drey-Provider")
	if s.json {
		s.line(map[string]any{"wire": w, "status": resp.StatusCode, "provider": provider, "fallback_reason": resp.Header.Get("X-Drey-Fallback-Reason"), "text": text})
		return
	}
	fmt.Fprintf(s.w, "  %s client: %d, %q (X-Drey-Provider: %s", w, resp.StatusCode, text, provider)
	if reason := resp.Header.Get("X-Drey-Fallback-Reason"); reason != "" {
		fmt.Fprintf(s.w, ", X-Drey-Fallback-Reason: %s", reason)
	}
	fmt.Fprintln(s.w, ")")
}

// streamText is the text of a stream of either wire.
func streamText(body []byte) string {
	var b strings.Builder
	for _, line := range strings.Split(string(body), "\n") {
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		var frame struct {
			Delta   struct{ Text string }
			Choices []struct{ Delta struct{ Content string } }
		}
		if json.Unmarshal([]byte(data), &frame) != nil {
			continue // [DONE]
		}
		b.WriteString(frame.Delta.Text)
		for _, c := range frame.Choices {
			b.WriteString(c.Delta.Content)
		}
	}
	return b.String()
}
