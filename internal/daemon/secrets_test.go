package daemon

import (
	"bytes"
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
	"sync/atomic"
	"testing"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/client"
	"github.com/dreyhq/drey/internal/fake"
)

// The secrets of the test: none has a form by which it could be known, and some
// change when they are written as JSON or in a URL.
const (
	secretKey    = `provider"key\with/odd+bytes`
	secretOldKey = "provider-key-of-before"
	secretHeader = "header value, from a file"
	secretClient = "key-of-the-client-0815"
	secretAdmin  = "key-of-the-admin-4711"
)

var secretValues = []string{secretKey, secretOldKey, secretHeader, secretClient, secretAdmin}

// spellings are a secret as sinks might write it.
func spellings(secret string) []string {
	b, _ := json.Marshal(secret)
	twice, _ := json.Marshal(string(b))
	return []string{secret, strings.Trim(string(b), `"`), strings.Trim(string(twice), `"`)}
}

// clean fails where a text shows a secret.
func clean(t *testing.T, sink, text string) {
	t.Helper()
	for _, s := range secretValues {
		for _, spelled := range spellings(s) {
			if i := strings.Index(text, spelled); i >= 0 {
				t.Errorf("%s shows a secret: …%s…", sink, text[max(0, i-100):min(len(text), i+100)])
				break
			}
		}
	}
}

// echo fails in every way that a provider can, and says each time what it was
// sent.
func echo(n int, r fake.Request) fake.Behaviour {
	text := fmt.Sprintf("you sent %s and %s and %s", r.Header.Get("Authorization"), r.Header.Get("X-Team"), secretOldKey)
	switch n % 7 {
	case 0:
		return fake.Status(http.StatusUnauthorized, "authentication_error", text)
	case 1:
		return fake.Status(http.StatusInternalServerError, "api_error", text)
	case 2:
		return fake.Status(http.StatusUnprocessableEntity, "invalid_request_error", text)
	case 3:
		return fake.Text("half of it").Gap(5*time.Millisecond).ErrorAfter(3, "api_error", text)
	case 4:
		return fake.Status(http.StatusServiceUnavailable, "api_error", text).Header("X-Echo", text)
	case 5:
		return fake.Raw(http.StatusBadGateway, "text/html", "<html><title>"+text+"</title></html>")
	default:
		return fake.Raw(http.StatusOK, "text/plain", text)
	}
}

func TestSecretsStayInside(t *testing.T) {
	p := provider(t, echo)
	home := newHome(t, "")
	file := filepath.Join(home, "team.secret")
	if err := errors.Join(os.WriteFile(file, []byte(secretHeader+"\n"), 0o600), os.Chmod(file, 0o644)); err != nil { // a warning
		t.Fatal(err)
	}
	config := fmt.Sprintf(`version: 1
listen: {addr: "127.0.0.1:0"}
logs: {level: debug}
keys:
  - {name: agent, secret: "env:CLIENT"}
  - {name: boss, secret: "env:ADMIN", admin: true}
providers:
  lab: {wire: openai, url: %q, class: local, model: m, key: "env:KEY", headers: {X-Team: "file:%s"}}
profiles:
  default: {chain: [lab], retry: {same_provider: 0}, health_action: off}
`, p.URL(), file)
	writeConfig(t, home, config)
	env := func(key string) func(string) (string, bool) {
		return environment(map[string]string{"KEY": key, "CLIENT": secretClient, "ADMIN": secretAdmin})
	}
	var now atomic.Value
	now.Store(env(secretOldKey))
	h := openAt(t, home, func(o *Options) {
		o.Env = func(name string) (string, bool) { return now.Load().(func(string) (string, bool))(name) }
	})
	live := follow(t, h)

	// The key is changed by a reload; the old one stays a secret.
	now.Store(env(secretKey))
	c := h.control()
	var ids []string
	for i := range 28 {
		if _, err := c.Reload(t.Context()); err != nil { // lifts what has been parked
			t.Fatal(err)
		}
		if _, _, err := h.d.keeper.Restore(t.Context(), "lab", ""); err != nil { // and what has been excluded
			t.Fatal(err)
		}
		path, body := "/v1/chat/completions", chatBody("hi", i%2 == 0)
		if i%4 > 1 {
			path, body = "/v1/messages", `{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}]}`
		}
		got, err := h.try(http.MethodPost, path, body, "x-api-key", secretClient)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
		clean(t, "an answer", fmt.Sprint(got.header)+got.body)
		ids = append(ids, got.header.Get("X-Request-Id"))
	}
	if !strings.Contains(fmt.Sprint(p.Calls()[3].Header), secretKey) {
		t.Fatalf("the provider was not sent the key: %v", p.Calls()[3].Header)
	}
	// a key that is nearly right, and one in the wrong place
	clean(t, "a refusal", h.chat("hi", "Authorization", "Bearer "+secretClient+"x").body)
	clean(t, "a refusal", h.do(http.MethodGet, "/api/v1/status", "", "Authorization", "Bearer "+secretClient).body)
	for _, id := range ids {
		h.row(id)
	}

	for _, path := range []string{"/", "/metrics", "/v1/models", "/readyz", "/api/v1/status", "/api/v1/config", "/api/v1/providers", "/api/v1/requests", "/api/v1/requests/" + ids[0], "/api/v1/openapi.json"} {
		got := h.do(http.MethodGet, path, "", "Authorization", "Bearer "+secretAdmin, "Accept", "text/html, application/json")
		if got.status >= 400 && path != "/readyz" {
			t.Errorf("%s is %d", path, got.status)
		}
		clean(t, path, fmt.Sprint(got.header)+got.body)
	}
	events := h.do(http.MethodGet, "/api/v1/events?limit=1000", "", "Authorization", "Bearer "+secretAdmin, "Accept", "application/json")
	clean(t, "the journal's page", events.body)
	// A bad file whose errors might repeat a value.
	writeConfig(t, home, config+"default_profile: "+secretAdmin+"\n")
	_, err := c.Reload(t.Context())
	clean(t, "a bad reload", fmt.Sprint(err, ConfigFields(err)))

	// What others write into the lifecycle's log, its record and the journal.
	if _, err := c.Sleep(t.Context(), api.Sleep{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Wake(t.Context(), api.Wake{Reason: "because of " + secretKey}); err != nil {
		t.Fatal(err)
	}
	if err := h.home.SignalWake("because of " + secretClient); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the wake signal is consumed", func() bool { return !h.home.WakePending() })

	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(h.home.LifecycleLog(time.Now())); err != nil || bytes.Count(b, []byte("because of [redacted]")) != 2 {
		t.Errorf("the lifecycle's log does not tell of both wakes: %v %s", err, b)
	}
	text := live()
	if strings.Count(text, "provider-failed") < 20 {
		t.Errorf("the live stream is too short to prove anything: %s", text)
	}
	clean(t, "the live stream", text)
	clean(t, "the log", h.log.String())
	if !strings.Contains(h.log.String(), "[redacted]") || !strings.Contains(h.log.String(), "chmod 600") {
		t.Error("the log has nothing that was redacted, or no warning about the file: it proves nothing")
	}
	clean(t, "the banner", h.told.String())
	err = filepath.WalkDir(home, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || path == file || path == h.home.Config() {
			return err
		}
		b, err := os.ReadFile(path)
		clean(t, path, string(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// follow collects what a live reader is sent. The returned function waits for
// the end of the stream.
func follow(t *testing.T, h *house) func() string {
	t.Helper()
	c := h.control()
	ctx, cancel := context.WithCancel(t.Context())
	var from drey.Seq // the beginning, so that something comes at once
	begun, ended := make(chan struct{}), make(chan struct{})
	var b bytes.Buffer
	go func() {
		defer close(ended)
		lost := func(error) { cancel() } // the daemon has stopped
		for m, err := range c.Events(ctx, client.EventQuery{After: &from, Lost: lost}) {
			if err != nil {
				return
			}
			if b.Len() == 0 {
				close(begun)
			}
			b.Write(m.Data)
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	select {
	case <-begun:
	case <-time.After(short):
		t.Fatal("a live reader gets nothing")
	}
	return func() string {
		<-ended
		return b.String()
	}
}

// The handler is the last line before a log: it must find a secret in whatever
// somebody logs.
func TestTheLogHidesSecretsInEveryKindOfValue(t *testing.T) {
	var out bytes.Buffer
	hide := func(s string) string { return strings.ReplaceAll(s, "hush", "[redacted]") }
	log := slog.New(&redacting{slog.NewJSONHandler(&out, nil), hide})
	type thing struct{ Name string }
	log.With("with", "hush").WithGroup("group").With("inner", errors.New("hush")).Info("say hush",
		"text", "hush", "error", fmt.Errorf("wrap: %w", errors.New("hush")), "list", []string{"a", "hush"},
		"thing", thing{"hush"}, "pointer", &thing{"hush"}, "bytes", json.RawMessage(`"hush"`), "func", func() {},
		slog.Group("deep", slog.Group("deeper", "text", "hush")), "valuer", valuer{}, "kept", thing{"loud"}, "n", 7)
	if strings.Contains(out.String(), "hush") || strings.Count(out.String(), "[redacted]") != 11 {
		t.Errorf("the log says %s", out.String())
	}
	if !strings.Contains(out.String(), `"kept":{"Name":"loud"},"n":7`) {
		t.Errorf("what holds no secret is changed: %s", out.String())
	}
}

// valuer is a value that says itself what it is.
type valuer struct{}

func (valuer) LogValue() slog.Value { return slog.StringValue("hush") }

func TestASecretThatIsMissingTakesItsProviderOut(t *testing.T) {
	a, b := twoProviders(t)
	h := open(t, fmt.Sprintf(`version: 1
listen: {addr: "127.0.0.1:0"}
providers:
  blank: {wire: openai, url: %q, class: local, model: m, key: "env:BLANK"}
  gone: {wire: openai, url: %q, class: local, model: m, headers: {X-Team: "file:/nowhere/at/all"}}
  good: {wire: openai, url: %q, class: local, model: m}
profiles: {default: {chain: [blank, gone, good]}, alone: {chain: [blank]}}
`, a.URL(), a.URL(), b.URL()), func(o *Options) { o.Env = environment(map[string]string{"BLANK": " \n"}) })
	if got := h.chat("hi"); !strings.Contains(got.body, "from b") || got.header.Get("X-Drey-Fallback-From") != "" {
		t.Errorf("%v %s", got.header, got.body)
	}
	if got := h.chat("hi", "X-Drey-Profile", "alone"); got.status != 400 || !strings.Contains(got.body, "no-credential") {
		t.Errorf("%d %s", got.status, got.body)
	}
	if n := len(a.Requests()); n != 0 {
		t.Errorf("the providers without a credential were asked %d times", n)
	}
	if !strings.Contains(h.log.String(), "/nowhere/at/all") {
		t.Error("no warning names the file that is not there")
	}
}

// What people are shown of a provider's text is cut. Half a secret is one too.
func TestASecretIsHiddenBeforeTheTextIsCut(t *testing.T) {
	text := strings.Repeat("x", 180) + " " + secretOldKey + secretOldKey
	p := provider(t, fake.Sequence(
		fake.Status(http.StatusUnprocessableEntity, "invalid_request_error", text),
		fake.Raw(http.StatusBadGateway, "text/html", "<title>"+text+"</title>"),
		fake.ServerError().Header("Retry-After", "1"),
		fake.Status(http.StatusInternalServerError, "api_error", text),
	))
	h := open(t, strings.Replace(yamlOf("openai", p.URL()), "model: fake-model", "model: fake-model, key: \"env:KEY\"", 1), func(o *Options) {
		o.Env = environment(map[string]string{"KEY": secretOldKey})
	})
	half := secretOldKey[:len(secretOldKey)/2]
	for range 4 {
		got := h.chat("hi")
		row := h.row(got.header.Get("X-Request-Id"))
		if strings.Contains(got.body, half) || strings.Contains(fmt.Sprint(row), half) {
			t.Errorf("half of it is shown: %s\n%+v", got.body, row)
		}
	}
}
