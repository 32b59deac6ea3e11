package upstream

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
)

// learnTimeout bounds each question that Learn asks.
const learnTimeout = 5 * time.Second

// Learned is what a provider's own server tells of itself. A number is 0 where
// it told nothing.
type Learned struct {
	Models []string // ids, in the server's order
	// Listed says that the configured model is among Models, or is the short
	// form of one ("tiny" of "tiny:latest").
	Listed bool

	ContextTokens int // the window of the configured model, or of the only one
	MaxOutput     int
	// Provisional says that the model is not loaded and ContextTokens what it
	// was trained for: an upper bound, to be asked again once it is loaded.
	Provisional bool
}

// Keys under which servers tell a model's window and its largest answer, in
// the order of trust: vLLM and SGLang; llama.cpp; OpenRouter; Groq; Mistral;
// Anthropic.
var (
	windowKeys = []string{"max_model_len", "meta.n_ctx", "top_provider.context_length", "context_length", "context_window", "max_context_length", "max_input_tokens"}
	outputKeys = []string{"top_provider.max_completion_tokens", "max_completion_tokens", "max_output_tokens", "max_tokens"}
)

// Learn asks the provider for its models and for the window of the configured
// one. Toward a local server that does not tell it in the list it goes on with
// the questions of Ollama, LM Studio and llama.cpp; what these refuse is no
// error. The error is a *Failure of the list itself; a list that is no JSON
// teaches nothing.
func (p *Provider) Learn(ctx context.Context) (Learned, error) {
	var l Learned
	list, err := p.ask(ctx, p.endpoint("/models", ""), nil)
	if err != nil {
		return l, err
	}
	var first, own gjson.Result
	for _, e := range gjson.GetBytes(list, "data").Array() {
		id := e.Get("id").String()
		if id == "" {
			continue
		}
		if l.Models = append(l.Models, id); len(l.Models) == 1 {
			first = e
		}
		if !own.Exists() && sameModel(id, p.cfg.Model) {
			own, l.Listed = e, true
		}
	}
	name := p.cfg.Model
	if name == "" && len(l.Models) == 1 {
		own, name = first, l.Models[0]
	}
	l.ContextTokens = firstNumber(own, windowKeys)
	l.MaxOutput = firstNumber(own, outputKeys)
	if l.ContextTokens == 0 && name != "" && p.cfg.Price == drey.Local && p.cfg.Transport == nil {
		for _, ask := range []func(context.Context, string, *Learned){p.askOllama, p.askLMStudio, p.askLlamaCPP} {
			if ask(ctx, name, &l); l.ContextTokens > 0 {
				break
			}
		}
	}
	return l, nil
}

// askOllama reads the window that the loaded model has; of a model that is not
// loaded the num_ctx of its file, else what it was trained for. Ollama cuts
// longer prompts silently, so the loaded number is the one that counts.
func (p *Provider) askOllama(ctx context.Context, model string, l *Learned) {
	running, err := p.ask(ctx, p.root("/api/ps"), nil)
	if err != nil {
		return
	}
	for _, m := range gjson.GetBytes(running, "models").Array() {
		if sameModel(m.Get("name").String(), model) || sameModel(m.Get("model").String(), model) {
			if l.ContextTokens = int(m.Get("context_length").Int()); l.ContextTokens > 0 {
				return
			}
		}
	}
	quoted, err := json.Marshal(model)
	if err != nil {
		return
	}
	show, err := p.ask(ctx, p.root("/api/show"), wire.NewBody([]byte(`{"model":`), quoted, []byte("}")))
	if err != nil {
		return
	}
	if m := numCtx.FindStringSubmatch(gjson.GetBytes(show, "parameters").String()); m != nil {
		l.ContextTokens, _ = strconv.Atoi(m[1]) // digits; one that is out of range stays 0
		return
	}
	gjson.GetBytes(show, "model_info").ForEach(func(key, value gjson.Result) bool {
		if strings.HasSuffix(key.String(), ".context_length") {
			l.ContextTokens, l.Provisional = int(value.Int()), true
		}
		return !l.Provisional
	})
}

// numCtx finds the window in the parameters of an Ollama model's file.
var numCtx = regexp.MustCompile(`(?m)^\s*num_ctx\s+(\d+)\s*$`)

// askLMStudio reads the window that the loaded model has, else the longest
// that it can have.
func (p *Provider) askLMStudio(ctx context.Context, model string, l *Learned) {
	list, err := p.ask(ctx, p.root("/api/v0/models"), nil)
	if err != nil {
		return
	}
	for _, m := range gjson.GetBytes(list, "data").Array() {
		if !sameModel(m.Get("id").String(), model) {
			continue
		}
		if l.ContextTokens = int(m.Get("loaded_context_length").Int()); l.ContextTokens == 0 {
			l.ContextTokens = int(m.Get("max_context_length").Int())
			l.Provisional = l.ContextTokens > 0
		}
		return
	}
}

// askLlamaCPP reads the window of a slot. The server has one model.
func (p *Provider) askLlamaCPP(ctx context.Context, _ string, l *Learned) {
	props, err := p.ask(ctx, p.root("/props"), nil)
	if err != nil {
		return
	}
	l.ContextTokens = int(gjson.GetBytes(props, "default_generation_settings.n_ctx").Int())
}

// ask performs one question; with a body it is a POST.
func (p *Provider) ask(ctx context.Context, u *url.URL, body *wire.Body) ([]byte, error) {
	method := http.MethodPost
	if body == nil {
		method = http.MethodGet
	}
	ans, err := p.do(ctx, &Call{Method: method, Body: body, FirstToken: learnTimeout, Stall: learnTimeout}, u)
	if err != nil {
		return nil, err
	}
	return ans.JSON, nil
}

// root returns the URL of a path beside the provider's /v1.
func (p *Provider) root(path string) *url.URL {
	u := *p.base
	u.Path, u.RawPath, u.RawQuery = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), "/v1")+path, "", ""
	return &u
}

// sameModel reports whether a server's id is the model that was asked for.
func sameModel(id, asked string) bool {
	return asked != "" && (id == asked || id == asked+":latest" || id+":latest" == asked)
}

func firstNumber(m gjson.Result, keys []string) int {
	for _, k := range keys {
		if n := m.Get(k).Int(); n > 0 {
			return int(n)
		}
	}
	return 0
}
