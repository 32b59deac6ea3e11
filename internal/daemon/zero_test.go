package daemon

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/discover"
	"github.com/dreyhq/drey/internal/fake"
)

// surroundings are what a zero-config daemon finds when it looks.
type surroundings struct {
	mu    sync.Mutex
	found []discover.Found
}

func (s *surroundings) set(found ...discover.Found) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.found = found
}

func (s *surroundings) look(context.Context) []discover.Found {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.found
}

// openZero starts a daemon without a configuration, which looks around often.
func openZero(t *testing.T, env map[string]string, found ...discover.Found) (*house, *surroundings) {
	t.Helper()
	s := &surroundings{found: found}
	return open(t, "", func(o *Options) {
		o.Look, o.Env = s.look, environment(env)
		o.test.addr, o.test.look = "127.0.0.1:0", 5*time.Millisecond
	}), s
}

func localServer(p *fake.Server) discover.Found {
	return discover.Found{Name: "ollama", Kind: discover.Ollama, URL: p.URL() + "/v1", Wire: drey.WireChat, Model: "fake-model", Price: drey.Local}
}

func vendor(p *fake.Server) discover.Found {
	return discover.Found{Name: "vendor", Kind: discover.Vendor, URL: p.URL() + "/v1", Wire: drey.WireChat, Price: drey.Paid, KeyEnv: "VENDOR_API_KEY"}
}

func TestWhereNothingIsFoundTheDemoAnswers(t *testing.T) {
	h, _ := openZero(t, nil)
	got := h.chat("hello?")
	if got.status != 200 || got.header.Get("X-Drey-Provider") != "demo" {
		t.Fatalf("%d from %q: %s", got.status, got.header.Get("X-Drey-Provider"), got.body)
	}
	for _, want := range []string{"demo", "No model was found", "Ollama", "ollama run", "DREY_ALLOW_PAID=1"} {
		if !strings.Contains(got.body, want) {
			t.Errorf("the demo does not say %q: %s", want, got.body)
		}
	}
	if told := h.told.String(); !strings.Contains(told, "no configuration") || !strings.Contains(told, "demo answers") || !strings.Contains(told, h.base) {
		t.Errorf("the banner says\n%s", told)
	}
	st, err := h.control().Status(t.Context())
	if err != nil || st.Config != "zero-config" {
		t.Errorf("the configuration is %q, %v", st.Config, err)
	}
}

func TestTheDemoGoesForGoodOnceAServerIsFound(t *testing.T) {
	h, around := openZero(t, nil)
	at := h.event("config-loaded", 0).Seq
	p := provider(t, fake.Always(fake.Text("from a real server")))
	around.set(localServer(p))
	at = h.event("config-loaded", at).Seq
	real := func() {
		t.Helper()
		got := h.chat("hello?")
		if !strings.Contains(got.body, "from a real server") || got.header.Get("X-Drey-Provider") != "ollama" {
			t.Errorf("the answer comes from %q: %s", got.header.Get("X-Drey-Provider"), got.body)
		}
	}
	real()
	eventually(t, "the banner tells of it", func() bool { return strings.Count(h.told.String(), "serves on") == 2 })

	// It does not answer for a while, and somebody reloads just then.
	around.set()
	if _, err := h.control().Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.event("config-loaded", at)
	real()
	if h.d.conf.Load().demo || h.d.conf.Load().looking {
		t.Error("the demo is back")
	}
}

func TestKeysThatWaitForLeaveBringNoDemo(t *testing.T) {
	p := provider(t, nil)
	env := map[string]string{"VENDOR_API_KEY": "a-key-of-the-vendor"}
	h, around := openZero(t, env, vendor(p))
	got := h.chat("hello?")
	if got.status != 400 || !strings.Contains(got.body, "paid-gate") || !strings.Contains(got.body, "allow_paid") {
		t.Errorf("%d: %s", got.status, got.body)
	}
	if got.header.Get("X-Should-Retry") != "false" {
		t.Error("an agent would try again and again")
	}
	if told := h.told.String(); !strings.Contains(told, "DREY_ALLOW_PAID=1") || !strings.Contains(told, "off: paid") || strings.Contains(told, "a-key-of-the-vendor") {
		t.Errorf("the banner says\n%s", told)
	}
	if n := len(p.Requests()); n != 0 {
		t.Errorf("the vendor was asked %d times", n)
	}
	// A server that comes later serves, in front of the keys.
	local := provider(t, fake.Always(fake.Text("from here")))
	around.set(localServer(local), vendor(p))
	h.event("config-loaded", h.event("config-loaded", 0).Seq)
	if got := h.chat("hello?"); !strings.Contains(got.body, "from here") {
		t.Errorf("%d: %s", got.status, got.body)
	}
}

func TestKeysAreUsedWithLeave(t *testing.T) {
	p := provider(t, fake.Always(fake.Text("from the vendor")))
	h, _ := openZero(t, map[string]string{"VENDOR_API_KEY": "a-key-of-the-vendor", "DREY_ALLOW_PAID": "yes"}, vendor(p))
	if got := h.chat("hello?"); !strings.Contains(got.body, "from the vendor") {
		t.Fatalf("%d: %s", got.status, got.body)
	}
	call := p.Calls()[0]
	if got := call.Header.Get("Authorization"); got != "Bearer a-key-of-the-vendor" {
		t.Errorf("the vendor received %q", got)
	}
	if call.Model != "any" {
		t.Errorf("the vendor was asked for model %q", call.Model)
	}
}

func TestAFileTakesThePlaceOfWhatWasFound(t *testing.T) {
	p := provider(t, fake.Always(fake.Text("from the file")))
	h, _ := openZero(t, nil)
	at := h.event("config-loaded", 0).Seq
	writeConfig(t, h.home.Root(), yamlOf("openai", p.URL()))
	ev := h.event("config-loaded", at)
	if got := field(ev, "source"); got != fmt.Sprintf("%q", h.home.Config()) {
		t.Errorf("the source is %s", got)
	}
	if got := h.chat("hi"); !strings.Contains(got.body, "from the file") {
		t.Errorf("%d: %s", got.status, got.body)
	}
}
