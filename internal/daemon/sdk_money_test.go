package daemon

import (
	"strings"
	"testing"

	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	openaioption "github.com/openai/openai-go/v3/option"
)

// A budget that is spent and a key over its rate reach a program as its SDK's
// own typed errors, the first without a word of coming back.
func TestSDKsRaiseTheErrorsOfMoney(t *testing.T) {
	const slowKey = "the-key-of-slow"
	cloud := provider(t, pays(1, 1))
	spent := open(t, paidConfig(cloud.URL(), "budget: {usd_day: 0}"))
	slow := open(t, paidConfig(cloud.URL(), "keys: [{name: slow, secret: env:SLOW, requests_per_minute: 1}]"), func(o *Options) {
		o.Env = environment(map[string]string{"SLOW": slowKey})
	})
	if a := slow.buy("X-Api-Key", slowKey); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for _, stream := range []bool{false, true} {
		for _, tt := range []struct {
			h                *house
			status           int
			anthropic, code  string
			says             string
			retries, noRetry bool
		}{
			{spent, 402, "billing_error", "insufficient_quota", "the budget of all paid providers", false, true},
			{slow, 429, "rate_limit_error", "rate_limit_exceeded", "slow", true, false},
		} {
			check := func(got sdkError, kind string) {
				t.Helper()
				if got.status != tt.status || got.kind != kind || !strings.Contains(got.message, tt.says) ||
					(got.retryAfter != "") != tt.retries || got.noRetry != tt.noRetry || got.requestID == "" {
					t.Errorf("stream %v: %+v", stream, got)
				}
			}
			check(tt.h.anthropicFails(stream, anthropicoption.WithAPIKey(slowKey)), tt.anthropic)
			check(tt.h.openaiFails(stream, openaioption.WithAPIKey(slowKey)), tt.code)
		}
	}
}
