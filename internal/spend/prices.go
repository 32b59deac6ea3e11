package spend

import "strings"

// Given are the prices that a configuration names, in USD per million tokens;
// nil = it does not say.
type Given struct{ Input, Output, CacheRead, CacheWrite *float64 }

// PricesOf returns the prices of a model: what the configuration gives, then the
// built-in table. Prices of the cache that nobody names are 0.1 and 1.25 times
// the price of input; one that the table has goes with the table's price of
// input, and not with another.
//
// known is false if the price of input or of output is named nowhere. The
// provider's attempts are then counted at what is known, 0 at worst, and its
// owner should be told that a budget cannot hold them.
func PricesOf(model string, g Given) (p Prices, known bool) {
	listed, ok := lookUp(model)
	known = ok || g.Input != nil && g.Output != nil
	usd := func(given *float64, table float64) float64 {
		if given != nil {
			return *given
		}
		return table
	}
	read, write := listed.read, listed.write
	if g.Input != nil {
		read, write = 0, 0
	}
	input := usd(g.Input, listed.input)
	if read == 0 {
		read = 0.1 * input
	}
	if write == 0 {
		write = 1.25 * input
	}
	return Prices{
		Input: Dollars(input), Output: Dollars(usd(g.Output, listed.output)),
		CacheRead: Dollars(usd(g.CacheRead, read)), CacheWrite: Dollars(usd(g.CacheWrite, write)),
	}, known
}

// listing is a row of the table, in USD per million tokens. A price of the cache
// that is 0 is the usual part of input.
type listing struct {
	name                       string
	input, output, read, write float64
}

// listings are the list prices of models that their makers sell, as of November
// 2026, for a prompt of usual length, paid per token. Promotions, batches,
// priority, the long-context tier and the one-hour cache are not in them, and
// neither are open weights, whose price is that of their host: a configuration
// that uses one of these names its prices. It is meant to be right for what is
// widely used, not to be complete.
var listings = []listing{
	// Anthropic
	{"claude-fable-5", 10, 50, 0, 0},
	{"claude-opus-5", 5, 25, 0, 0},
	{"claude-opus-4-8", 5, 25, 0, 0},
	{"claude-opus-4-7", 5, 25, 0, 0},
	{"claude-opus-4-6", 5, 25, 0, 0},
	{"claude-opus-4-5", 5, 25, 0, 0},
	{"claude-opus-4", 15, 75, 0, 0},
	{"claude-sonnet-5", 2, 10, 0, 0},
	{"claude-sonnet-4", 3, 15, 0, 0},
	{"claude-haiku-4-5", 1, 5, 0, 0},
	{"claude-3-7-sonnet", 3, 15, 0, 0},
	{"claude-3-5-sonnet", 3, 15, 0, 0},
	{"claude-3-5-haiku", 0.8, 4, 0, 0},
	{"claude-3-opus", 15, 75, 0, 0},
	{"claude-3-haiku", 0.25, 1.25, 0.03, 0.30},
	// OpenAI
	{"gpt-6.1-sol", 2, 10, 0.10, 0},
	{"gpt-6-astra", 10, 50, 0, 0},
	{"gpt-6-sol", 2, 10, 0, 0},
	{"gpt-5.6", 5, 30, 0, 0}, // an alias of sol
	{"gpt-5.6-sol", 5, 30, 0, 0},
	{"gpt-5.6-terra", 2, 12, 0, 0},
	{"gpt-5.6-luna", 0.20, 1.20, 0, 0},
	{"gpt-5.5", 5, 30, 0, 0},
	{"gpt-5.4", 2.50, 15, 0, 0},
	{"gpt-5.4-mini", 0.75, 4.50, 0, 0},
	{"gpt-5.4-nano", 0.20, 1.25, 0, 0},
	{"gpt-5.3-codex", 1.75, 14, 0, 0},
	{"gpt-5.2", 1.75, 14, 0, 0},
	{"gpt-5.2-codex", 1.75, 14, 0, 0},
	{"gpt-5.1", 1.25, 10, 0, 0},
	{"gpt-5.1-codex", 1.25, 10, 0, 0},
	{"gpt-5.1-codex-max", 1.25, 10, 0, 0},
	{"gpt-5.1-codex-mini", 0.25, 2, 0, 0},
	{"gpt-5", 1.25, 10, 0, 0},
	{"gpt-5-codex", 1.25, 10, 0, 0},
	{"gpt-5-mini", 0.25, 2, 0, 0},
	{"gpt-5-nano", 0.05, 0.40, 0, 0},
	{"gpt-4.1", 2, 8, 0.50, 0},
	{"gpt-4.1-mini", 0.40, 1.60, 0.10, 0},
	{"gpt-4.1-nano", 0.10, 0.40, 0.025, 0},
	{"gpt-4o", 2.50, 10, 1.25, 0},
	{"gpt-4o-2024-05-13", 5, 15, 0, 0},
	{"gpt-4o-mini", 0.15, 0.60, 0.075, 0},
	{"gpt-4-turbo", 10, 30, 0, 0},
	{"gpt-4-1106-preview", 10, 30, 0, 0},
	{"gpt-4-0125-preview", 10, 30, 0, 0},
	{"gpt-4", 30, 60, 0, 0},
	{"gpt-3.5-turbo", 0.50, 1.50, 0, 0},
	{"gpt-3.5-turbo-1106", 1, 2, 0, 0},
	{"o1", 15, 60, 7.50, 0},
	{"o3", 2, 8, 0.50, 0},
	{"o3-mini", 1.10, 4.40, 0.55, 0},
	{"o4-mini", 1.10, 4.40, 0.275, 0},
	{"codex-mini", 1.50, 6, 0.375, 0},
	{"text-embedding-3-small", 0.02, 0, 0, 0},
	{"text-embedding-3-large", 0.13, 0, 0, 0},
	{"text-embedding-ada-002", 0.10, 0, 0, 0},
	// Google
	{"gemini-3.6-flash", 1.50, 7.50, 0, 0},
	{"gemini-3.5-flash", 1.50, 9, 0, 0},
	{"gemini-3.1-pro", 2, 12, 0, 0},
	{"gemini-3-flash", 0.50, 3, 0, 0},
	{"gemini-2.5-pro", 1.25, 10, 0, 0},
	{"gemini-2.5-flash", 0.30, 2.50, 0, 0},
	{"gemini-2.5-flash-lite", 0.10, 0.40, 0, 0},
	{"gemini-2.0-flash", 0.10, 0.40, 0.025, 0},
	// Others
	{"deepseek-v4-flash", 0.14, 0.28, 0, 0},
	{"deepseek-chat", 0.28, 0.42, 0, 0},
	{"deepseek-reasoner", 0.28, 0.42, 0, 0},
	{"grok-4.6", 2, 6, 0.50, 0},
	{"grok-4.5", 2, 6, 0.50, 0},
	{"grok-4", 3, 15, 0.75, 0},
	{"grok-3", 3, 15, 0.75, 0},
	{"grok-3-mini", 0.30, 0.50, 0.075, 0},
	{"grok-code-fast-1", 0.20, 1.50, 0, 0},
	{"kimi-k3", 3, 15, 0, 0},
	{"kimi-k2.7-code", 0.95, 4, 0.19, 0},
}

// lookUp finds a model in the table. Neither a vendor before the last slash
// ("anthropic/claude-…") nor the case of letters matters, and of Claude not
// whether its version is written with dots. Behind a name of the table only a
// version may follow ("-20250805", "-latest", "-preview", "@001"), so that a
// new "gpt-5-something" is unknown and not gpt-5; the longest name counts.
func lookUp(model string) (listing, bool) {
	name := strings.ToLower(model[strings.LastIndexByte(model, '/')+1:])
	if strings.HasPrefix(name, "claude") {
		name = strings.ReplaceAll(name, ".", "-")
	}
	best := -1
	for i := range listings {
		rest, ok := strings.CutPrefix(name, listings[i].name)
		if ok && isVersion(rest) && (best < 0 || len(listings[i].name) > len(listings[best].name)) {
			best = i
		}
	}
	if best < 0 {
		return listing{}, false
	}
	return listings[best], true
}

// isVersion reports whether what follows a model's name only says which issue
// of it is meant: dates, numbers and what vendors call their latest. Any other
// word is another model, most often a dearer one ("-preview-tts", "-32k").
func isVersion(rest string) bool {
	switch {
	case rest == "", rest[0] == '@':
		return true
	case rest[0] != '-':
		return false
	}
	for part := range strings.SplitSeq(rest[1:], "-") {
		switch part {
		case "latest", "chat", "preview", "exp":
			continue
		}
		if part == "" || strings.Trim(part, "0123456789") != "" {
			return false
		}
	}
	return true
}
