package daemon

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/gateway"
	"github.com/dreyhq/drey/internal/store/postgres/pgtest"
)

// pieces cuts a text into frames of n bytes.
func pieces(s string, n int) []string {
	var out []string
	for ; len(s) > n; s = s[n:] {
		out = append(out, s[:n])
	}
	return append(out, s)
}

// indiscreet tells the secrets that it was sent in every way in which an answer
// can hold them: whole, as a stream, over many frames of it, in the arguments of
// a call, in an error, and cut within one.
func indiscreet(n int, r fake.Request) fake.Behaviour {
	text := fmt.Sprintf("before %s between %s after", secretKey, secretHeader)
	switch n % 8 {
	case 0:
		return fake.Pieces(pieces(text, 7)...)
	case 1:
		return fake.Pieces(pieces(text, 1)...)
	case 2:
		return fake.CallTools(fake.ToolCall{Name: "look", Args: fmt.Sprintf(`{"at":%q,"and":"x"}`, secretOldKey)}).WithText(text)
	case 3:
		return fake.Pieces(pieces(text, 3)...).ErrorAfter(20, "api_error", text)
	case 4:
		return fake.Status(http.StatusInternalServerError, "api_error", text).Header("X-Request-Id", secretOldKey)
	case 5: // twelve characters of it go out
		return fake.Pieces(append([]string{"before "}, pieces(secretOldKey+" after", 3)...)...).CutAfter(7, fake.RST)
	case 6:
		return fake.Raw(http.StatusBadGateway, "text/html", "<html>"+text+"</html>")
	default:
		return fake.Text(text).Thinking(text)
	}
}

// captureHome is the configuration of the test of secrets; %[1]q is the
// provider's URL and %[2]s a file of a secret.
const captureHome = `version: 1
listen: {addr: "127.0.0.1:0"}
logs: {level: debug, capture: all}
keys:
  - {name: agent, secret: "env:CLIENT"}
  - {name: boss, secret: "env:ADMIN", admin: true}
providers:
  chat: {wire: openai, url: %[1]q, class: local, model: m, key: "env:KEY", headers: {X-Team: "file:%[2]s"}}
  messages: {wire: anthropic, url: %[1]q, class: local, model: m, key: "env:OLD"}
profiles:
  default: {chain: [chat], retry: {same_provider: 0}, health_action: off}
  other: {chain: [messages], retry: {same_provider: 0}, health_action: off}
`

// TestCapturesHoldNoSecret plants secrets wherever a request and its answers
// have room for some, and looks for them in what is on disk, while the daemon
// runs and after it, and in what it shows.
func TestCapturesHoldNoSecret(t *testing.T) {
	p := provider(t, indiscreet)
	home := newHome(t, "")
	file := filepath.Join(home, "team.secret")
	if err := os.WriteFile(file, []byte(secretHeader+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	writeConfig(t, home, fmt.Sprintf(captureHome, p.URL(), file))
	h := openAt(t, home, func(o *Options) {
		o.Env = environment(map[string]string{"KEY": secretKey, "OLD": secretOldKey, "CLIENT": secretClient, "ADMIN": secretAdmin})
	})
	var ids []string
	quoted := spellings(secretKey)[1]
	for i := range 32 {
		body := fmt.Sprintf(`{"model":"m","max_tokens":99,"stream":%v,"messages":[{"role":"user","content":"before %s between %s after"}]}`, i%16 < 12, quoted, secretOldKey)
		path := []string{"/v1/chat/completions", "/p/other/v1/messages", "/v1/messages", "/p/other/v1/chat/completions"}[i/8]
		got, err := h.try(http.MethodPost, path+"?api_key="+secretClient+"&x=1", body, "x-api-key", secretClient,
			"User-Agent", "agent of "+secretAdmin, "Cookie", "session="+secretAdmin, "X-Custom", secretKey, "Content-Type", "application/json")
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
		ids = append(ids, got.header.Get("X-Request-Id"))
	}
	frames := 0
	for i, id := range ids {
		c := h.capture(id)
		if !strings.Contains(c.Body, "before [redacted] between [redacted] after") || !c.Masked {
			t.Errorf("%d: the body is %s", i, c.Body)
		}
		if c.Query != "api_key=[redacted]&x=1" || c.Headers["user-agent"] != "agent of [redacted]" || c.Headers["content-type"] == "" || c.Headers["cookie"]+c.Headers["x-custom"]+c.Headers["x-api-key"] != "" {
			t.Errorf("%d: query %q, headers %v", i, c.Query, c.Headers)
		}
		if len(c.Attempts) == 0 {
			t.Fatalf("%d: no attempt: %s", i, c.Row)
		}
		text := c.Attempts[0].Body
		for _, f := range c.Attempts[0].Frames {
			text += f.Raw
			frames++
		}
		if !strings.Contains(text, "[redacted]") || c.Attempts[0].Bytes == 0 {
			t.Errorf("%d: the answer holds nothing that was redacted: %s", i, text)
		}
	}
	if frames < 200 {
		t.Errorf("%d frames are too few to prove anything", frames)
	}
	r, err := h.control().Replay(t.Context(), drey.RequestID(ids[0]), api.ReplayAsk{Provider: "messages"})
	if err != nil || !r.Masked || !strings.Contains(r.Original.Text, "before [redacted] between [redacted] after") {
		t.Errorf("the replay: %+v, %v", r, err)
	}
	clean(t, "a replay", fmt.Sprintf("%+v", r))
	for _, path := range []string{"/api/v1/captures", "/api/v1/captures/" + ids[1], "/api/v1/requests/" + ids[2]} {
		clean(t, path, h.do(http.MethodGet, path, "", "Authorization", "Bearer "+secretAdmin).body)
	}
	// The answers that broke off within a secret do not show its beginning.
	within := 0
	for _, id := range ids {
		c := h.capture(id)
		side := gateway.Read(&c)
		if strings.Contains(side.Text, "provider-k") {
			t.Errorf("%s shows the beginning of a secret: %s", id, side.Text)
		}
		if !side.Complete && side.Text == "before [redacted]" {
			within++
		}
	}
	if within == 0 {
		t.Error("no answer broke off within a secret: that proves nothing")
	}
	disk := func(when string) {
		seen := 0
		err := filepath.WalkDir(home, func(path string, e os.DirEntry, err error) error {
			if errors.Is(err, os.ErrNotExist) || err == nil && (!e.Type().IsRegular() || path == file || path == h.home.Config()) {
				return nil
			}
			b, rerr := os.ReadFile(path)
			if strings.HasPrefix(filepath.Base(path), "telemetry.db") {
				seen += strings.Count(string(b), "between [redacted] after")
			}
			clean(t, path+" "+when, string(b))
			return errors.Join(err, rerr)
		})
		if err != nil || seen < len(ids) {
			t.Errorf("%s: %v, and %d captures were seen: too few to prove anything", when, err, seen)
		}
	}
	disk("while the daemon runs")
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	disk("after it")
}

// capture waits until a capture is there.
func (h *house) capture(id string) api.Capture {
	h.t.Helper()
	c := h.control()
	var out api.Capture
	eventually(h.t, "the capture "+id, func() (ok bool) {
		var err error
		out, err = c.Capture(h.t.Context(), drey.RequestID(id))
		return err == nil
	})
	return out
}

// captured reports whether the row of a request says that it was captured.
func (h *house) captured(id string) bool {
	h.t.Helper()
	h.row(id)
	r, err := h.d.store.Request(h.t.Context(), drey.RequestID(id))
	if err != nil {
		h.t.Fatal(err)
	}
	return strings.Contains(string(r.Row), `"captured":true`)
}

// TestCapturesOnPostgreSQL: what is captured on a real server is there after a
// restart, and can be sent again; upkeep removes it in time.
func TestCapturesOnPostgreSQL(t *testing.T) {
	url := pgtest.URL(t)
	withStore := func(o *Options) {
		o.Env = environment(map[string]string{"DREY_STORE": url})
		o.test.standBy = time.Millisecond
	}
	home := newHome(t, strings.Replace(onPostgres, "listen:", "logs: {capture: all}\nlisten:", 1))
	h := openAt(t, home, withStore)
	id := h.chat("hello there").header.Get("X-Request-Id")
	before := h.capture(id)
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	h = openAt(t, home, withStore)
	if after := h.capture(id); after.Body != before.Body || len(after.Attempts) != 1 {
		t.Errorf("after a restart: %+v", after)
	}
	r, err := h.control().Replay(t.Context(), drey.RequestID(id), api.ReplayAsk{})
	if err != nil || r.Replay.Outcome != "ok" || r.Replay.Text != r.Original.Text || r.Replay.Text == "" {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestCaptureFollowsAReload: it is turned on and off without a restart, and
// whoever finds nothing is told what to do.
func TestCaptureFollowsAReload(t *testing.T) {
	const config = `version: 1
listen: {addr: "127.0.0.1:0"}
logs: {capture: %s}
providers: {a: {url: "demo:echo", wire: openai}, b: {url: "demo:cut?after=20", wire: openai}}
profiles: {default: {chain: [a]}, bad: {chain: [b]}}
`
	h := open(t, fmt.Sprintf(config, "off"))
	c := h.control()
	ask := func(path string) string {
		t.Helper()
		got, err := h.try(http.MethodPost, path, chatBody("say hello", true))
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
		id := got.header.Get("X-Request-Id")
		h.row(id)
		return id
	}
	kept := func(mode string) (well, badly bool) {
		t.Helper()
		writeConfig(t, h.home.Root(), fmt.Sprintf(config, mode))
		if r, err := c.Reload(t.Context()); err != nil || len(r.NeedsRestart) > 0 {
			t.Fatal(r, err)
		}
		for path, ok := range map[string]*bool{"/v1/chat/completions": &well, "/p/bad/v1/chat/completions": &badly} {
			id := ask(path)
			if *ok = h.captured(id); *ok {
				h.capture(id)
				continue
			}
			var e *api.Error
			if _, err := c.Replay(t.Context(), drey.RequestID(id), api.ReplayAsk{}); !errors.As(err, &e) || e.Code != api.CodeNotFound || !strings.Contains(e.Hint, "logs.capture") {
				t.Errorf("capture %s: %v", mode, err)
			}
		}
		return well, badly
	}
	if well, badly := kept("errors"); well || !badly {
		t.Errorf("errors: %v %v", well, badly)
	}
	if well, badly := kept("all"); !well || !badly {
		t.Errorf("all: %v %v", well, badly)
	}
	if well, badly := kept("off"); well || badly {
		t.Errorf("off: %v %v", well, badly)
	}
	list, err := c.Captures(t.Context(), "", 0)
	if err != nil || len(list.Captures) != 3 {
		t.Errorf("%+v, %v", list, err)
	}
}
