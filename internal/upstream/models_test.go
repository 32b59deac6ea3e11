package upstream

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/route"
)

// TestLearn asks servers of every known kind. Keys of answers are "METHOD
// /path" or, where the body matters, "METHOD /path BODY"; what is not listed
// is 404 in plain text.
func TestLearn(t *testing.T) {
	const tiny = `{"object":"list","data":[{"id":"tiny:latest","object":"model"},{"id":"big:7b"}]}`
	tests := []struct {
		name    string
		model   string
		price   drey.Price
		answers map[string]string
		want    Learned
		asked   int
	}{
		{"vLLM", "q", drey.Local, map[string]string{
			"GET /v1/models": `{"data":[{"id":"q","max_model_len":32768}]}`,
		}, Learned{Models: []string{"q"}, Listed: true, ContextTokens: 32768}, 1},
		{"the only model, unnamed", "", drey.Local, map[string]string{
			"GET /v1/models": `{"data":[{},{"id":"q","max_model_len":32768}]}`,
		}, Learned{Models: []string{"q"}, ContextTokens: 32768}, 1},
		{"several, unnamed", "", drey.Local, map[string]string{
			"GET /v1/models": tiny,
		}, Learned{Models: []string{"tiny:latest", "big:7b"}}, 1},
		{"OpenRouter: the serving host's limits before the model's", "a/b", drey.Paid, map[string]string{
			"GET /v1/models": `{"data":[{"id":"x/y"},{"id":"a/b","context_length":200000,"top_provider":{"context_length":131072,"max_completion_tokens":8000}}]}`,
		}, Learned{Models: []string{"x/y", "a/b"}, Listed: true, ContextTokens: 131072, MaxOutput: 8000}, 1},
		{"OpenAI tells nothing, and is asked nothing more", "gpt", drey.Paid, map[string]string{
			"GET /v1/models": `{"data":[{"id":"gpt"}]}`,
		}, Learned{Models: []string{"gpt"}, Listed: true}, 1},
		{"Ollama, loaded", "tiny", drey.Local, map[string]string{
			"GET /v1/models": tiny,
			"GET /api/ps":    `{"models":[{"name":"big:7b","context_length":1},{"name":"tiny:latest","model":"tiny:latest","context_length":4096}]}`,
		}, Learned{Models: []string{"tiny:latest", "big:7b"}, Listed: true, ContextTokens: 4096}, 2},
		{"Ollama, not loaded, with num_ctx", "tiny", drey.Local, map[string]string{
			"GET /v1/models":                  tiny,
			"GET /api/ps":                     `{"models":[]}`,
			`POST /api/show {"model":"tiny"}`: `{"parameters":"temperature 0.7\nnum_ctx                        8192\nstop \"x\"","model_info":{"llama.context_length":131072}}`,
		}, Learned{Models: []string{"tiny:latest", "big:7b"}, Listed: true, ContextTokens: 8192}, 3},
		{"Ollama, not loaded, as trained", "tiny", drey.Local, map[string]string{
			"GET /v1/models":                  tiny,
			"GET /api/ps":                     `{"models":[]}`,
			`POST /api/show {"model":"tiny"}`: `{"model_info":{"general.x":1,"llama.context_length":131072}}`,
		}, Learned{Models: []string{"tiny:latest", "big:7b"}, Listed: true, ContextTokens: 131072, Provisional: true}, 3},
		{"LM Studio, loaded", "m", drey.Local, map[string]string{
			"GET /v1/models":     `{"data":[{"id":"m"}]}`,
			"GET /api/v0/models": `{"data":[{"id":"m","state":"loaded","max_context_length":131072,"loaded_context_length":4096}]}`,
		}, Learned{Models: []string{"m"}, Listed: true, ContextTokens: 4096}, 3},
		{"LM Studio, not loaded", "m", drey.Local, map[string]string{
			"GET /v1/models":     `{"data":[{"id":"m"}]}`,
			"GET /api/v0/models": `{"data":[{"id":"m","state":"not-loaded","max_context_length":131072}]}`,
		}, Learned{Models: []string{"m"}, Listed: true, ContextTokens: 131072, Provisional: true}, 3},
		{"llama.cpp", "m", drey.Local, map[string]string{
			"GET /v1/models": `{"data":[{"id":"m","meta":{"n_ctx_train":131072}}]}`,
			"GET /props":     `{"default_generation_settings":{"n_ctx":16384}}`,
		}, Learned{Models: []string{"m"}, Listed: true, ContextTokens: 16384}, 4},
		{"a model that is not there", "nope", drey.Local, map[string]string{
			"GET /v1/models": tiny,
		}, Learned{Models: []string{"tiny:latest", "big:7b"}}, 4},
		{"a list that is none", "m", drey.Paid, map[string]string{
			"GET /v1/models": `<html>`,
		}, Learned{}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			noLeaks(t)
			asked := 0
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked++
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				key := r.Method + " " + r.URL.Path
				if len(body) > 0 {
					key += " " + string(body)
				}
				text, ok := tt.answers[key]
				if !ok {
					http.Error(w, "404 page not found", http.StatusNotFound)
					return
				}
				io.WriteString(w, text)
			}))
			t.Cleanup(srv.Close)
			p := provider(t, Config{URL: srv.URL + "/v1", Model: tt.model, Price: tt.price})
			got, err := p.Learn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if asked != tt.asked {
				t.Errorf("%d questions, want %d", asked, tt.asked)
			}
		})
	}
}

func TestLearnRefused(t *testing.T) {
	noLeaks(t)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Content-Type") != "" || r.Header.Get("Authorization") != "Bearer k" {
			t.Errorf("headers %v", r.Header)
		}
		http.Error(w, "no", http.StatusUnauthorized)
	}))
	t.Cleanup(srv.Close)
	p := provider(t, Config{URL: srv.URL, Key: "k"})
	_, err := p.Learn(t.Context())
	if f := wantFault(t, err, route.NoFault, drey.Auth); f.Status != 401 {
		t.Errorf("status %d", f.Status)
	}
}
