package config

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/dreyhq/drey"
)

func TestNormalizeURL(t *testing.T) {
	for _, tt := range []struct{ wire, in, want string }{
		{WireOpenAI, "http://127.0.0.1:11434", "http://127.0.0.1:11434/v1"},
		{WireOpenAI, "http://127.0.0.1:11434/", "http://127.0.0.1:11434/v1"},
		{WireOpenAI, "https://api.openai.com/v1", "https://api.openai.com/v1"},
		{WireOpenAI, "https://api.openai.com/v1/", "https://api.openai.com/v1"},
		{WireOpenAI, "https://api.openai.com/v1/chat/completions", "https://api.openai.com/v1"},
		{WireOpenAI, "https://openrouter.ai/api/v1", "https://openrouter.ai/api/v1"},
		{WireOpenAI, "https://generativelanguage.googleapis.com/v1beta/openai/", "https://generativelanguage.googleapis.com/v1beta/openai"},
		{WireOpenAI, "https://x.example.com/deploy?api-version=1", "https://x.example.com/deploy?api-version=1"},
		{WireOpenAI, "https://x.example.com?a=b", "https://x.example.com/v1?a=b"},
		{WireOpenAI, "http://[::1]:8080", "http://[::1]:8080/v1"},
		{WireOpenAI, "https://h/a%2Fb/", "https://h/a%2Fb"},
		{WireOpenAI, "demo:slow?ttft=5s", "demo:slow?ttft=5s"},
		{WireAnthropic, "https://api.anthropic.com", "https://api.anthropic.com/v1"},
		{WireAnthropic, "https://api.anthropic.com/", "https://api.anthropic.com/v1"},
		{WireAnthropic, "https://api.anthropic.com/v1", "https://api.anthropic.com/v1"},
		{WireAnthropic, "https://api.anthropic.com/v1/", "https://api.anthropic.com/v1"},
		{WireAnthropic, "https://api.anthropic.com/v1/messages", "https://api.anthropic.com/v1"},
		{WireAnthropic, "https://api.deepseek.com/anthropic", "https://api.deepseek.com/anthropic/v1"},
		{WireAnthropic, "http://127.0.0.1:11434//", "http://127.0.0.1:11434/v1"},
	} {
		got, err := NormalizeURL(tt.wire, tt.in)
		if err != nil || got != tt.want {
			t.Errorf("NormalizeURL(%s, %s) = %s, %v; want %s", tt.wire, tt.in, got, err, tt.want)
		}
	}
	for _, in := range []string{"", "x", "h:1", "127.0.0.1:1", "//h", "http://", "http:///v1", "ws://h", "http://u@h", "http://h#", "demo:", "http://h/%zz", "https://h?key=x"} {
		if got, err := NormalizeURL(WireOpenAI, in); err == nil {
			t.Errorf("NormalizeURL(%q) = %s, want an error", in, got)
		}
	}
}

func TestNormalizeURLTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wire := rapid.SampledFrom([]string{WireOpenAI, WireAnthropic}).Draw(t, "wire")
		raw := "https://h" + rapid.StringOf(rapid.SampledFrom([]rune("/v1messages?=%2fa.é "))).Draw(t, "path")
		once, err := NormalizeURL(wire, raw)
		if err != nil {
			return
		}
		if twice, err := NormalizeURL(wire, once); err != nil || twice != once {
			t.Errorf("%q gives %q, and that gives %q, %v", raw, once, twice, err)
		}
	})
}

func TestGuesses(t *testing.T) {
	for _, tt := range []struct {
		url   string
		wire  string
		price drey.Price
	}{
		{"http://127.0.0.1:1", WireOpenAI, drey.Local},
		{"http://localhost:1/x", WireOpenAI, drey.Local},
		{"http://LOCALHOST.:1", WireOpenAI, drey.Local},
		{"http://box.local:8080", WireOpenAI, drey.Local},
		{"http://192.168.1.7:8080/anthropic", WireAnthropic, drey.Local},
		{"http://10.0.0.1", WireOpenAI, drey.Local},
		{"http://172.32.0.1/x", "", drey.Paid},
		{"http://[::1]:1", WireOpenAI, drey.Local},
		{"http://[fd00::1]:1", WireOpenAI, drey.Local},
		{"http://[::ffff:192.168.0.1]:1", WireOpenAI, drey.Local},
		{"http://0.0.0.0:1", WireOpenAI, drey.Local},
		{"https://api.anthropic.com", WireAnthropic, drey.Paid},
		{"https://api.deepseek.com/anthropic", WireAnthropic, drey.Paid},
		{"https://api.deepseek.com", WireOpenAI, drey.Paid},
		{"https://h.example.com/v1", WireOpenAI, drey.Paid},
		{"https://h.example.com/v1/messages", WireAnthropic, drey.Paid},
		{"https://h.example.com", "", drey.Paid},
		{"https://local.example.com", "", drey.Paid},
		{"https://127.0.0.1.example.com", "", drey.Paid},
		{"demo:echo", WireOpenAI, drey.Local},
	} {
		if w, p := GuessWire(tt.url), GuessPrice(tt.url); w != tt.wire || p != tt.price {
			t.Errorf("%s is guessed as %q, %s; want %q, %s", tt.url, w, p, tt.wire, tt.price)
		}
	}
}
