package discover

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/dreyhq/drey"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// answers is a server by its paths; "show MODEL" answers POST /api/show.
type answers map[string]string

func (a answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := r.URL.Path
	if key == "/api/show" {
		var in struct{ Model string }
		_ = json.NewDecoder(r.Body).Decode(&in)
		key = "show " + in.Model
	}
	body, ok := a[key]
	if !ok {
		if body, ok = a["*"]; !ok {
			http.NotFound(w, r)
			return
		}
	}
	_, _ = io.WriteString(w, body)
}

// start runs servers and returns their addresses as targets.
func start(t *testing.T, hs ...http.Handler) []Target {
	t.Helper()
	var out []Target
	for _, h := range hs {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		out = append(out, Target{Addr: s.Listener.Addr().String()})
	}
	return out
}

// patient is long enough for a busy machine; the clock has its own test.
const patient = 10 * time.Second

func detect(t *testing.T, hs ...http.Handler) []Found {
	t.Helper()
	fs := Detect(t.Context(), Options{Targets: start(t, hs...), Timeout: patient})
	for i := range fs {
		if !strings.HasPrefix(fs[i].URL, "http://127.0.0.1:") || !strings.HasSuffix(fs[i].URL, "/v1") {
			t.Errorf("url %s", fs[i].URL)
		}
		fs[i].URL = ""
	}
	return fs
}

const lmUnknown = `{"error":"Unexpected endpoint or method."}`

func TestServersAreKnownByTheirAnswers(t *testing.T) {
	found := func(k Kind, model string, context int, tools bool) []Found {
		return []Found{{Name: string(k), Kind: k, Wire: drey.WireChat, Model: model, ContextTokens: context, Tools: tools}}
	}
	tags := `{"models":[{"name":"nomic-embed-text:latest","details":{"family":"nomic-bert"}},{"name":"plain:1b","model":"plain:1b"},{"name":"able:8b"}]}`
	rows := []struct {
		name string
		a    answers
		want []Found
	}{
		{"Ollama with a loaded model", answers{
			"/api/tags": tags, "/v1/models": `{"object":"list","data":[{"id":"x","owned_by":"library"}]}`,
			"/api/ps":       `{"models":[{"name":"nomic-embed-text:latest"},{"name":"plain:1b","context_length":4096}]}`,
			"show plain:1b": `{"capabilities":["completion"],"parameters":"num_ctx 99"}`, "show able:8b": `{"capabilities":["completion","tools"]}`,
			"show nomic-embed-text:latest": `{"capabilities":["embedding"]}`,
		}, found(Ollama, "plain:1b", 4096, false)},
		{"Ollama with nothing loaded: the first that can use tools, as it would be loaded", answers{
			"/api/tags": tags, "/api/ps": `{"models":[]}`,
			"show plain:1b": `{"capabilities":["completion"]}`,
			"show able:8b":  `{"capabilities":["completion","tools"],"parameters":"stop \"<x>\"\nnum_ctx   8192\n","model_info":{"llama.context_length":131072}}`,
		}, found(Ollama, "able:8b", 8192, true)},
		{"Ollama that tells no more than its list: the first that is no embedding model", answers{"/api/tags": tags}, found(Ollama, "plain:1b", 0, false)},
		{"Ollama with a loaded model that is in no list", answers{
			"/api/tags": `{"models":[]}`, "/api/ps": `{"models":[{"model":"gone:1b","context_length":2048}]}`, "show gone:1b": `{"capabilities":["completion","tools"]}`,
		}, found(Ollama, "gone:1b", 2048, true)},
		{"Ollama without a model", answers{"/api/tags": `{"models":[]}`}, nil},
		{"Ollama with an embedding model only", answers{"/api/tags": `{"models":[{"name":"x"}]}`, "show x": `{"capabilities":["embedding"]}`}, nil},
		{"LM Studio with a loaded model", answers{
			"*": lmUnknown, "/v1/models": `{"data":[{"id":"a"}]}`,
			"/api/v0/models": `{"object":"list","data":[{"id":"emb","type":"embeddings","state":"loaded"},{"id":"a","type":"llm","state":"not-loaded","max_context_length":9},
				{"id":"b","type":"vlm","state":"loaded","max_context_length":32768,"loaded_context_length":16384,"capabilities":["tool_use"]}]}`,
		}, found(LMStudio, "b", 16384, true)},
		{"LM Studio with nothing loaded", answers{
			"*": lmUnknown, "/v1/models": `{"data":[{"id":"a"}]}`,
			"/api/v0/models": `{"data":[{"id":"a","type":"llm","state":"not-loaded"},{"id":"b","type":"llm","state":"not-loaded","max_context_length":32768,"capabilities":["tool_use"]}]}`,
		}, found(LMStudio, "b", 32768, true)},
		{"llama.cpp, although it imitates Ollama", answers{
			"/props":     `{"default_generation_settings":{"n_ctx":8192},"total_slots":2,"model_path":"/m.gguf","chat_template_caps":{"supports_tools":true}}`,
			"/v1/models": `{"object":"list","models":[{"name":"q"}],"data":[{"id":"q.gguf","owned_by":"llamacpp","meta":{"n_ctx":16384,"n_ctx_train":131072}}]}`,
			"/api/tags":  `{"models":[{"name":"q"}]}`,
		}, found(LlamaCpp, "q.gguf", 8192, true)},
		{"llama.cpp without props", answers{"/v1/models": `{"data":[{"id":"q.gguf","owned_by":"llamacpp","meta":{"n_ctx":16384}}]}`}, found(LlamaCpp, "q.gguf", 16384, false)},
		{"llama.cpp as a router", answers{
			"/v1/models": `{"data":[{"id":"a","owned_by":"llamacpp","status":{"value":"unloaded"}},{"id":"b","owned_by":"llamacpp","status":{"value":"loaded"}}]}`,
		}, found(LlamaCpp, "b", 0, false)},
		{"vLLM", answers{
			"/v1/models": `{"object":"list","data":[{"id":"lora","owned_by":"vllm","parent":"org/big"},{"id":"org/big","owned_by":"vllm","max_model_len":65536,"parent":null}]}`,
		}, found(VLLM, "org/big", 65536, false)},
		{"some OpenAI server", answers{"/v1/models": `{"data":[{"id":"text-embedding-x"},{"id":"m","owned_by":"me"}]}`}, found(OpenAI, "m", 0, false)},
		{"another drey", answers{"/v1/models": `{"data":[{"id":"default","owned_by":"drey"}]}`}, nil},
		{"a web server", answers{"*": "<html>"}, nil},
		{"a web server that answers JSON", answers{"*": `{"status":"ok"}`}, nil},
		{"a server of nothing", answers{}, nil},
		{"a list of JSON", answers{"*": `[]`}, nil},
		{"null", answers{"*": `null`}, nil},
		{"fields of unexpected types", answers{
			"/v1/models": `{"data":[3,null,{"id":7},{"id":"m","owned_by":5,"max_model_len":"many","meta":[],"status":"x","capabilities":{},"parent":{}}]}`,
			"/props":     `{"default_generation_settings":[],"build_info":4}`, "/api/tags": `{"models":"none"}`,
		}, found(OpenAI, "m", 0, false)},
		{"absurd numbers", answers{"/v1/models": `{"data":[{"id":"m","owned_by":"vllm","max_model_len":99999999999}]}`}, found(VLLM, "m", 0, false)},
		{"negative numbers", answers{"/v1/models": `{"data":[{"id":"m","owned_by":"vllm","max_model_len":-5}]}`}, found(VLLM, "m", 0, false)},
		{"names that cannot be shown", answers{"/v1/models": `{"data":[{"id":"a\u001b[31m"},{"id":"a\nb"},{"id":""},{"id":"` + strings.Repeat("x", 201) + `"},{"id":"fine"}]}`}, found(OpenAI, "fine", 0, false)},
		{"an endless answer", answers{"/v1/models": `{"data":[{"id":"m"}],"x":"` + strings.Repeat("x", maxAnswer) + `"}`}, nil},
		{"deep JSON", answers{"*": strings.Repeat("[", 100_000)}, nil},
		{"more models than anybody has", answers{"/v1/models": `{"data":[` + strings.Repeat(`{"id":"embed"},`, maxModels) + `{"id":"m"}]}`}, nil},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if d := cmp.Diff(row.want, detect(t, row.a)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	evil := answers{"*": `{"data":[{"id":"m"}]}`, "/api/tags": `{"models":[{"name":"m"}]}`}
	target := start(t, evil)[0]
	if got := detect(t, http.RedirectHandler("http://"+target.Addr+"/v1/models", http.StatusFound)); got != nil {
		t.Errorf("found %+v", got)
	}
}

func TestProxiesAreNotAsked(t *testing.T) {
	proxied := false
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { proxied = true }))
	defer proxy.Close()
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("http_proxy", proxy.URL)
	t.Setenv("NO_PROXY", "")
	// A name that the environment would send through the proxy.
	Detect(t.Context(), Options{Targets: []Target{{Addr: "model.test:1"}}, Timeout: patient, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: io.EOF}
	}})
	if proxied {
		t.Error("a proxy was asked")
	}
}

// TestHangingServers: one that takes the connection and says nothing, one that
// never finishes, and one that hangs after it has said what it is.
func TestHangingServers(t *testing.T) {
	rows := []struct {
		name  string
		serve func(net.Conn)
		took  time.Duration
		want  int
	}{
		{"silent", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, 300 * time.Millisecond, 0},
		{"never finished", func(c net.Conn) {
			b := make([]byte, 4096)
			_, _ = c.Read(b)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n{\"models\":[")
			for range time.Tick(100 * time.Millisecond) { // it drips
				if _, err := io.WriteString(c, " "); err != nil {
					return
				}
			}
		}, 300 * time.Millisecond, 0},
		{"silent about details", func(c net.Conn) {
			b := make([]byte, 4096)
			n, _ := c.Read(b)
			if strings.HasPrefix(string(b[:n]), "GET /api/tags ") {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"models\":[{\"name\":\"m\"}]}")
				return
			}
			if strings.HasPrefix(string(b[:n]), "GET /api/ps ") || strings.HasPrefix(string(b[:n]), "POST ") {
				_, _ = io.Copy(io.Discard, c)
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n")
		}, 300 * time.Millisecond, 1},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var servers sync.WaitGroup
				defer servers.Wait()
				got := Detect(t.Context(), Options{Targets: DefaultTargets(), Dial: func(context.Context, string, string) (net.Conn, error) {
					ours, theirs := net.Pipe()
					servers.Go(func() {
						defer theirs.Close()
						row.serve(theirs)
					})
					return ours, nil
				}})
				if took := time.Since(began); took != row.took || len(got) != row.want*len(DefaultTargets()) {
					t.Errorf("after %v: %+v", took, got)
				}
			})
		})
	}
}

func TestCancelEndsTheSearch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		began := time.Now()
		Detect(ctx, Options{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		if took := time.Since(began); took != 50*time.Millisecond {
			t.Errorf("it took %v", took)
		}
	})
}

func TestOrderAndNames(t *testing.T) {
	one := answers{"/v1/models": `{"data":[{"id":"m","owned_by":"vllm"}]}`}
	targets := start(t, one, answers{"/api/tags": `{"models":[{"name":"m"}]}`}, one)
	targets = append(targets, targets[2]) // named twice by mistake
	got := Detect(t.Context(), Options{Targets: targets, Timeout: patient, Getenv: func(key string) string {
		return map[string]string{"XAI_API_KEY": "x", "ANTHROPIC_API_KEY": "a", "OPENAI_API_KEY": " \t"}[key]
	}})
	_, port, _ := net.SplitHostPort(targets[2].Addr)
	var names []string
	for _, f := range got {
		names = append(names, f.Name)
	}
	want := []string{"vllm", "ollama", "vllm-" + port, "vllm-" + port + "-2", "anthropic", "xai"}
	if d := cmp.Diff(want, names); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestKeys(t *testing.T) {
	var lines []string
	for _, f := range Keys(func(key string) string { return "secret of " + key }) {
		if f.Kind != Vendor || f.Price != drey.Paid || !f.Tools || !strings.HasPrefix(f.URL, "https://") {
			t.Errorf("%+v", f)
		}
		lines = append(lines, fmt.Sprintf("%s %s %s %q", f.Name, f.KeyEnv, f.Wire, f.Model))
	}
	want := []string{
		`anthropic ANTHROPIC_API_KEY anthropic ""`, `openai OPENAI_API_KEY chat "gpt-5"`, `openrouter OPENROUTER_API_KEY chat "openrouter/auto"`,
		`groq GROQ_API_KEY chat "openai/gpt-oss-120b"`, `deepseek DEEPSEEK_API_KEY chat "deepseek-chat"`, `mistral MISTRAL_API_KEY chat "mistral-large-latest"`,
		`gemini GEMINI_API_KEY chat "gemini-flash-latest"`, `xai XAI_API_KEY chat "grok-4"`,
	}
	if d := cmp.Diff(want, lines); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if got := Keys(func(string) string { return "" }); got != nil {
		t.Errorf("without keys: %+v", got)
	}
}

func TestLookedFor(t *testing.T) {
	text := strings.Join(LookedFor(Options{}), "\n")
	for _, part := range []string{"127.0.0.1:11434", "127.0.0.1:1234", "127.0.0.1:8080", "127.0.0.1:8000", "ANTHROPIC_API_KEY", "XAI_API_KEY"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing:\n%s", part, text)
		}
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"data":[{"id":"m","owned_by":"vllm","max_model_len":5,"meta":{"n_ctx":1},"type":"llm","state":"loaded"}],"models":[{"name":"x"}]}`))
	f.Add([]byte(`{"data":[null,{"id":1,"capabilities":"x"}],"default_generation_settings":{"n_ctx":1e5}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var l modelList
		var p llamaProps
		var tags ollamaTags
		var ps ollamaPS
		var show ollamaShow
		for _, v := range []any{&l, &p, &tags, &ps, &show} {
			_ = json.Unmarshal(b, v)
		}
		c := &candidate{models: append(append(l.vllm(), l.lmStudio()...), l.llamaCpp(p)...)}
		if tags.telling() {
			c.models = append(c.models, tags.models()...)
		}
		ps.apply(c)
		for i := range c.models {
			show.apply(&c.models[i])
		}
		m, ok := choose(c.models)
		if ok && (!usableID(word(m.id)) || m.embedding || m.context < 0 || m.context > 100_000_000) {
			t.Errorf("chosen: %+v", m)
		}
	})
}
