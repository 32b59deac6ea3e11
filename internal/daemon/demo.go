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
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/events"
	"github.com/dreyhq/drey/internal/fake"
)

// demoConfig is the configuration of `drey demo`: two built-in providers, the
// first of which will break. It is quick to exclude and to probe, so that a
// breakdown is over in seconds.
const demoConfig = `version: 1
listen: {addr: "127.0.0.1:0"}
health: {threshold: 1, probe: {initial: 1s}}
providers:
  nest: {wire: openai, url: "demo:echo?as=nest", class: local, model: nest-model}
  cloud: {wire: anthropic, url: "demo:echo?as=cloud", class: free, model: cloud-model}
profiles:
  default: {chain: [nest, cloud]}
`

// demoTime is the longest that a demo takes. It is reached by a bug alone.
const demoTime = time.Minute

// Demo runs a whole daemon in a home of its own for some seconds, drives a
// handful of requests through it while its first provider breaks and comes
// back, and tells on w what was decided, in the sentences of `drey why`. With
// asJSON it tells one JSON object per line.
func Demo(ctx context.Context, w io.Writer, version string, asJSON bool) error {
	home, err := os.MkdirTemp("", "drey-demo-")
	if err != nil {
		return fmt.Errorf("make a home for the demo: %w", err)
	}
	defer os.RemoveAll(home)
	if err := os.WriteFile(filepath.Join(home, "drey.yaml"), []byte(demoConfig), 0o600); err != nil {
		return fmt.Errorf("write the demo's configuration: %w", err)
	}
	nest := fake.New(fake.Options{Models: []string{"nest-model"}, Script: fake.Always(fake.Text("The nest answers.").TTFT(20 * time.Millisecond))})
	cloud := fake.New(fake.Options{Models: []string{"cloud-model"}, Script: fake.Always(fake.Text("The cloud answers.").TTFT(60 * time.Millisecond))})
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
	s := &story{w: w, json: asJSON, d: d, http: &http.Client{Transport: &http.Transport{}}}
	defer s.http.CloseIdleConnections()
	select {
	case s.addr = <-ready:
	case err := <-ended:
		return err
	}
	telling, enough := context.WithTimeout(ctx, demoTime)
	defer enough()
	err = s.tell(telling, nest)
	stop()
	return errors.Join(err, <-ended)
}

// story drives the demo's requests and tells what happened to each. It asks the
// daemon's own doors, as anybody else would.
type story struct {
	w    io.Writer
	json bool
	d    *Daemon
	addr string
	http *http.Client
	told drey.Seq // the last journaled event that was told
}

// chapter is one scene: what is said, what happens behind it, what is waited
// for, and who asks then.
type chapter struct {
	say  string
	act  func()
	wait string // until an event of this name is journaled
	asks []drey.Wire
}

func (s *story) tell(ctx context.Context, nest *fake.Upstream) error {
	const chat, anthropic = drey.WireChat, drey.WireAnthropic
	s.say("Two providers: nest (local, speaks OpenAI's wire) and cloud (free, speaks Anthropic's). Local comes first.")
	chapters := []chapter{
		{say: "All is well. An OpenAI client asks, then an Anthropic one, whose request is translated for nest:", asks: []drey.Wire{chat, anthropic}},
		{
			say: "nest breaks: nobody listens there any more. The clients notice nothing, and two failures in a row are\nenough here to take it out (six, where nobody has set threshold):",
			act: func() { nest.Outage(fake.Refused()) }, asks: []drey.Wire{anthropic, chat, anthropic},
		},
		{say: "drey looks after it, at first after 1 s here. It is still down:", wait: "self-healing-recovery-probe"},
		{say: "nest is started again. The next probe finds that out, and nobody has to do anything:", act: nest.Restore, wait: "self-healing-restore"},
		{say: "It has its requests again, 1 at a time, then 2, then 4, as it does well:", asks: []drey.Wire{chat, anthropic, chat}},
		{
			say: "nest says that it has had enough for 2 seconds (429, Retry-After). It is left alone for so long:",
			act: func() { nest.Outage(fake.RateLimited().RetryAfter(2 * time.Second)) }, asks: []drey.Wire{chat, anthropic},
		},
		{say: "Then it is asked again:", act: nest.Restore, wait: "provider-unparked", asks: []drey.Wire{chat}},
	}
	for _, c := range chapters {
		if err := s.play(ctx, c); err != nil {
			return err
		}
	}
	s.say("That was it. `drey serve` does the same with the models that you have; `drey why provider nest` tells it again:")
	return s.again(ctx)
}

func (s *story) play(ctx context.Context, c chapter) error {
	s.say(c.say)
	sub := s.d.bus.Subscribe()
	defer sub.Close()
	if c.act != nil {
		c.act()
	}
	if c.wait != "" {
		if _, err := await(ctx, sub, func(ev drey.Event) bool { return ev.Name == c.wait }); err != nil {
			return err
		}
		if err := s.news(ctx); err != nil {
			return err
		}
	}
	for _, w := range c.asks {
		if err := s.request(ctx, sub, w); err != nil {
			return err
		}
	}
	return nil
}

// await returns the first event that is the one.
func await(ctx context.Context, sub *events.Subscription, is func(drey.Event) bool) (drey.Event, error) {
	for {
		ev, err := sub.Next(ctx)
		if err != nil || is(ev) {
			return ev, err
		}
	}
}

func (s *story) say(text string) {
	if s.json {
		s.line(map[string]any{"say": strings.ReplaceAll(text, "\n", " ")})
		return
	}
	fmt.Fprintf(s.w, "\n%s\n", text)
}

func (s *story) line(v any) {
	enc := json.NewEncoder(s.w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // plain values; and who does not read the demo does not miss it
}

// step tells one thing that happened.
func (s *story) step(step api.WhyStep) {
	s.told = max(s.told, step.Seq)
	switch {
	case s.json:
		s.line(step)
	case step.Event != "": // else it tells what the client has seen, which has a line of its own
		fmt.Fprintf(s.w, "    %s.\n", step.Text)
	}
}

// news tells what has become of nest since it was last told.
func (s *story) news(ctx context.Context) error {
	w, err := s.why(ctx, "provider/nest")
	if err != nil {
		return err
	}
	for _, step := range w.Steps {
		if step.Seq > s.told {
			step.Text = "nest: " + step.Text
			s.step(step)
		}
	}
	return nil
}

// again tells nest's whole story as `drey why` does.
func (s *story) again(ctx context.Context) error {
	w, err := s.why(ctx, "provider/nest")
	if err != nil {
		return err
	}
	if s.json {
		s.line(w)
		return nil
	}
	fmt.Fprintf(s.w, "\n%s", w.Text)
	return nil
}

// why asks the control API for an explanation.
func (s *story) why(ctx context.Context, of string) (w api.Why, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+"/api/v1/why/"+of, nil)
	if err != nil {
		return w, err
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return w, fmt.Errorf("ask why: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return w, fmt.Errorf("ask why: %s", resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(&w); err != nil {
		return w, fmt.Errorf("ask why: %w", err)
	}
	return w, nil
}

// request sends one, and tells what was decided about it.
func (s *story) request(ctx context.Context, sub *events.Subscription, w drey.Wire) error {
	path, body := "/v1/chat/completions", `{"model":"any","stream":true,"messages":[{"role":"user","content":"Who answers?"}]}`
	if w == drey.WireAnthropic {
		path, body = "/v1/messages", `{"model":"any","max_tokens":64,"stream":true,"messages":[{"role":"user","content":"Who answers?"}]}`
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.addr+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.http.Do(req)
	if err != nil {
		return fmt.Errorf("demo request: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("demo answer: %w", err)
	}
	ended, err := await(ctx, sub, func(ev drey.Event) bool { return ev.Name == "request-ended" })
	if err != nil {
		return err
	}
	// What is asked next must hold all of it: an empty append is behind every
	// event of the request in the journal, and its row need not wait for others.
	if _, err := s.d.store.Append(ctx); err != nil {
		return fmt.Errorf("demo journal: %w", err)
	}
	if err := s.d.store.Flush(ctx); err != nil {
		return fmt.Errorf("demo row: %w", err)
	}
	told, err := s.why(ctx, "request/"+string(ended.RequestID))
	if err != nil {
		return err
	}
	for _, step := range told.Steps {
		if step.Event != "route-resolved" { // that it is the default profile is no news here
			s.step(step)
		}
	}
	s.answer(w, resp, answer)
	return nil
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
