package server

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/fake"
)

const (
	askAnthropic = `{"model":"claude-x","max_tokens":10,"messages":[{"role":"user","content":"hi"}]}`
	askChat      = `{"model":"x","messages":[{"role":"user","content":"hi"}]}`
	askResponses = `{"model":"x","input":"hi"}`
)

var requestID = regexp.MustCompile(`^req_[0-9a-z]{24}$`)

// checkID fails unless the answer has an id under all its names, and the same
// in the body if there is one.
func (r *reply) checkID(t *testing.T) {
	t.Helper()
	id := r.Header.Get("X-Drey-Request-Id")
	if !requestID.MatchString(id) || r.Header.Get("Request-Id") != id || r.Header.Get("X-Request-Id") != id {
		t.Errorf("request ids %q %q %q", id, r.Header.Get("Request-Id"), r.Header.Get("X-Request-Id"))
	}
	for _, path := range []string{"request_id", "error.request_id"} {
		if got := gjson.Get(r.body, path); got.Exists() && got.Str != id {
			t.Errorf("%s in the body is %q, in the header %q", path, got.Str, id)
		}
	}
}

// envelope says in whose shape an error is: anthropic, openai or control.
func (r *reply) envelope() string {
	e := gjson.Get(r.body, "error")
	switch {
	case gjson.Get(r.body, "type").Str == "error":
		return "anthropic " + e.Get("type").Str
	case e.Get("param").Exists():
		return "openai " + e.Get("code").Str
	case e.Get("request_id").Exists():
		return "control " + e.Get("code").Str
	default:
		return r.body
	}
}

func TestRoutes(t *testing.T) {
	l := newLab(t, nil, nil)
	for _, tt := range []struct {
		method, path, body string
		header             []string
		status             int
		envelope, allow    string
	}{
		{"POST", "/v1/messages", askAnthropic, nil, 200, "", ""},
		{"POST", "/v1/messages?beta=true", askAnthropic, nil, 200, "", ""},
		{"POST", "/p/default/v1/messages", askAnthropic, nil, 200, "", ""},
		{"POST", "/v1/chat/completions", askChat, nil, 200, "", ""},
		{"POST", "/p/default/v1/chat/completions", askChat, nil, 200, "", ""},
		{"POST", "/v1/messages/count_tokens?beta=true", askAnthropic, nil, 200, "", ""},
		{"POST", "/v1/responses", askResponses, nil, 200, "", ""},
		{"POST", "/p/default/v1/responses", askResponses, nil, 200, "", ""},
		{"POST", "/v1/responses/input_tokens", askResponses, nil, 200, "", ""},
		{"GET", "/v1/models?limit=1000", "", nil, 200, "", ""},
		{"HEAD", "/v1/models", "", nil, 200, "", ""},
		{"GET", "/p/default/v1/models", "", nil, 200, "", ""},
		{"GET", "/v1/models/default", "", nil, 200, "", ""},
		{"GET", "/", "", nil, 200, "", ""},
		{"HEAD", "/", "", nil, 200, "", ""},
		{"HEAD", "/p/default", "", nil, 200, "", ""},
		{"GET", "/healthz", "", nil, 200, "", ""},
		{"GET", "/readyz", "", nil, 200, "", ""},
		{"GET", "/p/dear/readyz", "", nil, 503, "", ""},
		{"GET", "/metrics", "", nil, 200, "", ""},
		{"GET", "/api/v1/status", "", nil, 200, "", ""},
		{"HEAD", "/api/v1/status", "", nil, 200, "", ""},
		{"HEAD", "/api/v1/events", "", nil, 200, "", ""},

		{"POST", "/p/nobody/v1/messages", askAnthropic, nil, 400, "anthropic invalid_request_error", ""},
		{"POST", "/p/nobody/v1/chat/completions", askChat, nil, 400, "openai unknown_profile", ""},
		{"GET", "/p/nobody/v1/models", "", nil, 400, "openai unknown_profile", ""},
		{"GET", "/p/nobody/readyz", "", nil, 400, "openai unknown_profile", ""},
		{"POST", "/v1/responses", "{}", nil, 400, "openai invalid_request", ""},
		{"POST", "/v1/responses/input_tokens", "{}", nil, 400, "openai invalid_request", ""},
		{"POST", "/v1/embeddings", "{}", nil, 400, "openai invalid_request", ""},
		{"POST", "/v1/messages", "{", nil, 400, "anthropic invalid_request_error", ""},
		{"POST", "/v1/messages", "", nil, 400, "anthropic invalid_request_error", ""},
		{"POST", "/v1/chat/completions", "{\"model\":\"a\xff\"}", nil, 400, "openai invalid_request", ""},

		{"GET", "/v1/messages", "", nil, 405, "anthropic invalid_request_error", "POST"},
		{"OPTIONS", "/v1/messages/count_tokens", "", nil, 405, "anthropic invalid_request_error", "POST"},
		{"GET", "/v1/responses", "", nil, 405, "openai method_not_allowed", "POST"},
		{"GET", "/v1/embeddings", "", nil, 405, "openai method_not_allowed", "POST"},
		{"PUT", "/v1/chat/completions", "", nil, 405, "openai method_not_allowed", "POST"},
		{"POST", "/v1/models", "", nil, 405, "openai method_not_allowed", "GET, HEAD"},
		{"DELETE", "/", "", nil, 405, "openai method_not_allowed", "GET, HEAD"},
		{"POST", "/healthz", "", nil, 405, "openai method_not_allowed", "GET, HEAD"},
		{"POST", "/metrics", "", nil, 405, "openai method_not_allowed", "GET, HEAD"},
		{"POST", "/api/v1/status", "", nil, 405, "control method_not_allowed", "GET, HEAD"},
		{"GET", "/api/v1/config/reload", "", nil, 405, "control method_not_allowed", "POST"},

		{"GET", "/nowhere", "", nil, 404, "openai not_found", ""},
		{"GET", "/v1/messages/batches", "", nil, 404, "anthropic not_found_error", ""},
		{"POST", "/v1/messagesx", "", nil, 404, "anthropic not_found_error", ""},
		{"POST", "/v1/v1/messages", askAnthropic, []string{"anthropic-version", "2023-06-01"}, 404, "anthropic not_found_error", ""},
		{"GET", "/v1/responses/resp_1", "", nil, 404, "openai not_found", ""},
		{"GET", "/v1/models/nobody", "", nil, 404, "openai model_not_found", ""},
		{"GET", "/v1/models/nobody", "", []string{"anthropic-version", "2023-06-01"}, 404, "anthropic not_found_error", ""},
		{"GET", "/v1/models/", "", nil, 404, "openai not_found", ""},
		{"GET", "/p//v1/models", "", nil, 404, "openai not_found", ""},
		{"GET", "/api/v1", "", nil, 404, "control not_found", ""},
		{"GET", "/api/v1/nowhere", "", nil, 404, "control not_found", ""},
		{"GET", "/api/v1/why/nobody", "", nil, 404, "control not_found", ""},
		{"GET", "/api/v1//status", "", nil, 404, "control not_found", ""},
		{"GET", "/p/default/api/v1/status", "", nil, 404, "openai not_found", ""},
		{"GET", "/api/v2/status", "", nil, 404, "openai not_found", ""},
	} {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			r := l.ask(tt.method, tt.path, tt.body, tt.header...)
			r.checkID(t)
			if r.StatusCode != tt.status {
				t.Errorf("status %d, want %d: %s", r.StatusCode, tt.status, r.body)
			}
			if tt.envelope != "" && r.envelope() != tt.envelope {
				t.Errorf("envelope %q, want %q", r.envelope(), tt.envelope)
			}
			if got := r.Header.Get("Allow"); got != tt.allow {
				t.Errorf("Allow: %q, want %q", got, tt.allow)
			}
			if retry := r.Header.Get("X-Should-Retry"); (tt.status == 400) != (retry == "false") {
				t.Errorf("status %d with x-should-retry %q", r.StatusCode, retry)
			}
		})
	}
}

func TestAWrongBaseURLIsExplained(t *testing.T) {
	l := newLab(t, nil, nil)
	for path, want := range map[string]string{
		"/v1/v1/messages":       "the path is /v1/messages: the base URL of this client ends without /v1",
		"/messages":             "the path is /v1/messages: the base URL of this client ends with /v1",
		"/api/chat/completions": "the path is /v1/chat/completions: the base URL of this client ends with /v1",
		"/responses":            "the path is /v1/responses: the base URL of this client ends with /v1",
		"/anything":             "agents use /v1/messages",
	} {
		if r := l.ask("POST", path, "{}"); !strings.Contains(r.body, want) {
			t.Errorf("%s: %s", path, r.body)
		}
	}
}

func TestHost(t *testing.T) {
	l := newLab(t, func(c *Config) {
		c.Doors = Doors{Bound: []string{"192.168.1.9:3739", "[fd00::1]:3739"}, AllowedHosts: []string{"Nest.example", "tail.net:99"}}
	}, nil)
	for host, want := range map[string]int{
		"127.0.0.1:3739": 200, "127.9.9.9": 200, "localhost": 200, "LOCALHOST:1": 200, "localhost.": 200, "app.localhost": 200,
		"[::1]:3739": 200, "[::ffff:127.0.0.1]:80": 200, "192.168.1.9": 200, "192.168.1.9:80": 200, "[fd00::1]:3739": 200,
		"nest.EXAMPLE": 200, "nest.example:444": 200, "tail.net": 200,
		"rebound.attacker.example": 403, "rebound.attacker.example:3739": 403, "127.0.0.1.attacker.example": 403,
		"localhost.attacker.example": 403, "notlocalhost": 403, "192.168.1.8": 403, "10.0.0.1": 403, "[fd00::2]": 403, "0.0.0.0": 403, "127.1": 403,
	} {
		for _, path := range []string{"/v1/models", "/api/v1/status", "/"} {
			r := l.ask("GET", path, "", "Host", host)
			r.checkID(t)
			if r.StatusCode != want {
				t.Errorf("Host %s %s: status %d, want %d: %s", host, path, r.StatusCode, want, r.body)
			}
			envelope := map[bool]string{true: "control forbidden", false: "openai permission_denied"}[strings.HasPrefix(path, "/api")]
			if want == 403 && (r.envelope() != envelope || r.Header.Get("X-Should-Retry") != "false") {
				t.Errorf("Host %s: %s %v", host, r.body, r.Header)
			}
		}
	}
	t.Run("none at all", func(t *testing.T) {
		c := l.dial()
		fmt.Fprintf(c, "GET /v1/models HTTP/1.0\r\n\r\n")
		line, _ := bufio.NewReader(c).ReadString('\n')
		if !strings.Contains(line, "403") {
			t.Errorf("HTTP/1.0 without a Host: %s", line)
		}
	})
}

func TestOrigin(t *testing.T) {
	l := newLab(t, nil, nil)
	for _, tt := range []struct {
		origin, method, path, body string
		want                       int
	}{
		{"", "POST", "/v1/messages", askAnthropic, 200},
		{"http://" + l.addr, "POST", "/v1/messages", askAnthropic, 200},
		{"https://attacker.example", "POST", "/v1/messages", askAnthropic, 403},
		{"https://attacker.example", "POST", "/p/default/v1/chat/completions", askChat, 403},
		{"http://localhost:1", "POST", "/v1/messages", askAnthropic, 403},
		{"null", "POST", "/v1/messages", askAnthropic, 403},
		{"null", "GET", "/v1/models", "", 403},
		{"https://attacker.example", "POST", "/api/v1/config/reload", "", 403},
		{"https://attacker.example", "GET", "/api/v1/status", "", 403},
		{"http://" + l.addr, "GET", "/api/v1/status", "", 200},
		{"https://attacker.example", "OPTIONS", "/v1/messages", "", 403},
		{"https://attacker.example", "GET", "/", "", 200},
		{"https://attacker.example", "GET", "/healthz", "", 200},
	} {
		r := l.ask(tt.method, tt.path, tt.body, "Origin", tt.origin)
		if r.StatusCode != tt.want {
			t.Errorf("Origin %q %s %s: status %d, want %d", tt.origin, tt.method, tt.path, r.StatusCode, tt.want)
		}
		for k := range r.Header {
			if strings.HasPrefix(k, "Access-Control-") {
				t.Errorf("%s: a CORS header %s", tt.path, k)
			}
		}
	}
	if l.daemon.reloads != 0 {
		t.Error("a page of another origin has reloaded the configuration")
	}
}

func TestKeys(t *testing.T) {
	l := newLab(t, func(c *Config) {
		c.Doors.Keys = []Key{
			{Name: "agent", Secret: "sk-agent"},
			{Name: "narrow", Secret: "sk-narrow", Profiles: []drey.ProfileID{"default"}},
			{Name: "boss", Secret: "sk-boss", Admin: true},
		}
	}, nil)
	type row struct {
		name, method, path, body string
		header                   []string
		status                   int
		envelope                 string
	}
	table := []row{
		{"either header", "POST", "/v1/messages", askAnthropic, []string{"x-api-key", "sk-agent"}, 200, ""},
		{"a wrong one beside the right one", "POST", "/v1/messages", askAnthropic, []string{"Authorization", "Bearer wrong", "x-api-key", "sk-agent"}, 200, ""},
		{"lower case scheme", "POST", "/v1/chat/completions", askChat, []string{"Authorization", "bearer sk-agent"}, 200, ""},
		{"basic", "POST", "/v1/chat/completions", askChat, []string{"Authorization", "Basic sk-agent"}, 401, "openai invalid_api_key"},
		{"a prefix", "POST", "/v1/messages", askAnthropic, []string{"x-api-key", "sk-agen"}, 401, "anthropic authentication_error"},
		{"longer", "POST", "/v1/messages", askAnthropic, []string{"x-api-key", "sk-agent2"}, 401, "anthropic authentication_error"},
		{"none, count", "POST", "/v1/messages/count_tokens", askAnthropic, nil, 401, "anthropic authentication_error"},
		{"none, models", "GET", "/v1/models", "", nil, 401, "openai invalid_api_key"},
		{"none, models, anthropic", "GET", "/v1/models", "", []string{"anthropic-version", "2023-06-01"}, 401, "anthropic authentication_error"},
		{"none, metrics", "GET", "/metrics", "", nil, 401, "openai invalid_api_key"},
		{"metrics", "GET", "/metrics", "", []string{"x-api-key", "sk-narrow"}, 200, ""},
		{"none, front", "HEAD", "/", "", nil, 200, ""},
		{"none, healthz", "GET", "/healthz", "", nil, 200, ""},
		{"none, readyz", "GET", "/readyz", "", nil, 200, ""},
		{"none, control read", "GET", "/api/v1/status", "", nil, 401, "control unauthorized"},
		{"none, control change", "POST", "/api/v1/config/reload", "", nil, 401, "control unauthorized"},
		{"none, openapi", "GET", "/api/v1/openapi.json", "", nil, 401, "control unauthorized"},
		{"agent, control read", "GET", "/api/v1/events", "", []string{"x-api-key", "sk-agent"}, 403, "control forbidden"},
		{"agent, control change", "POST", "/api/v1/config/reload", "", []string{"x-api-key", "sk-agent"}, 403, "control forbidden"},
		{"admin, control read", "GET", "/api/v1/status", "", []string{"Authorization", "Bearer sk-boss"}, 200, ""},
		{"admin, control change", "POST", "/api/v1/config/reload", "", []string{"Authorization", "Bearer sk-boss"}, 200, ""},
		{"admin, agents' API", "POST", "/v1/messages", askAnthropic, []string{"x-api-key", "sk-boss"}, 200, ""},
		{"a profile of the key", "POST", "/p/default/v1/messages", askAnthropic, []string{"x-api-key", "sk-narrow"}, 200, ""},
		{"a profile that the key may not use", "POST", "/p/dear/v1/messages", askAnthropic, []string{"x-api-key", "sk-narrow"}, 403, "anthropic permission_error"},
		{"an unknown path needs none", "GET", "/nowhere", "", nil, 404, "openai not_found"},
	}
	for _, tt := range table {
		t.Run(tt.name, func(t *testing.T) {
			r := l.ask(tt.method, tt.path, tt.body, tt.header...)
			r.checkID(t)
			if r.StatusCode != tt.status || tt.envelope != "" && r.envelope() != tt.envelope {
				t.Errorf("status %d %s, want %d %s", r.StatusCode, r.envelope(), tt.status, tt.envelope)
			}
			if (tt.status == 401 || tt.status == 403) && r.Header.Get("X-Should-Retry") != "false" {
				t.Errorf("status %d without x-should-retry: false", r.StatusCode)
			}
			for _, secret := range []string{"sk-agent", "sk-narrow", "sk-boss", "wrong"} {
				if strings.Contains(r.body, secret) {
					t.Errorf("the answer holds a secret: %s", r.body)
				}
			}
		})
	}
	t.Run("a reload takes keys away", func(t *testing.T) {
		l.SetDoors(Doors{})
		if r := l.ask("GET", "/api/v1/status", ""); r.StatusCode != 200 {
			t.Errorf("status %d after the keys are gone", r.StatusCode)
		}
	})
}

func TestCredentialsReachAProviderOnlyWhereThereAreNoKeys(t *testing.T) {
	h := http.Header{"Authorization": {"Bearer own"}}
	for _, keys := range [][]Key{nil, {{Name: "k", Secret: "own"}}} {
		s := &Server{}
		s.SetDoors(Doors{Keys: keys})
		v := &visit{r: &http.Request{Header: h}, d: s.doors.Load()}
		k, ok := s.agentKey(v)
		if want := map[bool]string{true: "own", false: ""}[keys == nil]; !ok || k.Secret != want {
			t.Errorf("with %d keys: %+v %v", len(keys), k, ok)
		}
	}
}

func TestKeyRefusedIsTold(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Doors.Keys = []Key{{Name: "agent", Secret: "s"}} }, nil)
	now := time.Now()
	sub := l.bus.Subscribe()
	defer sub.Close()
	tell := func(after time.Duration, reason string) {
		l.keyRefused(now.Add(after), doorAgents, "", reason, "req_x", "1.2.3.4:5")
	}
	tell(0, "missing")
	for range 10 {
		tell(refusalPause/2, "unknown")
	}
	tell(refusalPause, "unknown")
	for _, want := range []string{`"reason":"missing","remote":"1.2.3.4:5","count":1`, `"reason":"unknown","remote":"1.2.3.4:5","count":11`} {
		ev, err := sub.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		data, _ := ev.MarshalJSON()
		if !strings.Contains(string(data), want) || ev.Name != "key-refused" || ev.Seq == 0 {
			t.Errorf("got %s, want %s", data, want)
		}
	}
}

func TestKeyRefusedComesFromTheDoor(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Doors.Keys = []Key{{Name: "agent", Secret: "s"}} }, nil)
	sub := l.bus.Subscribe()
	defer sub.Close()
	r := l.ask("POST", "/api/v1/config/reload", "", "x-api-key", "s")
	ev, err := sub.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	data, _ := ev.MarshalJSON()
	for _, want := range []string{`"level":"warn"`, `"machine":"key","id":"agent"`, `"door":"control","reason":"not admin"`, r.Header.Get("X-Drey-Request-Id")} {
		if !strings.Contains(string(data), want) {
			t.Errorf("%s lacks %s", data, want)
		}
	}
}

// A key that asks for a profile which is not its own is told so, and so is
// whoever keeps the keys.
func TestAForbiddenProfileIsTold(t *testing.T) {
	l := newLab(t, func(c *Config) {
		c.Doors.Keys = []Key{{Name: "agent", Secret: "s", Profiles: []drey.ProfileID{"default"}}}
	}, nil)
	sub := l.bus.Subscribe()
	defer sub.Close()
	r := l.ask("POST", "/p/dear/v1/messages", askAnthropic, "x-api-key", "s")
	if r.StatusCode != 403 || r.envelope() != "anthropic permission_error" || r.Header.Get("X-Should-Retry") != "false" ||
		!strings.Contains(r.body, "it may use: default") {
		t.Errorf("%d %v %s", r.StatusCode, r.Header, r.body)
	}
	ev, err := sub.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	data, _ := ev.MarshalJSON()
	for _, want := range []string{`"event":"key-refused"`, `"machine":"key","id":"agent"`, `"door":"agents","reason":"not its profile"`, r.Header.Get("X-Drey-Request-Id")} {
		if !strings.Contains(string(data), want) {
			t.Errorf("%s lacks %s", data, want)
		}
	}
}

func TestFront(t *testing.T) {
	l := newLab(t, nil, nil)
	if r := l.ask("GET", "/", ""); r.body != `{"service":"drey","version":"1.2.3"}` || r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %s", r.Header.Get("Content-Type"), r.body)
	}
	page := l.ask("GET", "/", "", "Accept", "text/html,*/*;q=0.8", "Host", "localhost:3739")
	for _, want := range []string{"http://localhost:3739/v1", "ANTHROPIC_BASE_URL=http://localhost:3739<", "version 1.2.3", "http://localhost:3739/p/PROFILE"} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	for _, not := range []string{"<script", "src=", "@import", "url("} {
		if strings.Contains(page.body, not) {
			t.Errorf("the page has %s", not)
		}
	}
	if csp := page.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") || page.Header.Get("Vary") != "Accept" {
		t.Errorf("headers %v", page.Header)
	}
	head := l.ask("HEAD", "/", "")
	if head.body != "" || head.ContentLength != int64(len(`{"service":"drey","version":"1.2.3"}`)) {
		t.Errorf("HEAD: %q, length %d", head.body, head.ContentLength)
	}
}

func TestReadiness(t *testing.T) {
	l := newLab(t, nil, nil)
	if r := l.ask("GET", "/readyz", ""); r.body != `{"status":"ready"}` {
		t.Error(r.body)
	}
	r := l.ask("GET", "/p/dear/readyz", "")
	if r.body != `{"status":"not ready","reasons":[{"provider":"cloud","reason":"paid-gate"}]}` || r.Header.Get("Retry-After") != "5" {
		t.Error(r.body, r.Header)
	}
}

func TestAnswerOfAProvider(t *testing.T) {
	l := newLab(t, nil, fake.Always(fake.Text("a word")))
	r := l.ask("POST", "/v1/messages?beta=true", askAnthropic)
	if gjson.Get(r.body, "content.0.text").Str != "a word" || r.Header.Get("X-Drey-Provider") != "local" {
		t.Errorf("%v %s", r.Header, r.body)
	}
	stream := l.ask("POST", "/p/default/v1/chat/completions", strings.Replace(askChat, "{", `{"stream":true,`, 1))
	stream.checkID(t)
	if !strings.HasSuffix(stream.body, "data: [DONE]\n\n") || stream.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("%v %s", stream.Header, stream.body)
	}
}

func TestABugIsAnErrorInTheWire(t *testing.T) {
	l := newLab(t, nil, func(int, fake.Request) fake.Behaviour { return fake.Text("x") })
	l.cfg.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		panic("a bug of the metrics")
	})
	r := l.ask("GET", "/metrics", "")
	r.checkID(t)
	if r.StatusCode != 500 || r.envelope() != "openai internal" || strings.Contains(r.body, "a bug of the metrics") || r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %v %s", r.StatusCode, r.Header, r.body)
	}
	if !strings.Contains(l.log.String(), "a bug of the metrics") || !strings.Contains(l.log.String(), r.Header.Get("X-Drey-Request-Id")) {
		t.Errorf("the log does not tell: %s", l.log)
	}
	l.daemon.bug = true
	r = l.ask("GET", api.Prefix+"/status", "")
	r.checkID(t)
	if r.StatusCode != 500 || r.envelope() != "control internal" {
		t.Errorf("control: %d %s", r.StatusCode, r.body)
	}
}

func TestABugBehindAnAnswerThatHasBegunCutsIt(t *testing.T) {
	l := newLab(t, nil, nil)
	l.cfg.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("half"))
		_ = http.NewResponseController(w).Flush()
		panic("a bug")
	})
	resp, err := l.http.Get(l.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := bufio.NewReader(resp.Body).ReadString(0); err == nil || err.Error() == "EOF" {
		t.Errorf("a half answer ended cleanly: %v", err)
	}
}

func TestMaxStreams(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Doors.MaxStreams = 1 }, fake.Sequence(fake.Silent(), fake.Text("free again")))
	req, _ := http.NewRequest("POST", l.url+"/v1/messages", strings.NewReader(askAnthropic))
	ctx, cancel := newCancel(t)
	go func() {
		defer cancel()
		if resp, err := l.http.Do(req.WithContext(ctx)); err == nil {
			resp.Body.Close()
		}
	}()
	if _, err := l.up.WaitCalls(ctx, 1); err != nil {
		t.Fatal(err)
	}
	r := l.ask("POST", "/v1/chat/completions", askChat)
	r.checkID(t)
	if r.StatusCode != 503 || r.envelope() != "openai no_provider" || r.Header.Get("Retry-After") == "" {
		t.Errorf("%d %v %s", r.StatusCode, r.Header, r.body)
	}
	if r := l.ask("GET", "/v1/models", ""); r.StatusCode != 200 {
		t.Errorf("lists are not requests: %d", r.StatusCode)
	}
	cancel()
	if _, err := l.up.WaitCancelled(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	l.settled()
	if r := l.ask("POST", "/v1/messages", askAnthropic); r.StatusCode != 200 {
		t.Errorf("the place is not free again: %d %s", r.StatusCode, r.body)
	}
}

func TestCutProfile(t *testing.T) {
	for path, want := range map[string][2]string{
		"/v1/messages": {"/v1/messages", ""}, "/p/a/v1/messages": {"/v1/messages", "a"}, "/p/a": {"/", "a"}, "/p/a/": {"/", "a"},
		"/p/": {"/p/", ""}, "/p//x": {"/p//x", ""}, "/p": {"/p", ""}, "/p/a/p/b/x": {"/p/b/x", "a"},
	} {
		if rest, profile := cutProfile(path); rest != want[0] || profile != want[1] {
			t.Errorf("cutProfile(%q) = %q, %q", path, rest, profile)
		}
	}
}

func TestRequestIDsAreEvenAndUnique(t *testing.T) {
	seen := map[drey.RequestID]bool{}
	count := map[byte]int{}
	const n = 4000
	for range n {
		id := newRequestID()
		if !requestID.MatchString(string(id)) || seen[id] {
			t.Fatalf("id %q", id)
		}
		seen[id] = true
		for _, c := range []byte(id[len(idPrefix):]) {
			count[c]++
		}
	}
	want := n * idLength / len(idChars)
	for i := range len(idChars) {
		if got := count[idChars[i]]; got < want*8/10 || got > want*12/10 { // over ten standard deviations
			t.Errorf("%c came %d times, about %d expected", idChars[i], got, want)
		}
	}
}

func BenchmarkNewRequestID(b *testing.B) {
	for b.Loop() {
		newRequestID()
	}
}

// BenchmarkDoor measures what the door adds to a request of an agent: all but
// the gateway and the network.
func BenchmarkDoor(b *testing.B) {
	l := newLab(b, func(c *Config) { c.Doors.Keys = []Key{{Name: "a", Secret: "sk-agent"}} }, nil)
	body := `{"model":""}`
	req := httptest.NewRequest("GET", "/v1/messages", strings.NewReader(body))
	req.Host = "127.0.0.1:3739"
	req.Header.Set("X-Api-Key", "sk-agent")
	b.ReportAllocs()
	w := discard{http.Header{}}
	for b.Loop() {
		v := &visit{ResponseWriter: w, r: req, d: l.doors.Load(), id: newRequestID(), at: time.Now()}
		v.path, v.profile = cutProfile(req.URL.Path)
		if !v.d.host(req.Host) || !v.d.origin(req) {
			b.Fatal("refused")
		}
		if _, ok := l.agentKey(v); !ok {
			b.Fatal("no key")
		}
		if ok, _ := l.gate.enter(10); !ok {
			b.Fatal("no place")
		}
		l.gate.leave()
	}
}

type discard struct{ h http.Header }

func (d discard) Header() http.Header       { return d.h }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}
