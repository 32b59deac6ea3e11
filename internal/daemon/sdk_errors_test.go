package daemon

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	openaioption "github.com/openai/openai-go/v3/option"

	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/health"
)

// sdkError is what an SDK's typed error tells a program.
type sdkError struct {
	status     int
	kind       string // Anthropic's type, OpenAI's code
	message    string // the whole body
	requestID  string
	retryAfter string
	noRetry    bool
}

func anthropicError(t *testing.T, err error) sdkError {
	t.Helper()
	e, ok := errors.AsType[*anthropic.Error](err)
	if !ok {
		t.Fatalf("not Anthropic's typed error: %v", err)
	}
	return sdkError{e.StatusCode, string(e.Type()), e.RawJSON(), e.RequestID,
		e.Response.Header.Get("Retry-After"), e.Response.Header.Get("X-Should-Retry") == "false"}
}

func openaiError(t *testing.T, err error) sdkError {
	t.Helper()
	e, ok := errors.AsType[*openai.Error](err)
	if !ok {
		t.Fatalf("not OpenAI's typed error: %v", err)
	}
	return sdkError{e.StatusCode, e.Code, e.RawJSON(), e.Response.Header.Get("X-Request-Id"),
		e.Response.Header.Get("Retry-After"), e.Response.Header.Get("X-Should-Retry") == "false"}
}

var (
	hello     = anthropic.MessageNewParams{Model: "any", MaxTokens: 100, Messages: userMessage("hi")}
	helloChat = openai.ChatCompletionNewParams{Model: "any", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hi")}}
)

func (h *house) anthropicFails(stream bool, opts ...anthropicoption.RequestOption) sdkError {
	h.t.Helper()
	c := h.anthropicClient(opts...)
	if !stream {
		_, err := c.Messages.New(h.t.Context(), hello)
		return anthropicError(h.t, err)
	}
	s := c.Messages.NewStreaming(h.t.Context(), hello)
	defer s.Close()
	for s.Next() {
		h.t.Errorf("before the error came %s", s.Current().RawJSON())
	}
	return anthropicError(h.t, s.Err())
}

func (h *house) openaiFails(stream bool, opts ...openaioption.RequestOption) sdkError {
	h.t.Helper()
	c := h.openaiClient(opts...)
	if !stream {
		_, err := c.Chat.Completions.New(h.t.Context(), helloChat)
		return openaiError(h.t, err)
	}
	s := c.Chat.Completions.NewStreaming(h.t.Context(), helloChat)
	defer s.Close()
	for s.Next() {
		h.t.Errorf("before the error came %s", s.Current().RawJSON())
	}
	return openaiError(h.t, s.Err())
}

func TestSDKsRaiseTypedErrors(t *testing.T) {
	tests := []struct {
		name            string
		provider        fake.Behaviour
		before          int // requests that fail first
		status          int
		anthropic, code string
		says            string
		retryAfter      string // "" = none; "some" = 1 to 60
		noRetry         bool
	}{
		{name: "a refused request is relayed", provider: fake.Status(422, "invalid_request_error", "temperature: must be cool"),
			status: 422, anthropic: "invalid_request_error", says: "temperature: must be cool"},
		{name: "a prompt that is too long", provider: fake.ContextLength(200001, 200000),
			status: 400, anthropic: "invalid_request_error", code: "context_length_exceeded", says: "prompt is too long: 200001 tokens > 200000 maximum", noRetry: true},
		{name: "the provider's credential is refused", provider: fake.Unauthorized(),
			status: 502, anthropic: "api_error", code: "all_providers_failed", says: "lab", retryAfter: "some"},
		{name: "the provider's account is refused", provider: fake.Forbidden(),
			status: 502, anthropic: "api_error", code: "all_providers_failed", says: "lab", retryAfter: "some"},
		{name: "the provider asks for a pause", provider: fake.RateLimited().RetryAfter(7 * time.Second),
			status: 429, anthropic: "rate_limit_error", code: "rate_limit_exceeded", says: "lab", retryAfter: "7"},
		{name: "the provider fails", provider: fake.ServerError(),
			status: 502, anthropic: "api_error", code: "all_providers_failed", says: "Internal server error", retryAfter: "some"},
		{name: "the provider has hung up", provider: fake.Hangup(),
			status: 502, anthropic: "api_error", code: "all_providers_failed", says: "lab", retryAfter: "some"},
		{name: "nobody is left to try", provider: fake.OutOfMemory(), before: 1,
			status: 503, anthropic: "overloaded_error", code: "no_provider", says: "lab", retryAfter: "some"},
		{name: "the provider is silent", provider: fake.Silent(),
			status: 504, anthropic: "timeout_error", code: "timeout", says: "lab", retryAfter: "some"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onEachWire(t, fake.Always(tt.provider), func(t *testing.T, h *house, p *fake.Server) {
				check := func(got sdkError, kind string) {
					t.Helper()
					if got.status != tt.status || got.kind != kind || !strings.Contains(got.message, tt.says) {
						t.Errorf("the SDK says %d %q, want %d %q with %q; body: %s", got.status, got.kind, tt.status, kind, tt.says, got.message)
					}
					switch n := len(got.retryAfter); {
					case tt.retryAfter == "some" && (n == 0 || n > 2), tt.retryAfter == "" && n > 0:
						t.Errorf("Retry-After is %q", got.retryAfter)
					case tt.retryAfter > "0" && tt.retryAfter < "9" && got.retryAfter > tt.retryAfter:
						t.Errorf("Retry-After is %q, more than what the provider asked for", got.retryAfter)
					}
					if got.noRetry != tt.noRetry {
						t.Errorf("x-should-retry: false is %v", got.noRetry)
					}
					if row := h.row(got.requestID); row.Status != tt.status || row.Outcome != "failed" {
						t.Errorf("the row of %s says %d %s", got.requestID, row.Status, row.Outcome)
					}
				}
				for range tt.before {
					h.openaiFails(false)
				}
				for _, stream := range []bool{false, true} {
					check(h.anthropicFails(stream), tt.anthropic)
					check(h.openaiFails(stream), tt.code)
				}
			})
		})
	}
}

// The errors that are drey's own and not a provider's.
func TestSDKsRaiseTheErrorsOfTheDoors(t *testing.T) {
	p := provider(t, nil)
	h := open(t, yamlOf("openai", p.URL(), `keys:
  - {name: all, secret: "env:ALL"}
  - {name: few, secret: "env:FEW", profiles: [other]}`, `aliases: {}`)+`
`, func(o *Options) {
		o.Env = environment(map[string]string{"ALL": "key-for-all-profiles", "FEW": "key-for-few-profiles"})
	}, func(o *Options) {
		writeConfig(t, o.Home, strings.Replace(mustRead(t, o.Home+"/drey.yaml"), "profiles:\n", "profiles:\n  other: {chain: [lab]}\n", 1))
	})
	tests := []struct {
		name            string
		key             string
		header          [2]string
		status          int
		anthropic, code string
		says            string
	}{
		{"a wrong key", "sk-ant-wrong", [2]string{}, 401, "authentication_error", "invalid_api_key", "key"},
		{"a key without the right", "key-for-few-profiles", [2]string{"X-Drey-Profile", "default"}, 403, "permission_error", "permission_denied", "default"},
		{"an unknown profile", "key-for-all-profiles", [2]string{"X-Drey-Profile", "nope"}, 400, "invalid_request_error", "unknown_profile", "default"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, stream := range []bool{false, true} {
				ao := []anthropicoption.RequestOption{anthropicoption.WithAPIKey(tt.key)}
				oo := []openaioption.RequestOption{openaioption.WithAPIKey(tt.key)}
				if tt.header[0] != "" {
					ao = append(ao, anthropicoption.WithHeader(tt.header[0], tt.header[1]))
					oo = append(oo, openaioption.WithHeader(tt.header[0], tt.header[1]))
				}
				for kind, got := range map[string]sdkError{tt.anthropic: h.anthropicFails(stream, ao...), tt.code: h.openaiFails(stream, oo...)} {
					if got.status != tt.status || got.kind != kind || !got.noRetry || got.requestID == "" || !strings.Contains(got.message, tt.says) {
						t.Errorf("the SDK says %+v, want %d %s", got, tt.status, kind)
					}
				}
			}
		})
	}
	t.Run("an unknown model", func(t *testing.T) {
		_, err := h.anthropicClient(anthropicoption.WithAPIKey("key-for-all-profiles")).Models.Get(t.Context(), "nope", anthropic.ModelGetParams{})
		if e := anthropicError(t, err); e.status != 404 || e.kind != "not_found_error" {
			t.Errorf("Anthropic's SDK says %+v", e)
		}
		_, err = h.openaiClient(openaioption.WithAPIKey("key-for-all-profiles")).Models.Get(t.Context(), "nope")
		if e := openaiError(t, err); e.status != 404 || e.kind != "model_not_found" {
			t.Errorf("OpenAI's SDK says %+v", e)
		}
	})
	if calls := p.Calls(); len(calls) != 0 {
		t.Errorf("%d requests came through", len(calls))
	}
}

func TestSDKsSeeABreakInTheMiddle(t *testing.T) {
	half := fake.Text("half of an answer that goes on").Gap(10 * time.Millisecond) // so that some of it is out before the break
	breaks := map[string]fake.Behaviour{
		"reset":          half.CutAfter(5, fake.RST),
		"clean and soon": half.CutAfter(5, fake.Clean),
		"told":           half.ErrorAfter(5, "api_error", "lost my thread"),
		"malformed":      half.MalformedAfter(5),
	}
	for name, b := range breaks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEachWire(t, fake.Always(b), func(t *testing.T, h *house, p *fake.Server) {
				as := h.anthropicClient().Messages.NewStreaming(t.Context(), hello)
				defer as.Close()
				var m anthropic.Message
				for as.Next() {
					if err := m.Accumulate(as.Current()); err != nil {
						t.Fatal(err)
					}
				}
				e := anthropicError(t, as.Err())
				if len(m.Content) != 1 || !strings.HasPrefix(m.Content[0].Text, "half ") || m.StopReason != "" {
					t.Errorf("before the error Anthropic's SDK read %+v, stop %q", m.Content, m.StopReason)
				}
				if e.kind != "api_error" || e.requestID == "" || !strings.Contains(e.message, e.requestID) {
					t.Errorf("Anthropic's SDK says %+v", e)
				}
				if row := h.row(e.requestID); row.Outcome != "failed_midstream" || row.Status != 200 {
					t.Errorf("the row says %+v", row)
				}

				cs := h.openaiClient().Chat.Completions.NewStreaming(t.Context(), helloChat)
				defer cs.Close()
				var acc openai.ChatCompletionAccumulator
				for cs.Next() {
					acc.AddChunk(cs.Current())
				}
				got := saidByOpenAI(&acc.ChatCompletion)
				if cs.Err() == nil || !strings.HasPrefix(got.Text, "half ") || got.Stop != "" {
					t.Errorf("OpenAI's SDK read %+v, then %v", got, cs.Err())
				}
				if text := cs.Err().Error(); !strings.Contains(text, "error while streaming") {
					t.Errorf("OpenAI's SDK does not say why: %v", text)
				}
			})
		})
	}
}

func TestSDKsCancel(t *testing.T) {
	long := fake.Text("an answer that begins and then hangs").StallAfter(5)
	script := func(_ int, r fake.Request) fake.Behaviour {
		if r.Stream {
			return long
		}
		return fake.Silent()
	}
	onEachWire(t, script, func(t *testing.T, h *house, p *fake.Server) {
		n := 0
		// cancelled checks that the provider hears of it, and what the row says.
		cancelled := func(cancel context.CancelFunc, id string) {
			t.Helper()
			at := time.Now()
			cancel()
			n++
			calls, err := p.WaitCancelled(t.Context(), n)
			if err != nil {
				t.Fatal(err)
			}
			if took := calls[n-1].CancelledAt.Sub(at); took > 10*time.Second { // its own patience is far longer
				t.Errorf("the provider heard of it after %v", took)
			}
			if id != "" {
				if row := h.row(id); row.Outcome != "cancel" {
					t.Errorf("the row says %+v", row)
				}
			}
		}
		for _, caller := range []string{"anthropic", "openai"} {
			// before any header: a whole answer that the provider is silent about
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() {
				var err error
				if caller == "anthropic" {
					_, err = h.anthropicClient().Messages.New(ctx, hello)
				} else {
					_, err = h.openaiClient().Chat.Completions.New(ctx, helloChat)
				}
				ended <- err
			}()
			if _, err := p.WaitCalls(t.Context(), n+1); err != nil {
				t.Fatal(err)
			}
			cancelled(cancel, "")
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("the SDK says %v", err)
			}

			// in the middle of a stream
			ctx, cancel = context.WithCancel(t.Context())
			var resp *http.Response
			if caller == "anthropic" {
				s := h.anthropicClient().Messages.NewStreaming(ctx, hello, anthropicoption.WithResponseInto(&resp))
				for range 3 {
					s.Next()
				}
				cancelled(cancel, resp.Header.Get("Request-Id"))
				for s.Next() {
				}
				if err := s.Err(); !errors.Is(err, context.Canceled) {
					t.Errorf("the SDK says %v", err)
				}
				_ = s.Close()
				continue
			}
			s := h.openaiClient().Chat.Completions.NewStreaming(ctx, helloChat, openaioption.WithResponseInto(&resp))
			for range 3 {
				s.Next()
			}
			cancelled(cancel, resp.Header.Get("X-Request-Id"))
			for s.Next() {
			}
			if err := s.Err(); !errors.Is(err, context.Canceled) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("the SDK says %v", err)
			}
			_ = s.Close()
		}
		eventually(t, "all rows are counted", func() bool { total, _ := h.d.metrics.Requests(); return total == 4 })
		if _, outcomes := h.d.metrics.Requests(); outcomes["cancel"] != 4 {
			t.Errorf("outcomes are %v", outcomes)
		}
		for _, p := range h.d.keeper.Views() {
			if p.ConsecutiveFailures != 0 || len(p.Failures) != 0 || p.State != health.Healthy {
				t.Errorf("the provider pays for it: %+v", p)
			}
		}
	})
}
