package daemon

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/google/go-cmp/cmp"
	"github.com/openai/openai-go/v3"
	openaioption "github.com/openai/openai-go/v3/option"
	"github.com/tidwall/gjson"

	"github.com/dreyhq/drey/internal/fake"
)

// The vendors' own clients, over real TCP, against a whole daemon in front of a
// provider of each wire: what they understand is what agents understand.

// anthropicClient is Anthropic's SDK with the daemon as its vendor.
func (h *house) anthropicClient(opts ...anthropicoption.RequestOption) *anthropic.Client {
	c := anthropic.NewClient(append([]anthropicoption.RequestOption{
		anthropicoption.WithBaseURL(h.base), anthropicoption.WithHTTPClient(h.http),
		anthropicoption.WithAPIKey("sk-ant-any"), anthropicoption.WithMaxRetries(0),
	}, opts...)...)
	return &c
}

// openaiClient is OpenAI's SDK with the daemon as its vendor.
func (h *house) openaiClient(opts ...openaioption.RequestOption) *openai.Client {
	c := openai.NewClient(append([]openaioption.RequestOption{
		openaioption.WithBaseURL(h.base + "/v1"), openaioption.WithHTTPClient(h.http),
		openaioption.WithAPIKey("sk-any"), openaioption.WithMaxRetries(0),
	}, opts...)...)
	return &c
}

// onEachWire runs a test against providers of both wires.
func onEachWire(t *testing.T, s fake.Script, f func(t *testing.T, h *house, p *fake.Server)) {
	for _, wire := range []string{"anthropic", "openai"} {
		t.Run("provider speaks "+wire, func(t *testing.T) {
			p := provider(t, s)
			f(t, open(t, yamlOf(wire, p.URL())), p)
		})
	}
}

// said is what an answer of either SDK comes to.
type said struct {
	Text, Stop    string
	Calls         []string // name and arguments
	Input, Output int64
}

func check(t *testing.T, got, want said) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what the SDK read (-want +got):\n%s", diff)
	}
}

func saidByAnthropic(m *anthropic.Message) said {
	s := said{Stop: string(m.StopReason), Input: m.Usage.InputTokens, Output: m.Usage.OutputTokens}
	for _, b := range m.Content {
		switch b := b.AsAny().(type) {
		case anthropic.TextBlock:
			s.Text += b.Text
		case anthropic.ToolUseBlock:
			s.Calls = append(s.Calls, b.Name+string(b.Input))
		}
	}
	return s
}

func saidByOpenAI(c *openai.ChatCompletion) said {
	s := said{Input: c.Usage.PromptTokens, Output: c.Usage.CompletionTokens}
	if len(c.Choices) != 1 {
		s.Text = fmt.Sprintf("%d choices", len(c.Choices))
		return s
	}
	s.Text, s.Stop = c.Choices[0].Message.Content, c.Choices[0].FinishReason
	for _, call := range c.Choices[0].Message.ToolCalls {
		s.Calls = append(s.Calls, call.Function.Name+call.Function.Arguments)
	}
	return s
}

// askAnthropic sends a message, streamed or not, and accumulates the answer.
func askAnthropic(t *testing.T, c *anthropic.Client, p anthropic.MessageNewParams, stream bool) *anthropic.Message {
	t.Helper()
	if !stream {
		m, err := c.Messages.New(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	s := c.Messages.NewStreaming(t.Context(), p)
	defer s.Close()
	var m anthropic.Message
	for s.Next() {
		if err := m.Accumulate(s.Current()); err != nil {
			t.Fatalf("the SDK does not take %s: %v", s.Current().RawJSON(), err)
		}
	}
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	return &m
}

// askOpenAI sends a chat, streamed or not, and accumulates the answer.
func askOpenAI(t *testing.T, c *openai.Client, p openai.ChatCompletionNewParams, stream bool) *openai.ChatCompletion {
	t.Helper()
	if !stream {
		m, err := c.Chat.Completions.New(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	p.StreamOptions = openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)}
	s := c.Chat.Completions.NewStreaming(t.Context(), p)
	defer s.Close()
	var acc openai.ChatCompletionAccumulator
	for s.Next() {
		if !acc.AddChunk(s.Current()) {
			t.Fatalf("the SDK does not take %s", s.Current().RawJSON())
		}
	}
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	return &acc.ChatCompletion
}

func bothWays(t *testing.T, f func(t *testing.T, stream bool)) {
	for _, stream := range []bool{false, true} {
		t.Run(map[bool]string{false: "whole", true: "streamed"}[stream], func(t *testing.T) { f(t, stream) })
	}
}

func userMessage(text string) []anthropic.MessageParam {
	return []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(text))}
}

func TestSDKsReadText(t *testing.T) {
	text := fake.Text("A drey is a squirrel's nest: ünïcode, too.").Reports(fake.Usage{Input: 21, Output: 9})
	want := said{Text: "A drey is a squirrel's nest: ünïcode, too.", Input: 21, Output: 9}
	onEachWire(t, fake.Always(text), func(t *testing.T, h *house, p *fake.Server) {
		bothWays(t, func(t *testing.T, stream bool) {
			m := askAnthropic(t, h.anthropicClient(), anthropic.MessageNewParams{
				Model: "any", MaxTokens: 100, System: []anthropic.TextBlockParam{{Text: "Be brief."}}, Messages: userMessage("What is a drey?"),
			}, stream)
			want.Stop = "end_turn"
			check(t, saidByAnthropic(m), want)

			c := askOpenAI(t, h.openaiClient(), openai.ChatCompletionNewParams{Model: "any", Messages: []openai.ChatCompletionMessageParamUnion{
				openai.SystemMessage("Be brief."), openai.UserMessage("What is a drey?"),
			}}, stream)
			want.Stop = "stop"
			check(t, saidByOpenAI(c), want)
			for _, call := range p.Calls() {
				if call.Model != "fake-model" || call.Text != "What is a drey?" || !strings.Contains(string(call.Body), "Be brief.") {
					t.Errorf("the provider received model %q: %s", call.Model, call.Body)
				}
			}
		})
	})
}

// weather is a turn with two calls at once, and what follows their results.
var weather = fake.CallTools(
	fake.ToolCall{Name: "weather", Args: `{"city":"Ulm"}`}, fake.ToolCall{Name: "weather", Args: `{"city":"Bonn"}`},
).WithText("I look.").Then(fake.Text("Rain in Ulm, sun in Bonn."))

var (
	weatherSchema = map[string]any{"city": map[string]any{"type": "string"}}
	weatherCalls  = []string{`weather{"city":"Ulm"}`, `weather{"city":"Bonn"}`}
)

func TestAnthropicSDKUsesToolsOverTwoTurns(t *testing.T) {
	onEachWire(t, fake.Always(weather), func(t *testing.T, h *house, p *fake.Server) {
		bothWays(t, func(t *testing.T, stream bool) {
			params := anthropic.MessageNewParams{
				Model: "any", MaxTokens: 100, Messages: userMessage("Weather in Ulm and Bonn?"),
				Tools: []anthropic.ToolUnionParam{{OfTool: &anthropic.ToolParam{
					Name: "weather", InputSchema: anthropic.ToolInputSchemaParam{Properties: weatherSchema},
				}}},
			}
			m := askAnthropic(t, h.anthropicClient(), params, stream)
			got := saidByAnthropic(m)
			check(t, got, said{Text: "I look.", Stop: "tool_use", Calls: weatherCalls, Input: got.Input, Output: got.Output})

			var results []anthropic.ContentBlockParamUnion
			for _, b := range m.Content {
				if call, ok := b.AsAny().(anthropic.ToolUseBlock); ok {
					results = append(results, anthropic.NewToolResultBlock(call.ID, "result of "+string(call.Input), false))
				}
			}
			params.Messages = append(params.Messages, m.ToParam(), anthropic.NewUserMessage(results...))
			m = askAnthropic(t, h.anthropicClient(), params, stream)
			got = saidByAnthropic(m)
			check(t, got, said{Text: "Rain in Ulm, sun in Bonn.", Stop: "end_turn", Input: got.Input, Output: got.Output})
			checkResults(t, p)
		})
	})
}

func TestOpenAISDKUsesToolsOverTwoTurns(t *testing.T) {
	onEachWire(t, fake.Always(weather), func(t *testing.T, h *house, p *fake.Server) {
		bothWays(t, func(t *testing.T, stream bool) {
			params := openai.ChatCompletionNewParams{
				Model: "any", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Weather in Ulm and Bonn?")},
				Tools: []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{
					Name: "weather", Parameters: openai.FunctionParameters{"type": "object", "properties": weatherSchema},
				})},
			}
			c := askOpenAI(t, h.openaiClient(), params, stream)
			got := saidByOpenAI(c)
			check(t, got, said{Text: "I look.", Stop: "tool_calls", Calls: weatherCalls, Input: got.Input, Output: got.Output})

			params.Messages = append(params.Messages, c.Choices[0].Message.ToParam())
			for _, call := range c.Choices[0].Message.ToolCalls {
				params.Messages = append(params.Messages, openai.ToolMessage("result of "+call.Function.Arguments, call.ID))
			}
			c = askOpenAI(t, h.openaiClient(), params, stream)
			got = saidByOpenAI(c)
			check(t, got, said{Text: "Rain in Ulm, sun in Bonn.", Stop: "stop", Input: got.Input, Output: got.Output})
			checkResults(t, p)
		})
	})
}

// checkResults compares the ids of calls and results in the second turn, as the
// provider received it in its own wire.
func checkResults(t *testing.T, p *fake.Server) {
	t.Helper()
	calls := p.Calls()
	body := gjson.ParseBytes(calls[len(calls)-1].Body)
	var asked, answered []string
	collect := func(to *[]string, key string) func(_, v gjson.Result) bool {
		return func(_, v gjson.Result) bool {
			if id := v.Get(key).String(); id != "" {
				*to = append(*to, id)
			}
			return true
		}
	}
	body.Get("messages").ForEach(func(_, m gjson.Result) bool {
		m.Get("tool_calls").ForEach(collect(&asked, "id"))
		m.Get(`content.#(type=="tool_use")#`).ForEach(collect(&asked, "id"))
		m.Get(`content.#(type=="tool_result")#`).ForEach(collect(&answered, "tool_use_id"))
		if id := m.Get("tool_call_id").String(); id != "" {
			answered = append(answered, id)
		}
		return true
	})
	if len(asked) != 2 || fmt.Sprint(asked) != fmt.Sprint(answered) || asked[0] == asked[1] {
		t.Errorf("the provider received calls %v and results for %v:\n%s", asked, answered, body.Raw)
	}
	for _, city := range []string{"Ulm", "Bonn"} {
		if !strings.Contains(body.Raw, `result of {\"city\":\"`+city+`\"}`) {
			t.Errorf("the result for %s is missing: %s", city, body.Raw)
		}
	}
}

func TestSDKsSendImages(t *testing.T) {
	pixel := base64.StdEncoding.EncodeToString([]byte("\x89PNG\r\n\x1a\n and a pixel"))
	onEachWire(t, fake.Always(fake.Text("A pixel.")), func(t *testing.T, h *house, p *fake.Server) {
		askAnthropic(t, h.anthropicClient(), anthropic.MessageNewParams{Model: "any", MaxTokens: 100, Messages: []anthropic.MessageParam{
			anthropic.NewUserMessage(anthropic.NewTextBlock("before"), anthropic.NewImageBlockBase64("image/png", pixel), anthropic.NewTextBlock("after")),
		}}, false)
		askOpenAI(t, h.openaiClient(), openai.ChatCompletionNewParams{Model: "any", Messages: []openai.ChatCompletionMessageParamUnion{
			openai.UserMessage([]openai.ChatCompletionContentPartUnionParam{
				openai.TextContentPart("before"),
				openai.ImageContentPart(openai.ChatCompletionContentPartImageImageURLParam{URL: "data:image/png;base64," + pixel}),
				openai.TextContentPart("after"),
			}),
		}}, true)
		calls := p.Calls()
		if len(calls) != 2 {
			t.Fatalf("%d calls", len(calls))
		}
		for _, call := range calls {
			parts := gjson.GetBytes(call.Body, "messages.0.content").Array()
			if len(parts) != 3 || parts[0].Get("text").Str != "before" || parts[2].Get("text").Str != "after" {
				t.Fatalf("the provider received %s", call.Body)
			}
			image := parts[1]
			switch call.Kind {
			case fake.Messages:
				s := image.Get("source")
				if image.Get("type").Str != "image" || s.Get("type").Str != "base64" || s.Get("media_type").Str != "image/png" || s.Get("data").Str != pixel {
					t.Errorf("the provider received the image %s", image.Raw)
				}
			case fake.Chat:
				if image.Get("type").Str != "image_url" || image.Get("image_url.url").Str != "data:image/png;base64,"+pixel {
					t.Errorf("the provider received the image %s", image.Raw)
				}
			}
		}
	})
}

func TestSDKsListModels(t *testing.T) {
	p := provider(t, nil)
	h := open(t, yamlOf("openai", p.URL(), "aliases: {fast: lab, \"gpt-*\": lab}"))
	models, err := h.anthropicClient().Models.List(t.Context(), anthropic.ModelListParams{})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, m := range models.Data {
		ids = append(ids, m.ID)
		if m.DisplayName == "" || m.CreatedAt.IsZero() {
			t.Errorf("%s has no name or time: %s", m.ID, m.RawJSON())
		}
	}
	if want := "[default claude-drey-default fast lab]"; fmt.Sprint(ids) != want || models.HasMore {
		t.Errorf("Anthropic's SDK lists %v, want %s", ids, want)
	}
	if m, err := h.anthropicClient().Models.Get(t.Context(), "claude-drey-default", anthropic.ModelGetParams{}); err != nil || m.ID != "claude-drey-default" {
		t.Errorf("Anthropic's SDK gets %+v, %v", m, err)
	}

	list, err := h.openaiClient().Models.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ids = nil
	for _, m := range list.Data {
		ids = append(ids, m.ID)
		if m.OwnedBy != "drey" || m.Created == 0 {
			t.Errorf("model %s", m.RawJSON())
		}
	}
	if want := "[default fast lab]"; fmt.Sprint(ids) != want {
		t.Errorf("OpenAI's SDK lists %v, want %s", ids, want)
	}
	if m, err := h.openaiClient().Models.Get(t.Context(), "fast"); err != nil || m.ID != "fast" {
		t.Errorf("OpenAI's SDK gets %+v, %v", m, err)
	}
}

func TestAnthropicSDKCountsTokens(t *testing.T) {
	onEachWire(t, nil, func(t *testing.T, h *house, p *fake.Server) {
		n, err := h.anthropicClient().Messages.CountTokens(t.Context(), anthropic.MessageCountTokensParams{
			Model: "any", Messages: userMessage(strings.Repeat("word ", 400)),
		})
		if err != nil {
			t.Fatal(err)
		}
		if n.InputTokens < 400 || n.InputTokens > 700 { // by estimate and by the fake's count, 500 and what surrounds them
			t.Errorf("%d tokens", n.InputTokens)
		}
		if calls := p.Calls(); len(calls) != 0 {
			t.Errorf("counting has called the model: %s", calls[0].Body)
		}
		st, err := h.control().Status(t.Context())
		if err != nil || st.Requests.Total != 0 || st.Providers[0].Attempts != 0 {
			out, _ := json.Marshal(st)
			t.Errorf("counting counts as a request: %s, %v", out, err)
		}
	})
}
