package route

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dreyhq/drey"
)

func TestClassifyBodies(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status int
		body   string
		class  drey.Class
		sub    Sub
	}{
		// Too long, in the words of each server.
		{"anthropic", 400, `{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 203456 tokens > 200000 maximum"}}`, drey.Caller, ContextLength},
		{"anthropic, with max_tokens", 400, `{"type":"error","error":{"type":"invalid_request_error","message":"input length and ` + "`max_tokens`" + ` exceed context limit: 190000 + 20000 > 200000"}}`, drey.Caller, ContextLength},
		{"openai", 400, `{"error":{"message":"This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`, drey.Caller, ContextLength},
		{"openai responses", 400, `{"error":{"message":"Your input exceeds the context window of this model. Please adjust your input and try again.","type":"invalid_request_error"}}`, drey.Caller, ContextLength},
		{"openrouter", 400, `{"error":{"message":"This endpoint's maximum context length is 128000 tokens. However, you requested about 200000 tokens","code":400}}`, drey.Caller, ContextLength},
		{"openrouter, upstream's text", 400, `{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"{\"error\":{\"message\":\"prompt is too long: 9 tokens > 8 maximum\"}}"}}}`, drey.Caller, ContextLength},
		{"vllm", 400, `{"object":"error","message":"This model's maximum context length is 4096 tokens. However, you requested 5000 tokens","type":"BadRequestError","param":null,"code":400}`, drey.Caller, ContextLength},
		{"vllm, decoder", 400, `{"object":"error","message":"The decoder prompt (length 5000) is longer than the maximum model length of 4096.","code":400}`, drey.Caller, ContextLength},
		{"llama.cpp", 400, `{"error":{"code":400,"message":"the request exceeds the available context size. try increasing the context size or enable context shift","type":"exceed_context_size_error","n_prompt_tokens":5000,"n_ctx":4096}}`, drey.Caller, ContextLength},
		{"ollama", 400, `{"error":"input length exceeds the context length"}`, drey.Caller, ContextLength},
		{"ollama, maximum", 400, `{"error":"the input length exceeds maximum context length"}`, drey.Caller, ContextLength},
		{"lm studio", 400, `{"error":"Trying to keep the first 5242 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens, which is not enough."}`, drey.Caller, ContextLength},
		{"lm studio, reached", 400, `{"error":"Reached context length of 4096 tokens with the current model"}`, drey.Caller, ContextLength},
		{"gemini", 400, `[{"error":{"code":400,"message":"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}]`, drey.Caller, ContextLength},
		{"mistral", 400, `{"object":"error","message":"Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length","type":"invalid_request_error"}`, drey.Caller, ContextLength},
		{"xai", 400, `{"code":"Client specified an invalid argument","error":"This model's maximum prompt length is 131072 but the request contains 537812 tokens."}`, drey.Caller, ContextLength},
		{"groq", 400, `{"error":{"message":"Please reduce the length of the messages or completion.","type":"invalid_request_error","code":"context_length_exceeded"}}`, drey.Caller, ContextLength},
		{"bedrock", 400, `{"message":"Input is too long for requested model."}`, drey.Caller, ContextLength},
		{"moonshot", 400, `{"error":{"message":"Invalid request: Your request exceeded model token limit: 262144","type":"invalid_request_error"}}`, drey.Caller, ContextLength},
		{"fastapi list", 422, `{"detail":[{"loc":["body"],"msg":"prompt is too long","type":"value_error"}]}`, drey.Caller, ContextLength},

		// A feature is missing.
		{"ollama tools", 400, `{"error":{"message":"registry.ollama.ai/library/gemma:latest does not support tools","type":"api_error"}}`, drey.Caller, Unsupported},
		{"ollama thinking", 400, `{"error":"\"tiny\" does not support thinking"}`, drey.Caller, Unsupported},
		{"vllm tool choice", 400, `{"object":"error","message":"\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set","code":400}`, drey.Caller, Unsupported},
		{"vllm multimodal", 400, `{"object":"error","message":"tiny is not a multimodal model","code":400}`, drey.Caller, Unsupported},
		{"llama.cpp image", 400, `{"error":{"code":400,"message":"image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"}}`, drey.Caller, Unsupported},
		{"llama.cpp tools", 400, `{"error":{"code":400,"message":"tools param requires --jinja flag"}}`, drey.Caller, Unsupported},
		{"deepseek image", 400, "{\"error\":{\"message\":\"Failed to deserialize the JSON body: messages[0]: unknown variant `image_url`, expected `text`\"}}", drey.Caller, Unsupported},
		{"prefill", 400, `{"type":"error","error":{"type":"invalid_request_error","message":"This model does not support assistant message prefill. The conversation must end with a user message."}}`, drey.Caller, Unsupported},
		{"prefill, mistral", 400, `{"message":"Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant"}`, drey.Caller, Unsupported},
		{"thinking field", 400, `{"detail":"thinking: Extra inputs are not permitted"}`, drey.Caller, Unsupported},
		{"schema", 400, `{"error":{"message":"response_format json_schema is not supported by this model"}}`, drey.Caller, Unsupported},
		{"openrouter 404", 404, `{"error":{"message":"No endpoints found that support tool use","code":404}}`, drey.Caller, Unsupported},
		{"413 whatever it says", 413, `<html><head><title>413 Request Entity Too Large</title></head></html>`, drey.Caller, Unsupported},

		// The caller's own mistakes that name a feature.
		{"bad schema", 400, `{"error":{"message":"Invalid schema for function 'f': schema must have type object","code":"invalid_function_parameters"}}`, drey.Caller, SubNone},
		{"orphan result", 400, `{"error":{"message":"messages.2: tool_use ids were found without tool_result blocks"}}`, drey.Caller, SubNone},
		{"thinking budget", 400, `{"error":{"message":"max_tokens must be greater than thinking.budget_tokens"}}`, drey.Caller, SubNone},
		{"bad image", 400, `{"error":{"message":"Failed to load image or audio file"}}`, drey.Caller, SubNone},
		{"a room in the text", 400, `{"error":{"message":"no room left for broom"}}`, drey.Caller, SubNone},

		{"openai filter", 400, `{"error":{"message":"rejected","code":"content_policy_violation"}}`, drey.Caller, ContentFilter},
		{"azure filter", 400, `{"error":{"message":"The response was filtered due to the prompt triggering Azure OpenAI's content management policy","code":"content_filter"}}`, drey.Caller, ContentFilter},
		{"anthropic filter", 400, `{"error":{"message":"Output blocked by content filtering policy"}}`, drey.Caller, ContentFilter},
		{"openrouter moderation", 403, `{"error":{"message":"Your chosen model requires moderation and your input was flagged","code":403}}`, drey.Caller, ContentFilter},

		{"ollama 404", 404, `{"error":{"message":"model 'nope' not found","type":"not_found_error","param":null,"code":null}}`, drey.Auth, ModelMissing},
		{"quota", 429, `{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}`, drey.Auth, Quota},
		{"quota by type only", 429, `{"error":{"message":"no","type":"insufficient_quota","code":null}}`, drey.Auth, Quota},
		{"limit resets", 429, `{"type":"error","error":{"type":"rate_limit_error","message":"You have hit your 5-hour limit. It resets at 3pm."}}`, drey.Auth, Quota},
		{"credit", 400, `{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}`, drey.Auth, Quota},
		{"gemini's key", 400, `[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}]`, drey.Auth, BadCredential},
		{"rate", 429, `{"error":{"message":"Rate limit reached for gpt-4o on tokens per min. Limit: 30000. Please try again in 6s.","type":"tokens","code":"rate_limit_exceeded"}}`, drey.RateLimit, SubNone},

		{"llama.cpp loads", 503, `{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}`, drey.Loading, SubNone},
		{"hugging face loads", 503, `{"error":"Model x is currently loading","estimated_time":20}`, drey.Loading, SubNone},
		{"overloaded is not loading", 503, `{"error":"overloading detected; downloading"}`, drey.Server, SubNone},
		{"ollama memory", 500, `{"error":"model requires more system memory (5.6 GiB) than is available (3.0 GiB)"}`, drey.Resource, SubNone},
		{"cuda", 500, `{"error":{"message":"CUDA error: out of memory"}}`, drey.Resource, SubNone},
		{"cuda beats loading", 503, `{"error":{"message":"error loading model: out of memory"}}`, drey.Resource, SubNone},
		{"torch", 500, `{"detail":"torch.OutOfMemoryError: CUDA"}`, drey.Resource, SubNone},
		{"oom", 500, `worker died: OOM`, drey.Resource, SubNone},
		{"failed to load", 500, `{"error":"llama runner: failed to load the model weights"}`, drey.Resource, SubNone},
		{"vulkan", 500, `{"error":"vk::Queue::submit: ErrorDeviceLost"}`, drey.Resource, SubNone},
		{"html 502", 502, `<html><head><title>502 Bad Gateway</title></head><body><h1>x</h1></body></html>`, drey.Server, SubNone},
		{"200 with an error", 200, `{"error":{"message":"Overloaded","type":"overloaded_error"}}`, drey.RateLimit, SubNone},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := Classify(Evidence{Status: tc.status, Body: []byte(tc.body), At: t0, Model: true})
			if v.Class != tc.class || v.Sub != tc.sub {
				t.Errorf("got %s/%s, want %s/%s", v.Class, v.Sub, tc.class, tc.sub)
			}
		})
	}
}

func TestClassifyText(t *testing.T) {
	for _, tc := range []struct{ name, body, text, typ string }{
		{"anthropic", `{"type":"error","error":{"type":"api_error","message":"boom"}}`, "boom", "api_error"},
		{"openai's code before its type", `{"error":{"message":"boom","type":"server_error","code":"internal"}}`, "boom", "internal"},
		{"ollama", `{"error":"boom"}`, "boom", ""},
		{"fastapi", `{"detail":"boom"}`, "boom", ""},
		{"page", "<!doctype html><html><head>\n<title>502 &amp; more</title></head></html>", "502 & more", ""},
		{"page without a title", "<html><body><p>Sorry</p> we are <b>closed</b></body></html>", "Sorry we are closed", ""},
		{"plain", "upstream\r\n\tis \x1b[31mdown\x00", "upstream is [31mdown", ""},
		{"direction marks", "ab\u202ecd", "ab cd", ""},
		{"openrouter", `{"error":{"message":"Provider returned error","code":502,"metadata":{"raw":"{\"error\":{\"message\":\"inner\"}}"}}}`, "inner", ""},
		{"empty", "", "status 500", ""},
		{"long", strings.Repeat("é", 300), strings.Repeat("é", 200), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := Classify(Evidence{Status: 500, Body: []byte(tc.body), At: t0})
			if v.Text != tc.text || v.Type != tc.typ {
				t.Errorf("got %q type %q, want %q type %q", v.Text, v.Type, tc.text, tc.typ)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status int
		header []string
		want   time.Duration
	}{
		{"seconds", 429, []string{"retry-after", "7"}, 7 * time.Second},
		{"fraction", 429, []string{"retry-after", " 1.5 "}, 1500 * time.Millisecond},
		{"date", 429, []string{"retry-after", "Fri, 02 Jan 2026 15:05:05 GMT"}, time.Minute},
		{"old date form", 429, []string{"retry-after", "Friday, 02-Jan-26 15:05:05 GMT"}, time.Minute},
		{"past date", 429, []string{"retry-after", "Fri, 02 Jan 2026 15:03:05 GMT"}, 0},
		{"absurd", 429, []string{"retry-after", "700000"}, 0},
		{"seven days", 429, []string{"retry-after", "604800"}, 7 * 24 * time.Hour},
		{"negative, infinite, none", 429, []string{"retry-after", "-3", "retry-after-ms", "NaN"}, 0},
		{"ms before its twin", 429, []string{"retry-after", "2", "retry-after-ms", "1250"}, 1250 * time.Millisecond},
		{"openai", 429, []string{"x-ratelimit-reset-requests", "6m0s"}, 6 * time.Minute},
		{"openai ms", 429, []string{"x-ratelimit-reset-tokens", "120ms"}, 120 * time.Millisecond},
		{"used up wins", 429, []string{"x-ratelimit-reset-requests", "1s", "x-ratelimit-remaining-requests", "9", "x-ratelimit-reset-tokens", "6m0s", "x-ratelimit-remaining-tokens", "0"}, 6 * time.Minute},
		{"first free again", 429, []string{"x-ratelimit-reset-requests", "1s", "x-ratelimit-reset-tokens", "6m0s"}, time.Second},
		{"anthropic", 429, []string{"anthropic-ratelimit-requests-reset", "2026-01-02T15:04:35Z"}, 30 * time.Second},
		{"anthropic epoch", 429, []string{"anthropic-ratelimit-unified-reset", "1767369905"}, time.Hour + time.Minute},
		{"openrouter epoch ms", 429, []string{"x-ratelimit-reset", "1767366305000"}, time.Minute},
		{"resets mean nothing on a 500", 500, []string{"x-ratelimit-reset-requests", "1s"}, 0},
		{"resets mean nothing on a 401", 401, []string{"x-ratelimit-reset-requests", "1s"}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := Classify(Evidence{Status: tc.status, Header: header(tc.header...), At: t0})
			if v.RetryAfter != tc.want {
				t.Errorf("got %s, want %s", v.RetryAfter, tc.want)
			}
		})
	}
	for text, want := range map[string]time.Duration{
		"your limit was hit; it resets in 2h30m":   150 * time.Minute,
		"limit reached, resets in 3 hours":         3 * time.Hour,
		"weekly limit, resets in 2 days":           48 * time.Hour,
		"limit: resets at 2026-01-02 16:04:05":     time.Hour,
		"limit: resets at 2026-01-02t16:04:05z":    time.Hour,
		"Claude AI usage limit reached|1767369905": time.Hour + time.Minute,
		"limit; resets at 3pm":                     0,
		"limit; resets at 2020-01-02T16:04:05Z":    0,
	} {
		v := Classify(Evidence{Status: 429, Text: text, At: t0})
		if v.Sub != Quota || v.RetryAfter != want {
			t.Errorf("%q: got %s after %s, want quota after %s", text, v.Sub, v.RetryAfter, want)
		}
	}
}

func TestClassifyModelOfTheCaller(t *testing.T) {
	named := Classify(Evidence{Status: 404, Model: true})
	passed := Classify(Evidence{Status: 404})
	if !named.Parks || passed.Parks {
		t.Errorf("a missing model parks only where the configuration names it: %v, %v", named.Parks, passed.Parks)
	}
}

func TestCancelWins(t *testing.T) {
	v := Classify(Evidence{Fault: CallerGone, Status: 500, Body: []byte("out of memory"), Own: true})
	if v.Class != drey.Cancel || v.Counts || v.Parks {
		t.Errorf("got %+v", v)
	}
}

func FuzzClassify(f *testing.F) {
	f.Add(uint8(0), 429, []byte(`{"error":{"message":"m"}}`), "", "text", "retry-after", "7", true)
	f.Add(uint8(12), 200, []byte(`<html><title>`), "api_error", "", "x-ratelimit-reset", "6m0s", false)
	f.Add(uint8(0), 285, []byte("\xc5"), strings.Repeat("F", 250), "", "", "", true) // a word too long to be shown
	f.Fuzz(func(t *testing.T, fault uint8, status int, body []byte, inBand, text, key, value string, own bool) {
		v := Classify(Evidence{Fault: Fault(fault), Status: status, Body: body, InBand: inBand, Text: text, Header: header(key, value), Own: own, At: t0})
		if v.Class > drey.Resource || v.Sub > Empty {
			t.Fatalf("no such class: %+v", v)
		}
		if v.RetryAfter < 0 || v.RetryAfter > farthest {
			t.Fatalf("absurd pause %s", v.RetryAfter)
		}
		if v.Counts != counts(v.Class, v.Sub) || v.Parks && v.Class != drey.Auth && v.Class != drey.RateLimit {
			t.Fatalf("inconsistent: %+v", v)
		}
		for _, s := range []string{v.Text, v.Type} {
			if !utf8.ValidString(s) || utf8.RuneCountInString(s) > textRunes || strings.ContainsFunc(s, unicode.IsControl) {
				t.Fatalf("not one line: %q", s)
			}
		}
		if v.Text == "" {
			t.Fatal("no text")
		}
	})
}
