package discover

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// model is what is known of one model of a server.
type model struct {
	id        string
	loaded    bool
	tools     bool
	embedding bool
	context   int // of the loaded model, or as it would be loaded; 0 = unknown
}

// choose takes the loaded model, else the first that can use tools, else the
// first that is no embedding model. Of several loaded ones the same order
// decides. An embedding model is never chosen.
func choose(models []model) (model, bool) {
	for _, fits := range []func(model) bool{
		func(m model) bool { return m.loaded && m.tools },
		func(m model) bool { return m.loaded },
		func(m model) bool { return m.tools },
		func(model) bool { return true },
	} {
		if i := slices.IndexFunc(models, func(m model) bool { return !m.embedding && fits(m) }); i >= 0 {
			return models[i], true
		}
	}
	return model{}, false
}

// The values of an answer are read one by one and leniently: a field of an
// unexpected type is a field that was not told, and not the end of the answer.

// word is a string.
type word string

// UnmarshalJSON takes a string and ignores everything else.
func (w *word) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*w = word(s)
	}
	return nil
}

// tokens is a sensible number of tokens.
type tokens int

// UnmarshalJSON takes a whole number up to a hundred million and ignores
// everything else.
func (t *tokens) UnmarshalJSON(b []byte) error {
	*t = parseTokens(string(b))
	return nil
}

func parseTokens(s string) tokens {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 100_000_000 {
		return 0
	}
	return tokens(n)
}

// yes is a boolean.
type yes bool

// UnmarshalJSON takes true and ignores everything else.
func (y *yes) UnmarshalJSON(b []byte) error {
	*y = string(b) == "true"
	return nil
}

// words is a list of strings.
type words []word

// UnmarshalJSON takes a list and ignores everything else.
func (w *words) UnmarshalJSON(b []byte) error {
	var list []word
	if json.Unmarshal(b, &list) == nil {
		*w = list
	}
	return nil
}

// object is a struct of such values.
type object[T any] struct{ v T }

// UnmarshalJSON takes an object and ignores everything else.
func (o *object[T]) UnmarshalJSON(b []byte) error {
	var v T
	if json.Unmarshal(b, &v) == nil {
		o.v = v
	}
	return nil
}

// rows is a list of such objects, cut at maxModels. It is nil only if there was
// no list.
type rows[T any] []T

// UnmarshalJSON takes a list, leaves out what is no object in it, and ignores
// everything else.
func (r *rows[T]) UnmarshalJSON(b []byte) error {
	var raw []json.RawMessage
	if json.Unmarshal(b, &raw) != nil || raw == nil {
		return nil
	}
	*r = rows[T]{}
	for _, e := range raw[:min(len(raw), maxModels)] {
		var v T
		if json.Unmarshal(e, &v) == nil {
			*r = append(*r, v)
		}
	}
	return nil
}

// usableID reports whether a model's id can be sent and shown: it goes into
// requests, logs and terminals.
func usableID(id word) bool {
	return id != "" && len(id) <= 200 && utf8.ValidString(string(id)) &&
		!strings.ContainsFunc(string(id), func(r rune) bool { return !unicode.IsPrint(r) })
}

// looksEmbedding judges by the name, where a server says nothing.
func looksEmbedding(id word) bool {
	s := strings.ToLower(string(id))
	for _, part := range []string{"embed", "bge-", "e5-", "gte-", "minilm", "rerank"} {
		if strings.Contains(s, part) {
			return true
		}
	}
	return false
}

// modelList is the OpenAI list of models with what several servers add to it.
type modelList struct {
	Data rows[listedModel] `json:"data"`
}

type listedModel struct {
	ID      word `json:"id"`
	OwnedBy word `json:"owned_by"`

	// vLLM, and others after it
	MaxModelLen tokens `json:"max_model_len"`
	Parent      word   `json:"parent"` // of an adapter

	// llama.cpp
	Meta object[struct {
		NCtx tokens `json:"n_ctx"`
	}] `json:"meta"`
	Status object[struct {
		Value word `json:"value"`
	}] `json:"status"`

	// LM Studio's /api/v0/models
	Type         word   `json:"type"`
	State        word   `json:"state"`
	MaxContext   tokens `json:"max_context_length"`
	LoadedTokens tokens `json:"loaded_context_length"`
	Capabilities words  `json:"capabilities"`
}

// owner is who the list says it comes from.
func (l modelList) owner() string {
	for _, m := range l.Data {
		if m.OwnedBy != "" {
			return strings.ToLower(string(m.OwnedBy))
		}
	}
	return ""
}

// each builds the models of a list.
func (l modelList) each(f func(listedModel, *model)) []model {
	var out []model
	for _, m := range l.Data {
		if !usableID(m.ID) {
			continue
		}
		v := model{id: string(m.ID), embedding: looksEmbedding(m.ID)}
		f(m, &v)
		out = append(out, v)
	}
	return out
}

// ofLMStudio reports whether the list has the marks of LM Studio's own: a type
// and a state in an entry. (It answers 200 to paths that it does not have.)
func (l modelList) ofLMStudio() bool {
	return slices.ContainsFunc(l.Data, func(m listedModel) bool { return m.Type != "" && m.State != "" })
}

func (l modelList) lmStudio() []model {
	return l.each(func(m listedModel, v *model) {
		v.loaded = m.State == "loaded"
		v.embedding = m.Type == "embeddings" || m.Type == "embedding"
		v.tools = slices.Contains(m.Capabilities, "tool_use")
		v.context = int(m.LoadedTokens)
		if v.context == 0 {
			v.context = int(m.MaxContext)
		}
	})
}

// vllm reads the list of a server that has loaded all that it lists; adapters
// stand behind the models that they adapt.
func (l modelList) vllm() []model {
	return l.each(func(m listedModel, v *model) {
		v.loaded = m.OwnedBy == "vllm" && m.Parent == ""
		v.context = int(m.MaxModelLen)
	})
}

// llamaCpp reads llama.cpp's list. Without a status (one model, the usual
// case) what is listed is loaded; a router tells it for each.
func (l modelList) llamaCpp(p llamaProps) []model {
	return l.each(func(m listedModel, v *model) {
		status := m.Status.v.Value
		v.loaded = status == "" || status == "loaded"
		v.context = int(m.Meta.v.NCtx)
		if v.loaded && status == "" {
			if n := int(p.Settings.v.NCtx); n > 0 {
				v.context = n // of one slot, which is what one request has
			}
			v.tools = bool(p.Caps.v.Tools || p.Caps.v.ToolCalls)
		}
	})
}

// llamaProps is llama.cpp's GET /props.
type llamaProps struct {
	Settings object[struct {
		NCtx tokens `json:"n_ctx"`
	}] `json:"default_generation_settings"`
	Slots     tokens `json:"total_slots"`
	ModelPath word   `json:"model_path"`
	BuildInfo word   `json:"build_info"`
	Caps      object[struct {
		Tools     yes `json:"supports_tools"`
		ToolCalls yes `json:"supports_tool_calls"`
	}] `json:"chat_template_caps"`
}

// telling reports whether this is llama.cpp speaking.
func (p llamaProps) telling() bool {
	return p.Settings.v.NCtx > 0 || p.ModelPath != "" || p.BuildInfo != ""
}

// ollamaTags is Ollama's GET /api/tags: the models on its disk.
type ollamaTags struct {
	Models rows[ollamaModel] `json:"models"` // nil = there is no such list
}

type ollamaModel struct {
	Name    word `json:"name"`
	Model   word `json:"model"`
	Details object[struct {
		Family word `json:"family"`
	}] `json:"details"`
	// ContextLength is num_ctx as it is loaded; in GET /api/ps only.
	ContextLength tokens `json:"context_length"`
}

func (m ollamaModel) id() word {
	if m.Model != "" {
		return m.Model
	}
	return m.Name
}

func (m ollamaModel) embedding() bool {
	return looksEmbedding(m.id()) || strings.Contains(strings.ToLower(string(m.Details.v.Family)), "bert")
}

// telling reports whether this is Ollama speaking.
func (t ollamaTags) telling() bool { return t.Models != nil }

func (t ollamaTags) models() []model {
	var out []model
	for _, m := range t.Models {
		if usableID(m.id()) {
			out = append(out, model{id: string(m.id()), embedding: m.embedding()})
		}
	}
	return out
}

// ollamaPS is Ollama's GET /api/ps: the models in memory.
type ollamaPS struct {
	Models rows[ollamaModel] `json:"models"`
}

// apply marks the loaded models, and adds those that are in no list.
func (p ollamaPS) apply(c *candidate) {
	for _, l := range p.Models {
		if !usableID(l.id()) {
			continue
		}
		i := slices.IndexFunc(c.models, func(m model) bool { return m.id == string(l.id()) })
		if i < 0 {
			c.models = append(c.models, model{id: string(l.id()), embedding: l.embedding()})
			i = len(c.models) - 1
		}
		c.models[i].loaded = true
		if l.ContextLength > 0 {
			c.models[i].context = int(l.ContextLength)
		}
	}
}

// ollamaShow is Ollama's POST /api/show for one model.
type ollamaShow struct {
	Capabilities words `json:"capabilities"`
	Parameters   word  `json:"parameters"` // lines like "num_ctx 8192"
}

// apply adds what a model can do, and the window with which it would be
// loaded. The window that it was trained with is not it: Ollama loads a far
// smaller one and cuts longer prompts silently.
func (s ollamaShow) apply(m *model) {
	if len(s.Capabilities) > 0 {
		m.tools = slices.Contains(s.Capabilities, "tools")
		m.embedding = slices.Contains(s.Capabilities, "embedding") && !slices.Contains(s.Capabilities, "completion")
	}
	for line := range strings.Lines(string(s.Parameters)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "num_ctx" && m.context == 0 {
			m.context = int(parseTokens(f[1]))
		}
	}
}
