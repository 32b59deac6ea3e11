package daemon

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/statedir"
	"github.com/dreyhq/drey/internal/store"
)

// field returns a field of an event as text.
func field(ev drey.Event, key string) string {
	for _, f := range ev.Fields {
		if f.Key == key {
			b, _ := json.Marshal(f.Value)
			return string(b)
		}
	}
	return ""
}

// two providers, of which only one is configured at a time.
func twoProviders(t *testing.T) (a, b *fake.Server) {
	return provider(t, fake.Always(fake.Text("from a"))), provider(t, fake.Always(fake.Text("from b")))
}

func TestAChangedFileIsLoaded(t *testing.T) {
	a, b := twoProviders(t)
	ways := map[string]func(t *testing.T, path, text string){
		"written in place": func(t *testing.T, path, text string) {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"replaced, as editors do": func(t *testing.T, path, text string) {
			if err := os.WriteFile(path+"~", []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path+"~", path); err != nil {
				t.Fatal(err)
			}
		},
		"removed and made anew": func(t *testing.T, path, text string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, change := range ways {
		t.Run(name, func(t *testing.T) {
			h := open(t, yamlOf("openai", a.URL()))
			if got := h.chat("hi"); !strings.Contains(got.body, "from a") {
				t.Fatalf("the answer is %s", got.body)
			}
			at := h.head()
			change(t, h.home.Config(), yamlOf("openai", b.URL()))
			h.event("config-loaded", at)
			if got := h.chat("hi"); !strings.Contains(got.body, "from b") {
				t.Errorf("the answer is %s", got.body)
			}
		})
	}
}

// Dotfiles are kept elsewhere and linked to; what changes is not in the home.
func TestAChangeBehindALinkIsLoaded(t *testing.T) {
	a, b := twoProviders(t)
	elsewhere := filepath.Join(t.TempDir(), "mine.yaml")
	if err := os.WriteFile(elsewhere, []byte(yamlOf("openai", a.URL())), 0o600); err != nil {
		t.Fatal(err)
	}
	home := newHome(t, "")
	if err := os.Symlink(elsewhere, statedir.At(home).Config()); err != nil {
		t.Fatal(err)
	}
	h := openAt(t, home)
	at := h.head()
	if err := os.WriteFile(elsewhere, []byte(yamlOf("openai", b.URL())), 0o600); err != nil {
		t.Fatal(err)
	}
	h.event("config-loaded", at)
	if got := h.chat("hi"); !strings.Contains(got.body, "from b") {
		t.Errorf("the answer is %s", got.body)
	}
}

func TestABadFileChangesNothing(t *testing.T) {
	p := provider(t, nil)
	h := open(t, yamlOf("openai", p.URL()))
	was, at := h.d.conf.Load(), h.head()
	writeConfig(t, h.home.Root(), yamlOf("openai", p.URL())+"provders: {}\nallow_paid: maybe\n")
	ev := h.event("config-rejected", at)
	if errs := field(ev, "errors"); !strings.Contains(errs, "drey.yaml:") || !strings.Contains(errs, "provders") || !strings.Contains(errs, "allow_paid") {
		t.Errorf("the event says %s", errs)
	}
	if h.d.conf.Load() != was {
		t.Error("something else is in force")
	}
	if got := h.chat("hi"); got.status != 200 {
		t.Errorf("a request gets %d: %s", got.status, got.body)
	}

	// the control API says the same, with the places
	_, err := h.control().Reload(t.Context())
	e, ok := errors.AsType[*api.Error](err)
	if !ok || e.Code != api.CodeConfigRejected || len(e.Fields) < 2 || !strings.Contains(e.Fields[0].Path, "drey.yaml:") {
		t.Errorf("the control API says %v, %+v", err, e)
	}
	if evs := h.events(store.Query{Event: "config-loaded"}); len(evs) != 1 {
		t.Errorf("%d configurations were loaded", len(evs))
	}

	// mended, it is loaded
	at = h.head()
	writeConfig(t, h.home.Root(), yamlOf("openai", p.URL())+"default_profile: default\n")
	h.event("config-loaded", at)
	for outcome, want := range map[string]float64{"rejected": 2, "ok": 1} {
		if got := h.metric(`drey_config_reloads_total{outcome="` + outcome + `"}`); got != want {
			t.Errorf("%v reloads are told to be %s, want %v", got, outcome, want)
		}
	}
}

func TestSIGHUPReloads(t *testing.T) {
	p := provider(t, nil)
	h := open(t, yamlOf("openai", p.URL()))
	at := h.event("config-loaded", 0).Seq
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	h.event("config-loaded", at)
}

func TestWhatNeedsARestartSaysSoUntilThen(t *testing.T) {
	p := provider(t, nil)
	h := open(t, yamlOf("openai", p.URL()))
	c := h.control()
	changed := yamlOf("openai", p.URL(), `listen: {addr: "127.0.0.1:1", max_body_mb: 1}`, "telemetry: {metrics_listen: \"127.0.0.1:2\", metrics: false}",
		"logs: {audit: false, level: warn, keep: 5}")
	reload := func(text string) api.Reload {
		t.Helper()
		writeConfig(t, h.home.Root(), text)
		r, err := c.Reload(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	want := []string{"listen", "logs.audit", "logs.keep", "telemetry.metrics", "telemetry.metrics_listen"}
	for _, text := range []string{changed, changed + "aliases: {fast: lab}\n"} { // it goes on waiting when something else changes
		r := reload(text)
		if slices.Sort(r.NeedsRestart); !slices.Equal(r.NeedsRestart, want) {
			t.Errorf("%q wait for a restart, want %q", r.NeedsRestart, want)
		}
	}
	// What waits is not in force, and is not said to be.
	if got := h.chat(strings.Repeat("word ", 300_000)); got.status != 200 {
		t.Errorf("a body of 1.5 MB gets %d", got.status)
	}
	if got := h.do(http.MethodGet, "/metrics", ""); got.status != 200 {
		t.Errorf("/metrics is %d", got.status)
	}
	cfg, err := c.Config(t.Context())
	if err != nil || strings.Contains(string(cfg.Settings), "127.0.0.1:1") || !strings.Contains(string(cfg.Settings), "warn") {
		t.Errorf("the settings in force are %s, %v", cfg.Settings, err)
	}
	if r := reload(yamlOf("openai", p.URL())); r.NeedsRestart != nil {
		t.Errorf("taken back, %q wait for a restart", r.NeedsRestart)
	}
}

// A file that takes back its address together with the keys is a good file; in
// a daemon that is still bound to the old address it would open the door.
func TestAReloadDoesNotOpenTheDoorToTheNetwork(t *testing.T) {
	p := provider(t, nil)
	h := open(t, yamlOf("openai", p.URL(), `listen: {addr: "0.0.0.0:0"}`, `keys: [{name: me, secret: "env:KEY"}]`), func(o *Options) {
		o.Env = environment(map[string]string{"KEY": "the-only-key-there-is"})
	})
	h.base = strings.Replace(h.base, "[::]", "127.0.0.1", 1)
	h.base = strings.Replace(h.base, "0.0.0.0", "127.0.0.1", 1)
	if got := h.chat("hi"); got.status != 401 {
		t.Fatalf("without a key: %d", got.status)
	}
	writeConfig(t, h.home.Root(), yamlOf("openai", p.URL()))
	_, err := h.control().Reload(t.Context())
	e, ok := errors.AsType[*api.Error](err)
	if !ok || e.Code != api.CodeConfigRejected || len(e.Fields) != 1 || !strings.Contains(e.Fields[0].Message, "keys") {
		t.Errorf("the reload says %v", err)
	}
	if got := h.chat("hi"); got.status != 401 {
		t.Errorf("after the reload, without a key: %d", got.status)
	}
	if got := h.chat("hi", "Authorization", "Bearer the-only-key-there-is"); got.status != 200 {
		t.Errorf("after the reload, with the key: %d", got.status)
	}
}

func TestRequestsUnderWayEndOnTheirGeneration(t *testing.T) {
	release := make(chan struct{})
	a := provider(t, func(int, fake.Request) fake.Behaviour {
		<-release
		return fake.Text("from a, late")
	})
	b := provider(t, fake.Always(fake.Text("from b")))
	h := open(t, strings.Replace(yamlOf("openai", a.URL()), "first_token: 1s", "first_token: 1m", 1))
	late := make(chan string, 1)
	go func() {
		got, err := h.try(http.MethodPost, "/v1/chat/completions", chatBody("hi", true))
		if err != nil {
			got.body = err.Error()
		}
		late <- got.body
	}()
	if _, err := a.WaitCalls(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	writeConfig(t, h.home.Root(), yamlOf("openai", b.URL()))
	if _, err := h.control().Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := h.chat("hi"); !strings.Contains(got.body, "from b") {
		t.Errorf("a new request gets %s", got.body)
	}
	close(release)
	if body := <-late; !strings.Contains(body, "late") || !strings.Contains(body, "[DONE]") {
		t.Errorf("the request under way got %s", body)
	}
}

// Many reload at once, while requests run and the file changes.
func TestReloadsTakeTurns(t *testing.T) {
	a, b := twoProviders(t)
	h := open(t, yamlOf("openai", a.URL()))
	done := make(chan error, 24)
	for i := range 8 {
		go func() {
			_, err := h.control().Reload(t.Context())
			done <- err
		}()
		go func() {
			urls := []string{a.URL(), b.URL()}
			tmp := filepath.Join(h.home.Root(), "drey.yaml~"+string(rune('0'+i)))
			err := os.WriteFile(tmp, []byte(yamlOf("openai", urls[i%2])), 0o600)
			done <- errors.Join(err, os.Rename(tmp, h.home.Config()))
		}()
		go func() {
			got, err := h.try(http.MethodPost, "/v1/chat/completions", chatBody("hi", false))
			if err == nil && got.status != 200 {
				err = errors.New(got.body)
			}
			done <- err
		}()
	}
	for range cap(done) {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(short):
			t.Fatal("somebody waits for ever")
		}
	}
}

// Who is known to be no good for agents is told once for each profile, however
// often the configuration is read again, and is used all the same.
func TestUnfitProvidersAreTold(t *testing.T) {
	p := provider(t, nil)
	small := strings.Replace(yamlOf("openai", p.URL()), "model: fake-model", "model: fake-model, context_tokens: 2000", 1)
	h := open(t, small)
	told := func() int { return strings.Count(h.log.String(), `"msg":"chain-suitability"`) }
	eventually(t, "it is told", func() bool { return told() == 1 })
	if !strings.Contains(h.log.String(), `"profile":"default","provider":"lab","reason":"its window of 2000 tokens`) {
		t.Errorf("the log:\n%s", h.log)
	}
	// The second profile is told of when the new file has been looked through;
	// by then the first would have been, too.
	writeConfig(t, h.home.Root(), strings.Replace(small, "profiles:\n", "profiles:\n  other: {chain: [lab]}\n", 1))
	if _, err := h.control().Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other profile is told of", func() bool { return strings.Contains(h.log.String(), `"profile":"other","provider":"lab"`) })
	if told() != 2 {
		t.Errorf("told %d times:\n%s", told(), h.log)
	}
	if got := h.chat("hi"); got.status != 200 {
		t.Errorf("a request gets %d: %s", got.status, got.body)
	}
}
