package fake

import (
	"errors"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestDemoProviders(t *testing.T) {
	rows := []struct {
		url, want string
		tools     bool
	}{
		{"demo:echo", "tell", true},
		{"demo:tools", "tool_use", true},
		{"demo:text-tools", "```json", true},
		{"demo:slow?ttft=10ms", "tell", true},
		{"demo:slow", "tell", true},
	}
	for _, row := range rows {
		synctest.Test(t, func(t *testing.T) {
			tr, err := Demo(row.url, DemoOptions{})
			if err != nil {
				t.Fatal(err)
			}
			g := post(t.Context(), &http.Client{Transport: tr}, "http://demo"+messagesPath, streamBody(false))
			if g.err != nil || !strings.Contains(g.body, row.want) {
				t.Errorf("%s: %+v", row.url, g)
			}
		})
	}
}

func TestDemoFlaky(t *testing.T) {
	rows := map[string]func(got) bool{
		"":              func(g got) bool { return g.status == 500 },
		"&class=server": func(g got) bool { return g.status == 500 },
		"&class=transport": func(g got) bool {
			return errors.Is(g.err, syscall.ECONNRESET)
		},
		"&class=rate_limit": func(g got) bool { return g.status == 429 },
		"&class=auth":       func(g got) bool { return g.status == 401 },
		"&class=caller":     func(g got) bool { return g.status == 400 },
		"&class=loading":    func(g got) bool { return g.status == 503 },
		"&class=resource":   func(g got) bool { return g.status == 500 },
		"&class=bad_output": func(g got) bool { return g.status == 200 && g.err != nil },
	}
	for query, failed := range rows {
		tr, err := Demo("demo:flaky?fail=2"+query, DemoOptions{})
		if err != nil {
			t.Fatal(err)
		}
		c := &http.Client{Transport: tr}
		for i := range 3 {
			g := post(t.Context(), c, "http://demo"+chatPath, streamBody(true))
			if i < 2 && !failed(g) || i == 2 && (g.status != 200 || g.err != nil) {
				t.Errorf("%q, call %d: %+v", query, i+1, g)
			}
		}
	}
}

func TestDemoCut(t *testing.T) {
	for query, want := range map[string]int{"": 20, "?after=7": 7} {
		tr, err := Demo("demo:cut"+query, DemoOptions{})
		if err != nil {
			t.Fatal(err)
		}
		g := post(t.Context(), &http.Client{Transport: tr}, "http://demo"+chatPath, streamBody(true))
		if n := events(t, g.body, 0); n != want || !errors.Is(g.err, syscall.ECONNRESET) {
			t.Errorf("%q: %d events, %v", query, n, g.err)
		}
	}
}

func TestDemoNewcomer(t *testing.T) {
	tr, err := Demo("demo:echo", DemoOptions{Newcomer: true, Looked: []string{"a server at 127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	g := post(t.Context(), &http.Client{Transport: tr}, "http://demo"+chatPath, streamBody(false))
	if !strings.Contains(g.body, "tell me more") {
		t.Errorf("it does not echo: %s", g.body)
	}
	text := NewcomerText([]string{"a server at 127.0.0.1:1"})
	first, rest, _ := strings.Cut(text, "\n")
	if !strings.Contains(first, "demo") {
		t.Errorf("the first line does not name a demo: %q", first)
	}
	at := -1
	for _, part := range []string{"No model was found", "127.0.0.1:1", "ollama run", "ANTHROPIC_API_KEY=… DREY_ALLOW_PAID=1 drey serve"} {
		i := strings.Index(rest, part)
		if i <= at {
			t.Errorf("%q is missing or out of place:\n%s", part, text)
		}
		at = i
	}
}

func TestUnknownDemoURLs(t *testing.T) {
	for _, u := range []string{"demo:", "demo:ech", "demo://echo", "http://x", ":", "demo:echo?a=1", "demo:slow?ttft=5", "demo:slow?ttft=-5s",
		"demo:slow?ttft=1s&ttft=2s", "demo:flaky?fail=x", "demo:flaky?fail=-1", "demo:flaky?class=nope", "demo:flaky?class=cancel", "demo:cut?after=", "demo:cut?%zz"} {
		_, err := Demo(u, DemoOptions{})
		if err == nil {
			t.Errorf("%q is taken", u)
			continue
		}
		for _, known := range []string{"demo:echo", "demo:tools", "demo:slow?ttft=5s", "demo:flaky?fail=3&class=server", "demo:cut?after=20", "demo:text-tools"} {
			if !strings.Contains(err.Error(), known) {
				t.Errorf("%q: the error does not list %s: %v", u, known, err)
			}
		}
	}
	for _, d := range demos {
		if _, err := Demo(d.usage, DemoOptions{Now: time.Now}); err != nil {
			t.Errorf("%s, as it is listed: %v", d.usage, err)
		}
	}
}
