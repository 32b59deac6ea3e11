package discover

import (
	"strings"

	"github.com/dreyhq/drey"
)

// vendor is a remote provider that a key in the environment opens.
type vendor struct {
	name, env, url string
	wire           drey.Wire
	// model is asked for whatever the caller names, since agents send the
	// names of another vendor's models. The names are the vendors' own moving
	// aliases where they have such. Anthropic's stays empty: the agents that
	// drey is called by first name its models themselves, and which of them
	// they take is their user's choice and bill.
	model string
}

// vendors in the order of the chain.
var vendors = []vendor{
	{"anthropic", "ANTHROPIC_API_KEY", "https://api.anthropic.com", drey.WireAnthropic, ""},
	{"openai", "OPENAI_API_KEY", "https://api.openai.com/v1", drey.WireChat, "gpt-5"},
	{"openrouter", "OPENROUTER_API_KEY", "https://openrouter.ai/api/v1", drey.WireChat, "openrouter/auto"},
	{"groq", "GROQ_API_KEY", "https://api.groq.com/openai/v1", drey.WireChat, "openai/gpt-oss-120b"},
	{"deepseek", "DEEPSEEK_API_KEY", "https://api.deepseek.com/v1", drey.WireChat, "deepseek-chat"},
	{"mistral", "MISTRAL_API_KEY", "https://api.mistral.ai/v1", drey.WireChat, "mistral-large-latest"},
	{"gemini", "GEMINI_API_KEY", "https://generativelanguage.googleapis.com/v1beta/openai", drey.WireChat, "gemini-flash-latest"},
	{"xai", "XAI_API_KEY", "https://api.x.ai/v1", drey.WireChat, "grok-4"},
}

// Keys returns the vendors whose keys the environment holds, in the order of
// the chain. A blank key is none. No key is read further than that.
func Keys(getenv func(string) string) []Found {
	var out []Found
	for _, v := range vendors {
		if strings.TrimSpace(getenv(v.env)) == "" {
			continue
		}
		out = append(out, Found{
			Name: v.name, Kind: Vendor, URL: v.url, Wire: v.wire, Model: v.model,
			Price: drey.Paid, KeyEnv: v.env, Tools: true,
		})
	}
	return out
}
