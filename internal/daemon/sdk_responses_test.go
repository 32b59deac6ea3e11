package daemon

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"
	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey/internal/fake"
)

func saidByResponses(r *responses.Response) said {
	s := said{Text: r.OutputText(), Stop: string(r.Status), Input: r.Usage.InputTokens, Output: r.Usage.OutputTokens}
	if r.IncompleteDetails.Reason != "" {
		s.Stop += " " + r.IncompleteDetails.Reason
	}
	for _, item := range r.Output {
		if call := item.AsFunctionCall(); item.Type == "function_call" {
			s.Calls = append(s.Calls, call.Name+call.Arguments)
		}
	}
	return s
}

// askResponses sends a request, streamed or not. Of a stream it holds what
// clients rely on: the numbers of its events have no gap, what the SDK builds of
// the items that are done is the answer at its end, and so is the text of the
// deltas.
func askResponses(t *testing.T, c *openai.Client, p responses.ResponseNewParams, stream bool) *responses.Response {
	t.Helper()
	if !stream {
		r, err := c.Responses.New(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	s := c.Responses.NewStreaming(t.Context(), p)
	defer s.Close()
	var acc responses.ResponseAccumulator
	var text strings.Builder
	var kinds []string
	var last responses.Response
	for s.Next() {
		ev := s.Current()
		if ev.SequenceNumber != int64(len(kinds)) {
			t.Errorf("event %d has the number %d", len(kinds), ev.SequenceNumber)
		}
		kinds = append(kinds, ev.Type)
		var again responses.ResponsesServerEventUnion
		if err := json.Unmarshal([]byte(ev.RawJSON()), &again); err != nil {
			t.Fatal(err)
		}
		if err := acc.AddEvent(again); err != nil {
			t.Fatalf("the SDK does not take %s: %v", ev.RawJSON(), err)
		}
		if ev.Type == "response.output_text.delta" {
			text.WriteString(ev.Delta)
		}
		last = ev.Response
	}
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	if len(kinds) < 3 || kinds[0] != "response.created" || kinds[1] != "response.in_progress" {
		t.Fatalf("the stream begins with %q", kinds)
	}
	if end := kinds[len(kinds)-1]; end != "response.completed" && end != "response.incomplete" {
		t.Errorf("the stream ends with %s", end)
	}
	if got := acc.Snapshot().OutputText(); got != last.OutputText() || text.String() != got {
		t.Errorf("the deltas say %q, the items %q, the answer %q", text.String(), got, last.OutputText())
	}
	return &last
}

func input(items ...responses.ResponseInputItemUnionParam) responses.ResponseNewParamsInputUnion {
	return responses.ResponseNewParamsInputUnion{OfInputItemList: items}
}

func TestResponsesSDKReadsText(t *testing.T) {
	text := fake.Text("A drey is a squirrel's nest: ünïcode, too.").Reports(fake.Usage{Input: 21, Output: 9})
	want := said{Text: "A drey is a squirrel's nest: ünïcode, too.", Stop: "completed", Input: 21, Output: 9}
	onEachWire(t, fake.Always(text), func(t *testing.T, h *house, p *fake.Server) {
		bothWays(t, func(t *testing.T, stream bool) {
			r := askResponses(t, h.openaiClient(), responses.ResponseNewParams{
				Model: "any", Instructions: openai.String("Be brief."),
				Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("What is a drey?")},
			}, stream)
			check(t, saidByResponses(r), want)
			if !strings.HasPrefix(r.ID, "resp_") || r.Object != "response" || r.Model == "" || r.CreatedAt == 0 {
				t.Errorf("the answer is %s", r.RawJSON())
			}
			for _, call := range p.Calls() {
				if call.Model != "fake-model" || call.Text != "What is a drey?" || !strings.Contains(string(call.Body), "Be brief.") {
					t.Errorf("the provider received model %q: %s", call.Model, call.Body)
				}
			}
			if row := h.row("req_" + strings.TrimPrefix(r.ID, "resp_")); row.Status != 200 || row.Outcome != "ok" {
				t.Errorf("the row says %d %s", row.Status, row.Outcome)
			}
		})
	})
}

func TestResponsesSDKUsesToolsOverTwoTurns(t *testing.T) {
	onEachWire(t, fake.Always(weather), func(t *testing.T, h *house, p *fake.Server) {
		bothWays(t, func(t *testing.T, stream bool) {
			params := responses.ResponseNewParams{
				Model: "any", Input: input(responses.ResponseInputItemParamOfMessage("Weather in Ulm and Bonn?", "user")),
				Tools: []responses.ToolUnionParam{{OfFunction: &responses.FunctionToolParam{
					Name: "weather", Parameters: map[string]any{"type": "object", "properties": weatherSchema},
				}}},
			}
			r := askResponses(t, h.openaiClient(), params, stream)
			got := saidByResponses(r)
			check(t, got, said{Text: "I look.", Stop: "completed", Calls: weatherCalls, Input: got.Input, Output: got.Output})

			items := params.Input.OfInputItemList
			for _, item := range r.Output {
				switch item.Type {
				case "message":
					m := item.AsMessage().ToParam()
					items = append(items, responses.ResponseInputItemUnionParam{OfOutputMessage: &m})
				case "function_call":
					call := item.AsFunctionCall().ToParam()
					items = append(items, responses.ResponseInputItemUnionParam{OfFunctionCall: &call})
				}
			}
			for _, item := range r.Output {
				if item.Type == "function_call" {
					out := responses.ResponseInputItemParamOfFunctionCallOutput("fine")
					out.OfFunctionCallOutput.CallID = openai.String(item.CallID)
					items = append(items, out)
				}
			}
			params.Input = input(items...)
			got = saidByResponses(askResponses(t, h.openaiClient(), params, stream))
			check(t, got, said{Text: "Rain in Ulm, sun in Bonn.", Stop: "completed", Input: got.Input, Output: got.Output})
			calls := p.Calls()
			if last := calls[len(calls)-1]; !last.HasResult || !slices.Equal(last.Tools, []string{"weather"}) {
				t.Errorf("the provider received %s", last.Body)
			}
		})
	})
}

func TestResponsesSDKSendsImages(t *testing.T) {
	onEachWire(t, fake.Always(fake.Text("A pixel.")), func(t *testing.T, h *house, p *fake.Server) {
		image := responses.ResponseInputContentUnionParam{OfInputImage: &responses.ResponseInputImageParam{
			Detail: "auto", ImageURL: openai.String("data:image/png;base64,iVBORw0KGgo="),
		}}
		r := askResponses(t, h.openaiClient(), responses.ResponseNewParams{
			Model: "any", Input: input(responses.ResponseInputItemParamOfMessage(responses.ResponseInputMessageContentListParam{
				responses.ResponseInputContentParamOfInputText("What is it?"), image,
			}, "user")),
		}, false)
		if r.OutputText() != "A pixel." {
			t.Errorf("%s", r.RawJSON())
		}
		if body := string(p.Calls()[0].Body); !strings.Contains(body, "iVBORw0KGgo=") {
			t.Errorf("the provider received %s", body)
		}
	})
}

func TestResponsesSDKReadsStructuredOutput(t *testing.T) {
	script := func(_ int, r fake.Request) fake.Behaviour {
		if len(r.Tools) != 1 {
			return fake.Text("no tool stands for the schema")
		}
		return fake.CallTool(`{"city":"Ulm"}`)
	}
	onEachWire(t, script, func(t *testing.T, h *house, _ *fake.Server) {
		bothWays(t, func(t *testing.T, stream bool) {
			r := askResponses(t, h.openaiClient(), responses.ResponseNewParams{
				Model: "any", Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("Which city?")},
				Text: responses.ResponseTextConfigParam{
					Format: responses.ResponseFormatTextConfigParamOfJSONSchema("city", map[string]any{"type": "object", "properties": weatherSchema}),
				},
			}, stream)
			if got := r.OutputText(); got != `{"city":"Ulm"}` || r.Status != "completed" {
				t.Errorf("%s", r.RawJSON())
			}
		})
	})
}

func TestResponsesSDKSeesReasoningAndLimits(t *testing.T) {
	onEachWire(t, fake.Always(fake.Text("So it is.").Thinking("let me see").Stop("max_tokens")), func(t *testing.T, h *house, _ *fake.Server) {
		bothWays(t, func(t *testing.T, stream bool) {
			r := askResponses(t, h.openaiClient(), responses.ResponseNewParams{
				Model: "any", Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("Well?")},
				Reasoning: shared.ReasoningParam{Effort: "low", Summary: "auto"},
			}, stream)
			got := saidByResponses(r)
			check(t, got, said{Text: "So it is.", Stop: "incomplete max_output_tokens", Input: got.Input, Output: got.Output})
			if len(r.Output) != 2 || r.Output[0].Type != "reasoning" || len(r.Output[0].Summary) != 1 || r.Output[0].Summary[0].Text != "let me see" {
				t.Errorf("%s", r.RawJSON())
			}
		})
	})
}

var helloResponses = responses.ResponseNewParams{
	Model: "any", Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("hi")},
}

func TestResponsesSDKRaisesTypedErrors(t *testing.T) {
	for _, tt := range []struct {
		name       string
		provider   fake.Behaviour
		status     int
		code, says string
		retryAfter string
	}{
		{"a refused request is relayed", fake.Status(422, "invalid_request_error", "temperature: must be cool"), 422, "", "temperature: must be cool", ""},
		{"a prompt that is too long", fake.ContextLength(200001, 200000), 400, "context_length_exceeded", "prompt is too long: 200001 tokens > 200000 maximum", ""},
		{"the provider's credential is refused", fake.Unauthorized(), 502, "all_providers_failed", "lab", "1"},
		{"the provider asks for a pause", fake.RateLimited().RetryAfter(7 * time.Second), 429, "rate_limit_exceeded", "lab", "7"},
		{"the provider fails", fake.ServerError(), 502, "all_providers_failed", "Internal server error", "1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onEachWire(t, fake.Always(tt.provider), func(t *testing.T, h *house, _ *fake.Server) {
				c := h.openaiClient()
				_, err := c.Responses.New(t.Context(), helloResponses)
				got := openaiError(t, err)
				if got.status != tt.status || got.kind != tt.code || !strings.Contains(got.message, tt.says) ||
					(tt.retryAfter == "") != (got.retryAfter == "") || got.retryAfter > tt.retryAfter {
					t.Errorf("the SDK says %d %q, Retry-After %q: %s", got.status, got.kind, got.retryAfter, got.message)
				}
				s := c.Responses.NewStreaming(t.Context(), helloResponses)
				defer s.Close()
				for s.Next() {
					t.Errorf("before the error came %s", s.Current().RawJSON())
				}
				if got := openaiError(t, s.Err()); got.status/100 != tt.status/100 && got.status != 503 {
					t.Errorf("streamed, the SDK says %d %q: %s", got.status, got.kind, got.message)
				}
			})
		})
	}
}

// An answer that breaks off after its first content ends with response.failed,
// however its provider's connection ended, and never like a whole one.
func TestResponsesSDKSeesBrokenStreams(t *testing.T) {
	long := fake.Text("one two three four five six seven eight")
	for name, b := range map[string]fake.Behaviour{
		"reset": long.CutAfter(8, fake.RST).Gap(20 * time.Millisecond), "closed": long.CutAfter(8, fake.FIN).Gap(20 * time.Millisecond),
		"clean end": long.CutAfter(8, fake.Clean).Gap(20 * time.Millisecond),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEachWire(t, fake.Always(b), func(t *testing.T, h *house, _ *fake.Server) {
				s := h.openaiClient().Responses.NewStreaming(t.Context(), helloResponses)
				defer s.Close()
				var kinds []string
				var last responses.ResponseStreamEventUnion
				for s.Next() {
					last = s.Current()
					kinds = append(kinds, last.Type)
					if last.SequenceNumber != int64(len(kinds)-1) {
						t.Errorf("event %d has the number %d", len(kinds)-1, last.SequenceNumber)
					}
				}
				if last.Type != "response.failed" || last.Response.Status != "failed" || last.Response.Error.Code != "all_providers_failed" ||
					!slices.Contains(kinds, "response.output_text.delta") || slices.Contains(kinds, "response.output_item.done") {
					t.Errorf("%q, last %s", kinds, last.RawJSON())
				}
			})
		})
	}
}

func TestResponsesDoorsSpeakTheirWire(t *testing.T) {
	h := open(t, yamlOf("openai", provider(t, fake.Always(fake.Text("hi"))).URL()))
	for _, tt := range []struct {
		method, path, body string
		status             int
		code, says         string
	}{
		{"GET", "/v1/responses", "", 405, "method_not_allowed", "POST"},
		{"GET", "/v1/responses/resp_1", "", 404, "not_found", "/v1/responses"},
		{"POST", "/v1/responses", `{"model":"x"}`, 400, "", "input"},
		{"POST", "/v1/responses", `{"model":"drey/nope","input":"x"}`, 400, "", "default"},
		{"POST", "/v1/responses", `{"model":"x","input":"x","previous_response_id":"resp_0"}`, 400, "", "previous_response_id"},
		{"POST", "/p/nope/v1/responses", `{"model":"x","input":"x"}`, 400, "", "default"},
		{"POST", "/v1/embeddings", `{"model":"x"}`, 400, "", "input"},
	} {
		a := h.do(tt.method, tt.path, tt.body)
		e := gjson.Get(a.body, "error")
		if a.status != tt.status || tt.code != "" && e.Get("code").Str != tt.code || e.Get("type").Str != "invalid_request_error" || !strings.Contains(e.Get("message").Str, tt.says) {
			t.Errorf("%s %s %s: %d %s", tt.method, tt.path, tt.body, a.status, a.body)
		}
	}
	if a := h.do("POST", "/p/default/v1/responses", `{"model":"x","input":"x"}`); a.status != 200 || gjson.Get(a.body, "status").Str != "completed" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestResponsesSDKCountsTokens(t *testing.T) {
	h := open(t, yamlOf("openai", provider(t, fake.Always(fake.Text("hi"))).URL()))
	got, err := h.openaiClient().Responses.InputTokens.Count(t.Context(), responses.InputTokenCountParams{
		Model: openai.String("any"), Input: responses.InputTokenCountParamsInputUnion{OfString: openai.String(strings.Repeat("four", 50))},
	})
	if err != nil || got.InputTokens != 50 || got.Object != "response.input_tokens" {
		t.Errorf("%+v, %v", got, err)
	}
}

// serve returns the URL of a server that ends with the test.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

// embeds is a provider with embeddings, which gives numbers whatever it is asked.
type embeds struct{ vectors [][]float64 }

func (e embeds) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/v1/embeddings" {
		http.NotFound(w, r)
		return
	}
	type item struct {
		Object    string    `json:"object"`
		Index     int       `json:"index"`
		Embedding []float64 `json:"embedding"`
	}
	out := map[string]any{"object": "list", "model": "nomic-embed", "usage": map[string]int{"prompt_tokens": 7, "total_tokens": 7}}
	items := []item{}
	for i, v := range e.vectors {
		items = append(items, item{"embedding", i, v})
	}
	out["data"] = items
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out) // a caller that is gone has no use for it
}

func TestEmbeddingsSDK(t *testing.T) {
	chatOnly, want := provider(t, fake.Always(fake.Text("hi"))), [][]float64{{1, -0.5, 0.25}, {2, 0, 1}}
	h := open(t, `version: 1
providers:
  claude: {wire: anthropic, url: "http://127.0.0.1:9", class: local}
  talks: {wire: openai, url: "`+chatOnly.URL()+`", class: local}
  embeds: {wire: openai, url: "`+serve(t, embeds{want})+`", class: local, model: nomic-embed}
profiles:
  default: {chain: [claude, talks, embeds]}
listen: {addr: "127.0.0.1:0"}
`)
	c := h.openaiClient()
	for _, format := range []openai.EmbeddingNewParamsEncodingFormat{"", "float"} {
		got, err := c.Embeddings.New(t.Context(), openai.EmbeddingNewParams{
			Model: "text-embedding-3-small", Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"a", "b"}}, EncodingFormat: format,
		})
		if err != nil {
			t.Fatal(err)
		}
		var vectors [][]float64
		for _, e := range got.Data {
			vectors = append(vectors, e.Embedding)
		}
		if diff := cmp.Diff(want, vectors); diff != "" || got.Usage.PromptTokens != 7 {
			t.Errorf("%q (-want +got):\n%s", format, diff)
		}
	}
	packed := h.do("POST", "/v1/embeddings", `{"model":"m","input":"a","encoding_format":"base64"}`)
	if got := gjson.Get(packed.body, "data.0.embedding").Str; got != "AACAPwAAAL8AAIA+" {
		t.Errorf("%d %s", packed.status, packed.body)
	}
	if got := h.chat("hi"); got.status != 200 {
		t.Errorf("a provider without embeddings does not talk any more: %d %s", got.status, got.body)
	}
}
