package discover

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/dreyhq/drey"
)

const (
	maxAnswer  = 4 << 20 // bytes of one answer
	maxHeader  = 64 << 10
	maxModels  = 1000 // entries of one list that are looked at
	maxDetails = 8    // models that Ollama is asked about one by one
)

// server is one address under examination.
type server struct {
	base   string // http://host:port
	client *http.Client
}

// ask finds out what listens at addr; nil if it is nothing of ours.
func ask(ctx context.Context, o Options, addr string) *Found {
	transport := &http.Transport{
		Proxy:                  nil, // never for loopback, whatever the environment says
		DialContext:            o.Dial,
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: maxHeader,
	}
	defer transport.CloseIdleConnections()
	s := &server{base: "http://" + addr, client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	c := s.identify(ctx, o.Timeout)
	if c == nil {
		return nil
	}
	if c.kind == Ollama {
		s.detail(ctx, o.Timeout, c)
	}
	m, ok := choose(c.models)
	if !ok {
		return nil // a server without a model that could talk is of no use
	}
	return &Found{
		Name: string(c.kind), Kind: c.kind, URL: s.base + "/v1", Wire: drey.WireChat, Price: drey.Local,
		Model: m.id, ContextTokens: m.context, Tools: m.tools,
	}
}

// candidate is what a server says it is, with its models.
type candidate struct {
	kind   Kind
	models []model
}

// identify asks for the four faces of a server at once and takes the most
// telling one. llama.cpp comes before Ollama, because it also imitates
// Ollama's list; the plain OpenAI list comes last, because all have it.
func (s *server) identify(ctx context.Context, timeout time.Duration) *candidate {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var props llamaProps
	var studio, list modelList
	var tags ollamaTags
	var isLlama, isStudio, isOllama, isList bool
	var wg sync.WaitGroup
	wg.Go(func() { isLlama = s.get(ctx, "/props", &props) == nil && props.telling() })
	wg.Go(func() { isStudio = s.get(ctx, "/api/v0/models", &studio) == nil && studio.ofLMStudio() })
	wg.Go(func() { isOllama = s.get(ctx, "/api/tags", &tags) == nil && tags.telling() })
	wg.Go(func() { isList = s.get(ctx, "/v1/models", &list) == nil && len(list.Data) > 0 })
	wg.Wait()

	owner := ""
	if isList {
		owner = list.owner()
	}
	switch {
	case owner == "drey":
		return nil // another drey, or ourselves: a circle
	case isStudio:
		return &candidate{LMStudio, studio.lmStudio()}
	case isLlama && isList, owner == "llamacpp":
		return &candidate{LlamaCpp, list.llamaCpp(props)}
	case isOllama && (len(tags.Models) > 0 || !isList):
		return &candidate{Ollama, tags.models()}
	case owner == "vllm":
		return &candidate{VLLM, list.vllm()}
	case isList:
		return &candidate{OpenAI, list.vllm()} // many others tell max_model_len too
	default:
		return nil
	}
}

// detail asks Ollama which models are loaded and what the others can do. What
// does not answer in time stays unknown.
func (s *server) detail(ctx context.Context, timeout time.Duration, c *candidate) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var ps ollamaPS
	var wg sync.WaitGroup
	wg.Go(func() {
		if s.get(ctx, "/api/ps", &ps) != nil {
			ps = ollamaPS{}
		}
	})
	shows := make([]ollamaShow, min(len(c.models), maxDetails))
	for i := range shows {
		wg.Go(func() {
			if s.post(ctx, "/api/show", map[string]string{"model": c.models[i].id}, &shows[i]) != nil {
				shows[i] = ollamaShow{}
			}
		})
	}
	wg.Wait()
	for i := range shows {
		shows[i].apply(&c.models[i])
	}
	ps.apply(c)
	// A loaded model may stand behind the first few, or in no list at all.
	for i := len(shows); i < len(c.models); i++ {
		if m := &c.models[i]; m.loaded {
			var show ollamaShow
			if s.post(ctx, "/api/show", map[string]string{"model": m.id}, &show) == nil {
				show.apply(m)
			}
		}
	}
}

func (s *server) get(ctx context.Context, path string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+path, nil)
	if err != nil {
		return err
	}
	return s.do(r, into)
}

func (s *server) post(ctx context.Context, path string, body, into any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	return s.do(r, into)
}

var errAnswer = errors.New("not an answer of a model server")

func (s *server) do(r *http.Request, into any) error {
	resp, err := s.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errAnswer
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return err
	}
	if len(b) > maxAnswer {
		return errAnswer
	}
	return json.Unmarshal(b, into)
}
