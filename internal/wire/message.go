package wire

import (
	"encoding/json"

	"github.com/dreyhq/drey"
)

// OwnSignature begins the signature of reasoning that drey made itself: of
// another wire's reasoning, told to a client that wants a signature. It is a
// mark and proves nothing; reasoning that carries it is never sent to a vendor.
const OwnSignature = "drey1."

// Request is a request of any wire in neutral form. Content that a wire writes
// as a plain string is one Text block.
type Request struct {
	// From is the wire that the request was decoded from. A vendor's
	// signatures go back to their own wire only.
	From         drey.Wire
	Model        string
	System       []Block   // instructions that lead the conversation
	Messages     []Message // in order, roles as in Role
	Tools        []Tool
	Choice       Choice
	OneCall      bool            // at most one tool call at a time
	MaxTokens    int             // 0 = not said
	Temperature  json.RawMessage // a JSON number as written; nil = not said; so the next two
	TopP         json.RawMessage
	TopK         json.RawMessage
	Stop         []string
	Stream       bool
	WantUsage    bool
	Thinking     Thinking
	Format       *Format
	User         string       // chat's "user"; never carried to another vendor
	ChatOnly     []ExtraField // seed, penalties, n, logprobs …: chat to chat or to local and free
	CachedPrefix bool         // somewhere a cache_control was set
	// Aliases tell, by Tool.Name, what the caller calls the tools whose name or
	// form its own wire alone has. nil = none.
	Aliases map[string]Alias
	// Notes are what no other wire has a place for and decoding left out.
	Notes []Note
}

// Form is how the caller's wire writes the calls of a tool.
type Form uint8

// The forms. Every wire has functions; the others are those of responses.
const (
	FunctionForm Form = iota
	CustomForm        // text of any kind: the string "input" of its arguments
	ShellForm         // local_shell: its arguments are the action
)

// Alias is a tool as its caller knows it.
type Alias struct {
	Name      string
	Namespace string // "" = none
	Form      Form
}

// Role is who speaks. Developer and unknown roles become System where they
// stand.
type Role uint8

// The roles.
const (
	User Role = iota
	Assistant
	System // inside the conversation; the leading ones are Request.System
)

// Message is one turn.
type Message struct {
	Role   Role
	Name   string // chat's optional name
	Blocks []Block
}

// BlockKind says what a Block is.
type BlockKind uint8

// The kinds of content.
const (
	Text BlockKind = iota
	Image
	Document
	ToolUse
	ToolResult
	Reasoning
	Redacted // reasoning that only its vendor can read
)

// Block is one piece of content. Which fields are used follows from Kind.
type Block struct {
	Kind BlockKind

	// Text, Reasoning; Redacted: the vendor's data; Document: its text, where
	// it came as text.
	Text string

	// Image, Document. One with neither Text, Data nor URL is a vendor's stored
	// file that nobody else can read.
	MediaType string
	Data      string // base64
	URL       string
	Title     string // a document's name
	Detail    string // chat's image detail

	// ToolUse, ToolResult
	ID      string
	Name    string
	Input   json.RawMessage // ToolUse: the arguments as JSON, as they were written
	Alias   *Alias          // ToolUse of an answer: what the caller calls its tool; nil = by Name
	Content []Block         // ToolResult
	IsError bool            // ToolResult

	Signature string          // Reasoning
	Cache     json.RawMessage // cache_control as it came; nil = none
}

// Tool is a tool that the model may call.
type Tool struct {
	Type        string // "" = a function; else a vendor's own ("web_search_20250305")
	Name        string
	Description string
	Schema      json.RawMessage // of the arguments; nil = none given
	Strict      *bool
	Cache       json.RawMessage
}

// ChoiceMode says whether the model must call a tool.
type ChoiceMode uint8

// The modes. ChoiceUnset leaves it to the wire's default.
const (
	ChoiceUnset ChoiceMode = iota
	ChoiceAuto
	ChoiceAny
	ChoiceNone
	ChoiceTool
)

// Choice is the caller's tool_choice.
type Choice struct {
	Mode ChoiceMode
	Name string // of the tool, for ChoiceTool
}

// Thinking is what the caller asks of reasoning.
type Thinking struct {
	Mode   string // "" = not said, "enabled", "adaptive", "disabled"
	Budget int    // tokens; 0 = not said
	Effort string // "minimal", "low", "medium", "high" …; "" = not said
	Show   bool   // what the model reasons is wanted, however much it does
}

// Asked reports whether the caller wants to see reasoning.
func (t Thinking) Asked() bool {
	return t.Show || t.Mode != "disabled" && (t.Mode != "" || t.Effort != "")
}

// Format asks for structured output.
type Format struct {
	Type   string // "json_schema" or "json_object"
	Name   string
	Schema json.RawMessage
	Strict *bool
}

// Response is a whole answer in neutral form.
type Response struct {
	ID      string
	Model   string
	Created int64
	Blocks  []Block // Text, Reasoning, Redacted and ToolUse, in order
	Stop    Stop
	// StopSequence is the one that stopped it, if Stop is StopSequence and the
	// provider told.
	StopSequence string
	Odd          string // the reason as the provider spelled it, where it is none that we know
	Usage        Usage
}

// Stop is why an answer ended.
type Stop uint8

// The reasons. StopUnknown is one that the wire did not tell or that we do not
// know; it is encoded as a normal end.
const (
	StopUnknown Stop = iota
	StopEnd
	StopLength
	StopTools
	StopSequence
	StopRefusal
	StopPause
)

var stopNames = [...]string{"", "end", "length", "tools", "stop_sequence", "refusal", "pause"}

// String returns the reason's name in rows and logs.
func (s Stop) String() string {
	if int(s) < len(stopNames) {
		return stopNames[s]
	}
	return ""
}

// Usage is what an answer cost in tokens. Input does not contain the cached
// ones; the wires that count them in are corrected at their border.
type Usage struct {
	Input      int
	Output     int
	CacheRead  int
	CacheWrite int
	Reasoning  int  // part of Output
	Estimated  bool // the provider told nothing, and this is our estimate
}

// Max returns the field-wise maximum of two reports of one stream: an early
// report may be a guess.
func (u Usage) Max(v Usage) Usage {
	return Usage{
		Input:      max(u.Input, v.Input),
		Output:     max(u.Output, v.Output),
		CacheRead:  max(u.CacheRead, v.CacheRead),
		CacheWrite: max(u.CacheWrite, v.CacheWrite),
		Reasoning:  max(u.Reasoning, v.Reasoning),
		Estimated:  u.Estimated && v.Estimated,
	}
}

// EventKind says what a stream's Event tells.
type EventKind uint8

// The kinds, in the order of a stream: Start, then per block BlockStart, any
// number of Delta, BlockStop, then Finish. Blocks never overlap; Usage may
// stand anywhere before Finish.
const (
	Start      EventKind = iota // ID, Model, Usage if told
	BlockStart                  // Block: kind, and for a tool use id and name
	Delta                       // Text: more text, reasoning or arguments JSON of the open block
	Sign                        // Text: the open reasoning block's signature
	BlockStop
	UsageReport // Usage
	Finish      // Stop, StopSequence, Usage if told: the answer is complete
)

// Event is one step of a streamed answer in neutral form.
type Event struct {
	Kind         EventKind
	ID, Model    string // Start
	Created      int64  // Start: seconds since epoch; 0 = the wire does not tell it
	Block        Block  // BlockStart
	Text         string
	Stop         Stop
	StopSequence string
	Odd          string // as in Response
	Usage        *Usage
}
