package client

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
)

func TestProviderCalls(t *testing.T) {
	var got []string
	c := dial(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("Content-Type")+" "+string(body))
		switch r.URL.Path {
		case "/api/v1/why/request/req_1", "/api/v1/why/provider/a b", "/api/v1/why/operation/019a", "/api/v1/why/daemon":
			_, _ = io.WriteString(w, `{"subject":"x","summary":"so it is","steps":[{"at":"2026-11-22T10:00:00.000000+00:00","text":"this"}]}`)
		case "/api/v1/providers/gone/restore":
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"error":{"code":"not_found","message":"there is no provider","hint":"look"}}`)
		default:
			_, _ = io.WriteString(w, `{"name":"a","state":"EXCLUDED","changed":false}`)
		}
	})
	ctx := t.Context()
	span := drey.Duration(5 * time.Minute)
	for name, call := range map[string]func() (api.Provider, error){
		"show":    func() (api.Provider, error) { return c.Provider(ctx, "a b") },
		"exclude": func() (api.Provider, error) { return c.ExcludeProvider(ctx, "a", api.Exclude{Reason: "r", For: span}) },
		"restore": func() (api.Provider, error) { return c.RestoreProvider(ctx, "a") },
		"restart": func() (api.Provider, error) { return c.RestartProvider(ctx, "a") },
		"probe": func() (api.Provider, error) {
			return c.ProbeProvider(ctx, "a", api.ProbeAsk{Depth: "models", AllowPaid: true})
		},
		"drain": func() (api.Provider, error) { return c.DrainProvider(ctx, "a", api.Drain{Timeout: &span}) },
	} {
		got = nil
		p, err := call()
		if err != nil || p.Name != "a" || p.Changed == nil || *p.Changed {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
		want := map[string]string{
			"show":    "GET /api/v1/providers/a%20b  ",
			"exclude": `POST /api/v1/providers/a/exclude application/json {"reason":"r","for":"5m"}`,
			"restore": "POST /api/v1/providers/a/restore  ",
			"restart": "POST /api/v1/providers/a/restart  ",
			"probe":   `POST /api/v1/providers/a/probe application/json {"depth":"models","allow_paid":true}`,
			"drain":   `POST /api/v1/providers/a/drain application/json {"timeout":"5m"}`,
		}[name]
		if d := cmp.Diff([]string{want}, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	for name, call := range map[string]func() (api.Why, error){
		"request":   func() (api.Why, error) { return c.WhyRequest(ctx, "req_1") },
		"provider":  func() (api.Why, error) { return c.WhyProvider(ctx, "a b") },
		"operation": func() (api.Why, error) { return c.WhyOperation(ctx, "019a") },
		"daemon":    func() (api.Why, error) { return c.WhyDaemon(ctx) },
	} {
		if w, err := call(); err != nil || w.Summary != "so it is" || len(w.Steps) != 1 || w.Steps[0].Text != "this" {
			t.Errorf("why %s: %+v, %v", name, w, err)
		}
	}
	if _, err := c.RestoreProvider(ctx, "gone"); house(t, err).Code != api.CodeNotFound || house(t, err).Hint != "look" {
		t.Errorf("a provider that is none: %v", err)
	}
}
