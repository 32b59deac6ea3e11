package fake

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Model is a model with habits, good and bad ones, for tests of whoever looks
// for the bad: it does the few things that can be done by rule, and does them
// in its own way. The zero value does all it is asked, in frames that end
// properly, and neither reasons, sees nor keeps prompts.
//
// By rule it counts ("Count from 1 to 30"), repeats a word that it was told
// ("The code word is X"), and calls its first tool once for each word in double
// quotes. To everything else it says "ok".
type Model struct {
	// Key is the credential that it wants; "" = none.
	Key string
	// Names are the models that the server has; any other is a 404. nil = all.
	Names []string
	// Window is how many tokens it reads: of a longer prompt the beginning is
	// lost, and nobody is told. 0 = no limit. HeedsNumCtx says that num_ctx in
	// the request's options replaces it.
	Window      int
	HeedsNumCtx bool
	// MaxChars cuts every answer, with the stop reason of a length. 0 = no
	// limit. num_predict -1 in the request's options lifts it if HeedsNumPredict.
	MaxChars        int
	HeedsNumPredict bool

	Tools ToolHabit
	// Stream spoils streamed answers; nil leaves them. With OnlyUsage it spoils
	// those alone that are to tell their usage, as old servers do.
	Stream    func(Behaviour) Behaviour
	OnlyUsage bool

	// Thoughts come before each answer, asked for or not, in their own field;
	// Prefix and Suffix stand around each text that is no call.
	Thoughts       string
	Prefix, Suffix string

	Reasons bool // it reasons when it is asked to; if not, it refuses
	Sees    bool // it sees colours; if not, it refuses images
	Keeps   bool // it keeps the system texts that it has read, and tells so
	Marked  bool // … of those alone that have cache_control
}

// ToolHabit is how a Model calls tools.
type ToolHabit uint8

// The habits.
const (
	CallsTools   ToolHabit = iota
	PrintsTools            // as JSON in a fence
	IgnoresTools           // it answers with text
	RefusesTools           // 400
)

// counting is an order that a Model can carry out.
var (
	counting = regexp.MustCompile(`(?i)count from (\d+) to (\d+)`)
	codeWord = regexp.MustCompile(`(?i)code word is (\w+)`)
	inQuotes = regexp.MustCompile(`"(\w+)"`)
)

// Script plays the model.
func (m Model) Script() Script {
	var mu sync.Mutex
	read := map[string]bool{} // system texts, if it keeps them
	return func(_ int, r Request) Behaviour {
		var in modelRequest
		_ = json.Unmarshal(r.Body, &in) // what cannot be read is not asked for
		switch {
		case m.Key != "" && r.Header.Get("Authorization") != "Bearer "+m.Key && r.Header.Get("X-Api-Key") != m.Key:
			return Unauthorized()
		case m.Names != nil && !slices.Contains(m.Names, r.Model):
			return ModelNotFound()
		case m.Tools == RefusesTools && len(r.Tools) > 0:
			return Status(http.StatusBadRequest, "invalid_request_error", "this model does not support tools")
		case !m.Reasons && in.thinks():
			return Status(http.StatusBadRequest, "invalid_request_error", "this model does not support thinking")
		case !m.Sees && in.shows():
			return Status(http.StatusBadRequest, "invalid_request_error", "this model does not support images")
		}
		b := m.answer(r, in)
		usage := Usage{Input: estimate(len(r.Body)), Output: estimate(len(strings.Join(b.pieces, "")) + 4)}
		if w := m.window(in); w > 0 {
			usage.Input = min(usage.Input, w)
		}
		if key := in.system(); m.Keeps && key != "" && (!m.Marked || strings.Contains(key, "cache_control")) {
			mu.Lock()
			if read[key] {
				usage.CacheRead = estimate(len(key))
				usage.Input = max(0, usage.Input-usage.CacheRead)
			}
			read[key] = true
			mu.Unlock()
		}
		b = b.Reports(usage)
		if m.Stream != nil && r.Stream && (!m.OnlyUsage || r.WantUsage) {
			b = m.Stream(b)
		}
		return b
	}
}

// answer is what the model says.
func (m Model) answer(r Request, in modelRequest) Behaviour {
	seen := r.Text
	if w := m.window(in); w > 0 && len(seen) > 4*w {
		seen = seen[len(seen)-4*w:]
	}
	if len(r.Tools) > 0 && m.Tools != IgnoresTools {
		var calls []ToolCall
		for _, word := range inQuotes.FindAllStringSubmatch(seen, -1) {
			calls = append(calls, ToolCall{Args: string(format(`{"text":%s}`, quote(word[1])))})
		}
		if calls == nil {
			calls = []ToolCall{{Args: `{"text":""}`}}
		}
		b := CallTools(calls...)
		if m.Tools == PrintsTools {
			b.textCall = TextCall("", "").textCall
		}
		return b
	}
	text := "ok"
	if c := counting.FindStringSubmatch(seen); c != nil {
		from, _ := strconv.Atoi(c[1]) // digits; absurd ones count nothing
		to, _ := strconv.Atoi(c[2])
		var numbers []string
		for n := from; n <= min(to, from+1000); n++ {
			numbers = append(numbers, strconv.Itoa(n))
		}
		text = strings.Join(numbers, " ")
	} else if c := codeWord.FindStringSubmatch(seen); c != nil {
		text = c[1]
	} else if in.shows() {
		text = "Red."
	}
	text = m.Prefix + text + m.Suffix
	stop := ""
	if m.MaxChars > 0 && len(text) > m.MaxChars && (!m.HeedsNumPredict || in.Options.NumPredict == 0) {
		text, stop = text[:m.MaxChars], "max_tokens"
	}
	b := Text(text).Stop(stop).Thinking(m.Thoughts)
	if in.thinks() {
		b = b.Thinking("Let me see.")
	}
	return b
}

func (m Model) window(in modelRequest) int {
	if m.HeedsNumCtx && in.Options.NumCtx > 0 {
		return in.Options.NumCtx
	}
	return m.Window
}

// modelRequest is what a Model reads of a request besides Request.
type modelRequest struct {
	Options struct {
		NumCtx     int `json:"num_ctx"`
		NumPredict int `json:"num_predict"`
	} `json:"options"`
	ReasoningEffort string `json:"reasoning_effort"`
	Thinking        struct {
		Type string `json:"type"`
	} `json:"thinking"`
	System   json.RawMessage `json:"system"`
	Messages []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	} `json:"messages"`
}

func (in modelRequest) thinks() bool {
	return in.ReasoningEffort != "" || in.Thinking.Type == "enabled"
}

func (in modelRequest) shows() bool {
	for _, m := range in.Messages {
		if strings.Contains(string(m.Content), `"type":"image`) {
			return true
		}
	}
	return false
}

// system is the system text as it was sent, of either wire.
func (in modelRequest) system() string {
	if len(in.System) > 0 {
		return string(in.System)
	}
	if len(in.Messages) > 0 && in.Messages[0].Role == "system" {
		return string(in.Messages[0].Content)
	}
	return ""
}
