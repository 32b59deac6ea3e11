package route

import "strings"

// What is assumed of a model that neither the configuration nor the server nor
// the table knows.
const (
	DefaultContext   = 128000
	DefaultMaxOutput = 8192
)

// Model is what the built-in table says of a model.
type Model struct {
	Context   int // tokens of the window
	MaxOutput int // tokens of one answer
	Can       Abilities
}

// family is a row of the table: a pattern over the model's name in lower case
// without its vendor, and what its members share.
type family struct {
	pattern         string
	context, maxOut int
	can             abilitySet
}

// abilitySet is Abilities in a form that a table can be read in.
type abilitySet uint8

const (
	tools abilitySet = 1 << iota
	vision
	documents
	thinking
	schema
	prefill
)

// families is searched from the top: the narrower pattern stands first. It
// holds what the makers' own model pages say of widely used families, and is
// meant to be right more often than a guess, not to be complete: a server's own
// answer and the configuration both weigh more.
var families = []family{
	// Anthropic. Structured output came with the 4.5 generation, and prefill went
	// with it: what is newer refuses a conversation that ends with the assistant.
	{"claude-*-4-5*", 200000, 64000, tools | vision | documents | thinking | schema | prefill},
	{"claude-opus-4-1*", 200000, 32000, tools | vision | documents | thinking | schema | prefill},
	{"claude-opus-4-0*", 200000, 32000, tools | vision | documents | thinking | prefill},
	{"claude-opus-4-2025*", 200000, 32000, tools | vision | documents | thinking | prefill},
	{"claude-sonnet-4-0*", 200000, 64000, tools | vision | documents | thinking | prefill},
	{"claude-sonnet-4-2025*", 200000, 64000, tools | vision | documents | thinking | prefill},
	{"claude-3-7-sonnet*", 200000, 64000, tools | vision | documents | thinking | prefill},
	{"claude-3-5-*", 200000, 8192, tools | vision | documents | prefill},
	{"claude-3-*", 200000, 4096, tools | vision | prefill},
	{"claude-*", 200000, 32000, tools | vision | documents | thinking | schema},
	// OpenAI.
	{"gpt-5*", 400000, 128000, tools | vision | documents | thinking | schema},
	{"gpt-4.1*", 1047576, 32768, tools | vision | documents | schema},
	{"gpt-4o*", 128000, 16384, tools | vision | documents | schema},
	{"chatgpt-4o*", 128000, 16384, vision},
	{"gpt-4.5*", 128000, 16384, tools | vision | documents | schema},
	{"gpt-4-turbo*", 128000, 4096, tools | vision},
	{"gpt-4-32k*", 32768, 4096, tools},
	{"gpt-4*", 8192, 4096, tools},
	{"gpt-3.5*", 16385, 4096, tools},
	{"gpt-oss*", 131072, 32768, tools | thinking | schema},
	{"o1-mini*", 128000, 65536, thinking},
	{"o3-mini*", 200000, 100000, tools | thinking | schema},
	{"o1*", 200000, 100000, tools | vision | documents | thinking | schema},
	{"o3*", 200000, 100000, tools | vision | documents | thinking | schema},
	{"o4*", 200000, 100000, tools | vision | documents | thinking | schema},
	// Google.
	{"gemini-2.0*", 1048576, 8192, tools | vision | documents | schema},
	{"gemini-*", 1048576, 65536, tools | vision | documents | thinking | schema},
	{"gemma3:1b*", 32768, 8192, schema},
	{"gemma-3-1b*", 32768, 8192, schema},
	{"gemma3*", 131072, 8192, vision | schema},
	{"gemma-3*", 131072, 8192, vision | schema},
	// Open weights; a local server may have loaded them with less.
	{"qwen*vl*", 131072, 8192, tools | vision | schema},
	{"qwen3-coder*", 262144, 65536, tools | schema},
	{"qwen3*", 131072, 32768, tools | thinking | schema},
	{"qwq*", 131072, 32768, tools | thinking | schema},
	{"qwen2.5*", 32768, 8192, tools | schema},
	{"llama-4*", 1048576, 16384, tools | vision | schema},
	{"llama4*", 1048576, 16384, tools | vision | schema},
	{"llama*3.2*vision*", 131072, 8192, vision | schema},
	{"llama*3.1*", 131072, 8192, tools | schema},
	{"llama*3.2*", 131072, 8192, tools | schema},
	{"llama*3.3*", 131072, 8192, tools | schema},
	{"llama3*", 8192, 4096, schema},
	{"llama-3*", 8192, 4096, schema},
	{"mixtral*", 32768, 8192, tools | schema},
	{"codestral*", 262144, 8192, tools | schema},
	{"devstral*", 131072, 32768, tools | schema},
	{"mistral-large*", 131072, 8192, tools | schema},
	{"phi4*", 16384, 8192, schema},
	{"phi-4*", 16384, 8192, schema},
	// Others.
	{"deepseek-r1*", 131072, 32768, thinking | schema},
	{"deepseek-reasoner*", 131072, 65536, tools | thinking},
	{"deepseek-*", 131072, 8192, tools},
	{"grok-4*", 262144, 65536, tools | vision | thinking | schema},
	{"grok-3-mini*", 131072, 16384, tools | thinking | schema},
	{"grok-3*", 131072, 16384, tools | schema},
	{"kimi-k2*", 262144, 32768, tools | schema},
	{"glm-4.5v*", 65536, 16384, tools | vision | thinking},
	{"glm-4*", 131072, 65536, tools | thinking},
}

// LookUp returns what the table says of a model, and whether it knows it. Of an
// unknown one the sizes are the defaults and every ability Unknown.
//
// A vendor before the last slash ("anthropic/claude-…", "models/gemini-…") and
// the case of letters do not matter.
func LookUp(model string) (Model, bool) {
	name := strings.ToLower(model)
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		name = name[i+1:]
	}
	for i := range families {
		if f := &families[i]; match(f.pattern, name) {
			return Model{f.context, f.maxOut, f.can.abilities()}, true
		}
	}
	return Model{Context: DefaultContext, MaxOutput: DefaultMaxOutput}, false
}

func (s abilitySet) abilities() Abilities {
	is := func(one abilitySet) Ability {
		if s&one != 0 {
			return Yes
		}
		return No
	}
	return Abilities{Tools: is(tools), Vision: is(vision), Documents: is(documents), Thinking: is(thinking), JSONSchema: is(schema), Prefill: is(prefill)}
}
