package wire_test

import (
	"fmt"
	"testing"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/wire"
)

// TestAbsurdUsage holds that no report of a provider comes to less than nothing,
// or to so much that sums turn around.
func TestAbsurdUsage(t *testing.T) {
	answers := map[drey.Wire]string{
		drey.WireAnthropic: `{"type":"message","id":"m","role":"assistant","model":"x","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn",
			"usage":{"input_tokens":%[1]s,"output_tokens":%[1]s,"cache_read_input_tokens":%[1]s,"cache_creation_input_tokens":%[1]s}}`,
		drey.WireChat: `{"id":"c","object":"chat.completion","model":"x","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],
			"usage":{"prompt_tokens":%[1]s,"completion_tokens":%[1]s,"prompt_tokens_details":{"cached_tokens":%[1]s},"completion_tokens_details":{"reasoning_tokens":%[1]s}}}`,
		drey.WireResponses: `{"id":"r","object":"response","status":"completed","model":"x","output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"hi"}]}],
			"usage":{"input_tokens":%[1]s,"output_tokens":%[1]s,"input_tokens_details":{"cached_tokens":%[1]s},"output_tokens_details":{"reasoning_tokens":%[1]s}}}`,
	}
	for of, answer := range answers {
		for _, n := range []string{"-1", "-9223372036854775808", "9223372036854775807", "1e308", "-1e308", "1e-3", `"NaN"`, "null", "[]", "{}", "true"} {
			body := fmt.Appendf(nil, answer, n)
			r, err := codecs[of].DecodeResponse(body)
			if err != nil {
				t.Fatalf("%v %s: %v", of, n, err)
			}
			rep, err := codecs[of].Inspect(body)
			if err != nil {
				t.Fatalf("%v %s: %v", of, n, err)
			}
			for _, u := range []*wire.Usage{&r.Usage, rep.Usage} {
				if u == nil {
					continue // as good as none
				}
				for _, count := range []int{u.Input, u.Output, u.CacheRead, u.CacheWrite, u.Reasoning, u.Add(*u).Input + u.CacheRead + u.CacheWrite} {
					if count < 0 {
						t.Errorf("%v %s: %+v", of, n, *u)
					}
				}
			}
		}
	}
}
