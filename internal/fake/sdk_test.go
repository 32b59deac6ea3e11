package fake

import (
	"net/http"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	openaioption "github.com/openai/openai-go/v3/option"
)

// The vendors' own clients are the judges of the frames: what they accumulate
// must be what the behaviour says.

var story = Text("I look at it").Thinking("let me see").Reports(Usage{Input: 21, Output: 9, CacheRead: 4, CacheWrite: 2})

func callStory() Behaviour { b := CallTool(`{"command":"ls -l"}`).WithText("One moment"); return b }

func eachTransport(t *testing.T, o Options, f func(t *testing.T, url string, c *http.Client)) {
	t.Run("in the process", func(t *testing.T) {
		up := New(o)
		defer up.Close()
		f(t, "http://fake.invalid", &http.Client{Transport: up})
	})
	t.Run("over a socket", func(t *testing.T) {
		s, err := New(o).Listen()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		tr := &http.Transport{DisableKeepAlives: true}
		f(t, s.URL(), &http.Client{Transport: tr})
	})
}

func anthropicParams() anthropic.MessageNewParams {
	return anthropic.MessageNewParams{
		Model: "m", MaxTokens: 100,
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("hi"))},
		Tools: []anthropic.ToolUnionParam{{OfTool: &anthropic.ToolParam{
			Name: "Bash", InputSchema: anthropic.ToolInputSchemaParam{Properties: map[string]any{"command": map[string]any{"type": "string"}}},
		}}},
	}
}

func checkMessage(t *testing.T, m anthropic.Message, wantThinking, wantText string, wantCall bool, stop anthropic.StopReason) {
	t.Helper()
	var thinking, text, call string
	for _, b := range m.Content {
		switch b := b.AsAny().(type) {
		case anthropic.ThinkingBlock:
			thinking += b.Thinking
			if b.Signature != signature {
				t.Errorf("signature %q", b.Signature)
			}
		case anthropic.TextBlock:
			text += b.Text
		case anthropic.ToolUseBlock:
			call = b.Name + string(b.Input)
		}
	}
	if thinking != wantThinking || text != wantText {
		t.Errorf("thinking %q, text %q; want %q, %q", thinking, text, wantThinking, wantText)
	}
	if want := `Bash{"command":"ls -l"}`; wantCall != (call == want) {
		t.Errorf("call %q, want it: %v", call, wantCall)
	}
	if m.StopReason != stop || m.Model != "m" || m.ID == "" {
		t.Errorf("stop %q, model %q, id %q", m.StopReason, m.Model, m.ID)
	}
}

func TestAnthropicSDKReadsTheAnswers(t *testing.T) {
	for _, ollama := range []bool{false, true} {
		eachTransport(t, Options{Script: Sequence(story, story, callStory(), callStory()), Ollama: ollama}, func(t *testing.T, url string, c *http.Client) {
			cl := anthropic.NewClient(anthropicoption.WithBaseURL(url), anthropicoption.WithHTTPClient(c), anthropicoption.WithAPIKey("k"), anthropicoption.WithMaxRetries(0))
			for i := range 4 {
				var m anthropic.Message
				if i%2 == 0 {
					got, err := cl.Messages.New(t.Context(), anthropicParams())
					if err != nil {
						t.Fatal(err)
					}
					m = *got
				} else {
					stream := cl.Messages.NewStreaming(t.Context(), anthropicParams())
					for stream.Next() {
						if err := m.Accumulate(stream.Current()); err != nil {
							t.Fatal(err)
						}
					}
					if stream.Err() != nil {
						t.Fatal(stream.Err())
					}
					_ = stream.Close()
				}
				if i < 2 {
					checkMessage(t, m, "let me see", "I look at it", false, anthropic.StopReasonEndTurn)
					if m.Usage.InputTokens != 21 || m.Usage.OutputTokens != 9 {
						t.Errorf("usage %+v", m.Usage)
					}
					if !ollama && (m.Usage.CacheReadInputTokens != 4 || m.Usage.CacheCreationInputTokens != 2) {
						t.Errorf("cached %+v", m.Usage)
					}
				} else {
					checkMessage(t, m, "", "One moment", true, anthropic.StopReasonToolUse)
				}
			}
		})
	}
}

func chatParams() openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model:         "m",
		Messages:      []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hi")},
		Tools:         []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{Name: "Bash"})},
		StreamOptions: openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)},
	}
}

func TestOpenAISDKReadsTheAnswers(t *testing.T) {
	for _, ollama := range []bool{false, true} {
		eachTransport(t, Options{Script: Sequence(story, story, callStory(), callStory()), Ollama: ollama}, func(t *testing.T, url string, c *http.Client) {
			cl := openai.NewClient(openaioption.WithBaseURL(url+"/v1"), openaioption.WithHTTPClient(c), openaioption.WithAPIKey("k"), openaioption.WithMaxRetries(0))
			for i := range 4 {
				var m openai.ChatCompletion
				if i%2 == 0 {
					p := chatParams()
					p.StreamOptions = openai.ChatCompletionStreamOptionsParam{}
					got, err := cl.Chat.Completions.New(t.Context(), p)
					if err != nil {
						t.Fatal(err)
					}
					m = *got
				} else {
					stream := cl.Chat.Completions.NewStreaming(t.Context(), chatParams())
					var acc openai.ChatCompletionAccumulator
					for stream.Next() {
						if !acc.AddChunk(stream.Current()) {
							t.Fatalf("the SDK does not take %s", stream.Current().RawJSON())
						}
					}
					if stream.Err() != nil {
						t.Fatal(stream.Err())
					}
					_ = stream.Close()
					m = acc.ChatCompletion
				}
				msg := m.Choices[0].Message
				if i < 2 {
					if msg.Content != "I look at it" || m.Choices[0].FinishReason != "stop" {
						t.Errorf("%q, %q", msg.Content, m.Choices[0].FinishReason)
					}
					if m.Usage.PromptTokens != 27 || m.Usage.CompletionTokens != 9 {
						t.Errorf("usage %+v", m.Usage)
					}
					continue
				}
				if msg.Content != "One moment" || m.Choices[0].FinishReason != "tool_calls" || len(msg.ToolCalls) != 1 {
					t.Fatalf("%s", msg.RawJSON())
				}
				if f := msg.ToolCalls[0].Function; f.Name != "Bash" || f.Arguments != `{"command":"ls -l"}` {
					t.Errorf("call %+v", f)
				}
			}
		})
	}
}

func TestSDKsReadTheErrorsAndTheModels(t *testing.T) {
	eachTransport(t, Options{Script: Always(RateLimited()), Models: []string{"a", "b"}}, func(t *testing.T, url string, c *http.Client) {
		ac := anthropic.NewClient(anthropicoption.WithBaseURL(url), anthropicoption.WithHTTPClient(c), anthropicoption.WithAPIKey("k"), anthropicoption.WithMaxRetries(0))
		_, err := ac.Messages.New(t.Context(), anthropicParams())
		var ae *anthropic.Error
		if !asError(err, &ae) || ae.StatusCode != 429 || ae.RequestID == "" {
			t.Errorf("anthropic: %v", err)
		}
		list, err := ac.Models.List(t.Context(), anthropic.ModelListParams{})
		if err != nil || len(list.Data) != 2 || list.Data[1].ID != "b" {
			t.Errorf("models: %v, %v", list, err)
		}
		n, err := ac.Messages.CountTokens(t.Context(), anthropic.MessageCountTokensParams{Model: "m", Messages: anthropicParams().Messages})
		if err != nil || n.InputTokens == 0 {
			t.Errorf("count: %v, %v", n, err)
		}
		oc := openai.NewClient(openaioption.WithBaseURL(url+"/v1"), openaioption.WithHTTPClient(c), openaioption.WithAPIKey("k"), openaioption.WithMaxRetries(0))
		_, err = oc.Chat.Completions.New(t.Context(), openai.ChatCompletionNewParams{Model: "m"})
		var oe *openai.Error
		if !asError(err, &oe) || oe.StatusCode != 429 || oe.Type != "requests" {
			t.Errorf("openai: %v", err)
		}
		models, err := oc.Models.List(t.Context())
		if err != nil || len(models.Data) != 2 || models.Data[0].ID != "a" {
			t.Errorf("models: %v, %v", models, err)
		}
	})
}
