package spend

import (
	"math"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dreyhq/drey/internal/wire"
)

func TestCost(t *testing.T) {
	sonnet, _ := PricesOf("claude-sonnet-4-5", Given{})
	for _, tt := range []struct {
		name          string
		prices        Prices
		usage         wire.Usage
		cost, savings MicroUSD
	}{
		{"nothing", sonnet, wire.Usage{}, 0, 0},
		{"each kind at its price", sonnet, wire.Usage{Input: 1000, Output: 100, CacheRead: 10000, CacheWrite: 400}, 3000 + 1500 + 3000 + 1500, 27000},
		{"reasoning is part of output", sonnet, wire.Usage{Output: 100, Reasoning: 80}, 1500, 0},
		{"rounded up once, over all", Prices{Input: 1, Output: 1}, wire.Usage{Input: 3, Output: 4}, 1, 0},
		{"what is exact is not rounded", Prices{Input: 1_000_000}, wire.Usage{Input: 7}, 7, 0},
		{"savings are rounded down", Prices{Input: 10, CacheRead: 1}, wire.Usage{CacheRead: 222_222}, 1, 1},
		{"a cache that costs more saves nothing", Prices{Input: 1e6, CacheRead: 2e6}, wire.Usage{CacheRead: 5}, 10, 0},
		{"negative counts", sonnet, wire.Usage{Input: -5, Output: -1, CacheRead: -9}, 0, 0},
		{"more than there is", Prices{Input: most, Output: most, CacheRead: most, CacheWrite: most}, wire.Usage{Input: math.MaxInt, Output: math.MaxInt, CacheRead: math.MaxInt, CacheWrite: math.MaxInt}, most, 0},
	} {
		if got := tt.prices.Cost(tt.usage); got != tt.cost {
			t.Errorf("%s: costs %d, want %d", tt.name, got, tt.cost)
		}
		if got := tt.prices.Savings(tt.usage); got != tt.savings {
			t.Errorf("%s: saves %d, want %d", tt.name, got, tt.savings)
		}
	}
	if got := sonnet.Reservation(2000, 1000); got != 6000+15000 {
		t.Errorf("reserves %d", got)
	}
}

// TestCostIsExact compares with arithmetic that cannot overflow.
func TestCostIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tokens, price := rapid.IntRange(0, math.MaxInt), rapid.Int64Range(0, int64(most))
		u := wire.Usage{Input: tokens.Draw(t, "input"), Output: tokens.Draw(t, "output"), CacheRead: tokens.Draw(t, "read"), CacheWrite: tokens.Draw(t, "write")}
		p := Prices{MicroUSD(price.Draw(t, "pi")), MicroUSD(price.Draw(t, "po")), MicroUSD(price.Draw(t, "pr")), MicroUSD(price.Draw(t, "pw"))}
		if rapid.Bool().Draw(t, "small") {
			u = wire.Usage{Input: u.Input % 1e6, Output: u.Output % 1e6, CacheRead: u.CacheRead % 1e6, CacheWrite: u.CacheWrite % 1e6}
			p = Prices{p.Input % 1e8, p.Output % 1e8, p.CacheRead % 1e8, p.CacheWrite % 1e8}
		}
		total := new(big.Int)
		for _, x := range [][2]int64{{int64(u.Input), int64(p.Input)}, {int64(u.Output), int64(p.Output)}, {int64(u.CacheRead), int64(p.CacheRead)}, {int64(u.CacheWrite), int64(p.CacheWrite)}} {
			total.Add(total, new(big.Int).Mul(big.NewInt(x[0]), big.NewInt(x[1])))
		}
		total.Add(total, big.NewInt(999_999)).Div(total, big.NewInt(1_000_000))
		want := most
		if total.Cmp(big.NewInt(int64(most))) < 0 {
			want = MicroUSD(total.Int64())
		}
		if got := p.Cost(u); got != want {
			t.Fatalf("%+v at %+v costs %d, want %d", u, p, got, want)
		}
		more := u
		more.Output++
		if u.Output < math.MaxInt && p.Cost(more) < want {
			t.Fatal("more output costs less")
		}
	})
}

func TestDollars(t *testing.T) {
	for usd, want := range map[float64]MicroUSD{
		0: 0, 1.5: 1_500_000, 0.000001: 1, 0.0000004: 0, 0.0000005: 1, -3: 0, 0.1 + 0.2: 300_000,
		math.NaN(): 0, math.Inf(1): most, math.Inf(-1): 0, 1e300: most,
	} {
		if got := Dollars(usd); got != want {
			t.Errorf("%v dollars are %d, want %d", usd, got, want)
		}
	}
	if got := MicroUSD(1_500_000).String() + MicroUSD(12).String(); got != "$1.5$0.000012" {
		t.Error(got)
	}
}

func TestPricesOf(t *testing.T) {
	usd := func(f float64) *float64 { return &f }
	for _, tt := range []struct {
		name, model string
		given       Given
		want        Prices
		known       bool
	}{
		{"the cache's usual parts", "claude-opus-4-5-20251101", Given{}, Prices{5e6, 25e6, 500_000, 6_250_000}, true},
		{"a vendor, capitals and dots", "Anthropic/Claude-Sonnet-4.5", Given{}, Prices{3e6, 15e6, 300_000, 3_750_000}, true},
		{"the longest name counts", "gpt-4o-mini-2024-07-18", Given{}, Prices{150_000, 600_000, 75_000, 187_500}, true},
		{"an older opus", "claude-opus-4-1-20250805", Given{}, Prices{15e6, 75e6, 1_500_000, 18_750_000}, true},
		{"prices of its own for the cache", "claude-3-haiku@20240307", Given{}, Prices{250_000, 1_250_000, 30_000, 300_000}, true},
		{"a moving name", "gpt-5-chat-latest", Given{}, Prices{1_250_000, 10e6, 125_000, 1_562_500}, true},
		{"another model whose name begins so", "gpt-5-something", Given{}, Prices{}, false},
		{"a voice of a model", "gemini-2.5-flash-preview-tts", Given{}, Prices{}, false},
		{"pictures of a model", "gemini-2.0-flash-exp-image-generation", Given{}, Prices{}, false},
		{"a longer context of a model", "gpt-4-32k-0613", Given{}, Prices{}, false},
		{"an issue of a preview", "gemini-2.5-flash-preview-05-20", Given{}, Prices{300_000, 2_500_000, 30_000, 375_000}, true},
		{"an issue that was dearer", "gpt-4o-2024-05-13", Given{}, Prices{5e6, 15e6, 500_000, 6_250_000}, true},
		{"a name that only begins so", "gpt-5turbo", Given{}, Prices{}, false},
		{"open weights", "qwen3-coder:30b", Given{}, Prices{}, false},
		{"no name", "", Given{}, Prices{}, false},
		{"a slash at the end", "a/", Given{}, Prices{}, false},
		{"given", "qwen3-coder", Given{Input: usd(1), Output: usd(2)}, Prices{1e6, 2e6, 100_000, 1_250_000}, true},
		{"all given", "gpt-4o", Given{usd(1), usd(2), usd(0), usd(0)}, Prices{1e6, 2e6, 0, 0}, true},
		{"another price of input takes the cache's along", "gpt-4o", Given{Input: usd(10)}, Prices{10e6, 10e6, 1e6, 12_500_000}, true},
		{"one price of the cache", "gpt-4o", Given{CacheWrite: usd(0)}, Prices{2_500_000, 10e6, 1_250_000, 0}, true},
		{"half of what is needed", "unheard-of", Given{Input: usd(1)}, Prices{Input: 1e6, CacheRead: 100_000, CacheWrite: 1_250_000}, false},
	} {
		if got, known := PricesOf(tt.model, tt.given); got != tt.want || known != tt.known {
			t.Errorf("%s (%q): %+v, %v, want %+v, %v", tt.name, tt.model, got, known, tt.want, tt.known)
		}
	}
}

func TestListings(t *testing.T) {
	seen := map[string]bool{}
	for _, l := range listings {
		if seen[l.name] {
			t.Errorf("%s stands twice in the table", l.name)
		}
		seen[l.name] = true
		if l.name != strings.ToLower(l.name) || strings.HasPrefix(l.name, "claude") && strings.Contains(l.name, ".") {
			t.Errorf("no model can match %s", l.name)
		}
		if got, ok := lookUp("vendor/" + l.name); !ok || got != l {
			t.Errorf("%s finds %+v", l.name, got)
		}
		if l.input <= 0 || l.output < 0 || l.output > 0 && l.output < l.input || l.read >= l.input || l.write < 0 {
			t.Errorf("%+v cannot be right", l)
		}
	}
}

func TestMeter(t *testing.T) {
	start := &wire.Usage{Input: 100, CacheRead: 900, Output: 1}
	end := &wire.Usage{Output: 250, Reasoning: 40}
	for _, tt := range []struct {
		name           string
		reports        []*wire.Usage
		end            Ending
		prompt, output int
		want           wire.Usage
	}{
		{"the maximum of each field", []*wire.Usage{start, nil, end}, Complete, 7, 7, wire.Usage{Input: 100, CacheRead: 900, Output: 250, Reasoning: 40}},
		{"nothing reported", nil, Complete, 30, 20, wire.Usage{Input: 30, Output: 20, Estimated: true}},
		{"the provider's own estimate stays one", []*wire.Usage{{Input: 5, Estimated: true}}, Complete, 30, 20, wire.Usage{Input: 5, Estimated: true}},
		{"cut before the true output was told", []*wire.Usage{start}, Cut, 7, 120, wire.Usage{Input: 100, CacheRead: 900, Output: 120, Estimated: true}},
		{"cut on a wire that reports at its end", nil, Cut, 30, 12, wire.Usage{Input: 30, Output: 12, Estimated: true}},
		{"cancelled with nothing seen", nil, Cancelled, 30, 0, wire.Usage{}},
		{"cancelled behind the first report", []*wire.Usage{start}, Cancelled, 30, 0, wire.Usage{Input: 100, CacheRead: 900, Output: 1, Estimated: true}},
		{"cancelled with output reported alone", []*wire.Usage{{Output: 9}}, Cancelled, 30, 3, wire.Usage{Input: 30, Output: 9, Estimated: true}},
		{"failed before any token", []*wire.Usage{start}, Failed, 30, 0, wire.Usage{}},
	} {
		var m Meter
		for _, u := range tt.reports {
			m.Report(u)
		}
		if got := m.Usage(tt.end, tt.prompt, tt.output); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}
