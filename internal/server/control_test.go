package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/store"
)

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got); -update rewrites it:\n%s", name, diff)
	}
}

func TestOpenAPI(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Lifecycle, c.Captures = dormouse{}, &captures{} }, nil) // all routes are there
	r := l.ask("GET", "/api/v1/openapi.json", "")
	r.checkID(t)
	golden(t, "openapi.golden.json", []byte(r.body+"\n"))
	if v := gjson.Get(r.body, "openapi").Str; !strings.HasPrefix(v, "3.1.") {
		t.Errorf("openapi %q", v)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	t.Run("every reference leads somewhere and every schema is one", func(t *testing.T) {
		c := jsonschema.NewCompiler()
		c.DefaultDraft(jsonschema.Draft2020) // what OpenAPI 3.1 says
		if err := c.AddResource("mem://api.json", doc); err != nil {
			t.Fatal(err)
		}
		n := 0
		gjson.Get(r.body, "components.schemas").ForEach(func(name, _ gjson.Result) bool {
			n++
			if _, err := c.Compile("mem://api.json#/components/schemas/" + name.Str); err != nil {
				t.Error(err)
			}
			return true
		})
		if n < 8 {
			t.Errorf("only %d schemas", n)
		}
	})
	t.Run("answers are what it says", func(t *testing.T) {
		c := jsonschema.NewCompiler()
		c.DefaultDraft(jsonschema.Draft2020)
		if err := c.AddResource("mem://api.json", doc); err != nil {
			t.Fatal(err)
		}
		l.rows.list = []store.RequestRow{{ID: "req_1", At: time.Now(), Row: []byte(`{"id":"req_1"}`)}}
		l.bus.Emit(event("provider-parked", drey.F("reason", "rate")))
		for path, status := range map[string]string{
			"/status": "200", "/providers": "200", "/requests": "200", "/config": "200", "/events": "200", "/requests/nobody": "default",
		} {
			operation := "/paths/" + strings.ReplaceAll(api.Prefix+strings.Replace(path, "nobody", "{id}", 1), "/", "~1") + "/get"
			sch, err := c.Compile("mem://api.json#" + operation + "/responses/" + status + "/content/application~1json/schema")
			if err != nil {
				t.Error(err)
				continue
			}
			got := l.ask("GET", api.Prefix+path, "", "Accept", "application/json")
			v, err := jsonschema.UnmarshalJSON(strings.NewReader(got.body))
			if err != nil {
				t.Fatal(err)
			}
			if err := sch.Validate(v); err != nil {
				t.Errorf("%s: %v\n%s", path, err, got.body)
			}
		}
	})
}

func TestControlErrors(t *testing.T) {
	l := newLab(t, nil, nil)
	for _, tt := range []struct {
		name string
		err  error
		want string // status and body without the request id
	}{
		{"our own, with fields", &api.Error{Code: api.CodeConfigRejected, Message: "two errors", Fields: []api.Field{{Path: "drey.yaml:3:1: listen", Message: "HUSH is no address"}}},
			`400 {"error":{"code":"config_rejected","message":"two errors","fields":[{"path":"drey.yaml:3:1: listen","message":"[redacted] is no address"}],"request_id":""}}`},
		{"a contract's own code", &api.Error{Code: "busy", Message: "m", Hint: "h"}, `409 {"error":{"code":"busy","message":"m","hint":"h","request_id":""}}`},
		{"the house's, of a known code", fmt.Errorf("x: %w", &drey.Error{Class: drey.Caller, Code: "not_found", Op: "find", Err: errors.New("nothing"), Hint: "look"}),
			`404 {"error":{"code":"not_found","message":"x: find: nothing","hint":"look","request_id":""}}`},
		{"the house's, of another code", &drey.Error{Class: drey.Caller, Code: "twice", Op: "make"}, `409 {"error":{"code":"twice","message":"make: twice","request_id":""}}`},
		{"the house's, not the caller's fault", &drey.Error{Class: drey.Transport, Op: "reach", Err: errors.New("gone")}, `503 {"error":{"code":"unavailable","message":"reach: gone","request_id":""}}`},
		{"anything else", errors.New("with secrets in it"), `500 {"error":{"code":"internal","message":"status failed","hint":"drey's log has the details","request_id":""}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l.daemon.fail(tt.err)
			r := l.ask("GET", "/api/v1/status", "")
			r.checkID(t)
			id := gjson.Get(r.body, "error.request_id").Str
			if id == "" {
				t.Error("no request id in the body")
			}
			if got := fmt.Sprintf("%d %s", r.StatusCode, strings.TrimSpace(strings.Replace(r.body, id, "", 1))); got != tt.want {
				t.Errorf("\n got %s\nwant %s", got, tt.want)
			}
		})
	}
	if !strings.Contains(l.log.String(), "with secrets in it") {
		t.Error("the log does not have the details")
	}
}

func TestControlValidation(t *testing.T) {
	l := newLab(t, nil, nil)
	for path, want := range map[string]string{
		"/requests?limit=0":                 "query.limit",
		"/requests?limit=1001":              "query.limit",
		"/requests?limit=ten":               "query.limit",
		"/requests?since=yesterday":         "query.since",
		"/requests?cursor=nonsense":         "query.cursor",
		"/requests?outcome=fine":            "query.outcome",
		"/requests?outcom=ok":               "query.outcom",
		"/providers?limit=-1":               "query.limit",
		"/events?after=-1":                  "query.after",
		"/events?after=9999999999999999999": "query.after",
		"/events?after=x":                   "query.after",
	} {
		r := l.ask("GET", api.Prefix+path, "")
		r.checkID(t)
		e := gjson.Get(r.body, "error")
		if r.StatusCode != 400 || e.Get("code").Str != "invalid_argument" || e.Get("fields.0.path").Str != want || !strings.Contains(e.Get("message").Str, want) {
			t.Errorf("%s: %d %s", path, r.StatusCode, r.body)
		}
	}
	r := l.ask("GET", api.Prefix+"/events", "", "Last-Event-ID", "abc")
	if r.StatusCode != 400 || gjson.Get(r.body, "error.fields.0.path").Str != "header.Last-Event-ID" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

// A request that has just ended is found by its id, although rows are written
// later.
func TestARequestThatHasJustEnded(t *testing.T) {
	for _, path := range []string{"/api/v1/requests/req_new", "/api/v1/why/request/req_new"} {
		l := newLab(t, nil, nil)
		l.rows.queued = []store.RequestRow{{ID: "req_new", Row: []byte(`{"id":"req_new","ts":"2026-11-22T10:00:00.000000+00:00","status":200,"outcome":"ok"}`)}}
		if r := l.ask("GET", path, ""); r.StatusCode != 200 {
			t.Errorf("%s: %d %s", path, r.StatusCode, r.body)
		}
		r := l.ask("GET", path[:len(path)-1]+"x", "")
		if hint := gjson.Get(r.body, "error.hint").Str; r.StatusCode != 404 || !strings.Contains(hint, "`drey requests`") {
			t.Errorf("another one: %d %s", r.StatusCode, r.body)
		}
	}
}

func TestRequestsInPages(t *testing.T) {
	l := newLab(t, nil, nil)
	at := time.Now()
	for i := range 250 {
		l.rows.list = append(l.rows.list, store.RequestRow{
			ID: drey.RequestID(fmt.Sprintf("req_%03d", i)), At: at.Add(-time.Duration(i) * time.Minute), Outcome: "ok",
			Row: fmt.Appendf(nil, `{"id":"req_%03d","error":"HUSH","events":[{"event":"x"}],"ms":1}`, i),
		})
	}
	var ids []string
	path := "/api/v1/requests"
	for cursor := ""; ; {
		r := l.ask("GET", path+cursor, "")
		for _, row := range gjson.Get(r.body, "requests").Array() {
			ids = append(ids, row.Get("id").Str)
			if row.Get("events").Exists() || row.Get("error").Str != "[redacted]" || row.Get("ms").Int() != 1 {
				t.Fatalf("row %s", row.Raw)
			}
		}
		if !gjson.Get(r.body, "as_of_seq").Exists() {
			t.Error("no as_of_seq")
		}
		if gjson.Get(r.body, "next_cursor").Str == "" {
			break
		}
		cursor = "?cursor=" + gjson.Get(r.body, "next_cursor").Str
	}
	if len(ids) != 250 || len(slices.Compact(ids)) != 250 {
		t.Errorf("a walk met %d requests", len(ids))
	}
	if r := l.ask("GET", path+"?limit=7", ""); len(gjson.Get(r.body, "requests").Array()) != 7 {
		t.Error(r.body)
	}
	if r := l.ask("GET", path+"?since=10m30s", ""); len(gjson.Get(r.body, "requests").Array()) != 11 {
		t.Errorf("%d requests since", len(gjson.Get(r.body, "requests").Array()))
	}
	one := l.ask("GET", path+"/req_003", "")
	if one.body != `{"id":"req_003","error":"[redacted]","events":[{"event":"x"}],"ms":1}`+"\n" {
		t.Error(one.body)
	}
	none := l.ask("GET", path+"/req_nobody", "")
	if none.StatusCode != 404 || none.envelope() != "control not_found" {
		t.Errorf("%d %s", none.StatusCode, none.body)
	}
}

func TestProvidersInPages(t *testing.T) {
	l := newLab(t, nil, nil)
	first := l.ask("GET", "/api/v1/providers?limit=1", "")
	second := l.ask("GET", "/api/v1/providers?limit=1&cursor="+gjson.Get(first.body, "next_cursor").Str, "")
	for r, want := range map[*reply]string{
		first:  `{"name":"cloud","class":"paid","wire":"anthropic","model":"m","state":"HEALTHY","phase":"none","consecutive_failures":0,"in_flight":0,"queued":0,"url":"http://cloud.test/v1","context_tokens":8000,"out":"paid-gate","attempts":0,"successes":0}`,
		second: `{"name":"local","class":"local","wire":"chat","model":"m","state":"HEALTHY","phase":"none","consecutive_failures":0,"in_flight":0,"queued":0,"url":"http://local.test/v1","context_tokens":8000,"attempts":0,"successes":0}`,
	} {
		if got := gjson.Get(r.body, "providers.0").Raw; got != want {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
	}
	if gjson.Get(second.body, "next_cursor").Exists() {
		t.Error("the last page has a cursor")
	}
	beyond := l.ask("GET", "/api/v1/providers?cursor=zzz", "")
	if gjson.Get(beyond.body, "providers").Raw != "[]" {
		t.Error(beyond.body)
	}
}

func TestConfigAndReload(t *testing.T) {
	l := newLab(t, nil, nil)
	if r := l.ask("GET", "/api/v1/config", ""); gjson.Get(r.body, "settings").Raw != `{"version":1,"key":"[redacted]"}` {
		t.Error(r.body)
	}
	if r := l.ask("POST", "/api/v1/config/reload", ""); r.StatusCode != 200 || l.daemon.reloads != 1 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

func TestPublicURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://api.example/v1":            "https://api.example/v1",
		"https://user:secret@api.example/v": "https://api.example/v",
		"https://api.example/v1?key=secret": "https://api.example/v1?redacted",
		"demo:flaky?fail=3":                 "demo:flaky?fail=3",
		"http://[::1":                       "",
	} {
		if got := publicURL(in); got != want {
			t.Errorf("publicURL(%q) = %q, want %q", in, got, want)
		}
	}
}
