package discover

import "testing"

func TestVendorOf(t *testing.T) {
	for _, tt := range []struct{ url, env, base string }{
		{"https://api.groq.com/v1", "GROQ_API_KEY", "https://api.groq.com/openai/v1"},
		{"https://api.anthropic.com", "ANTHROPIC_API_KEY", "https://api.anthropic.com"},
		{"http://127.0.0.1:8080/v1", "", ""},
		{"demo:echo", "", ""},
		{"://", "", ""},
	} {
		env, base, ok := VendorOf(tt.url)
		if env != tt.env || base != tt.base || ok != (tt.env != "") {
			t.Errorf("%s: %q, %q, %v", tt.url, env, base, ok)
		}
	}
}
