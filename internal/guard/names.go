package guard

import "github.com/dreyhq/drey"

// Action is what a guard of tool calls does when it finds something. Each does
// what those before it do, but for Inject, which Break does without.
type Action uint8

// The actions. The zero value is Off: the guard does not look.
const (
	Off    Action = iota
	Warn          // tell it: event, log, row
	Inject        // and add a hint for the model to the conversation
	Break         // and refuse the request
)

var actionNames = [...]string{"off", "warn", "inject", "break"}

// String returns the action's name as the configuration spells it.
func (a Action) String() string { return drey.NameOf(actionNames[:], a, "action") }

// MarshalText writes the action's name.
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (a *Action) UnmarshalText(b []byte) error { return drey.ParseName(actionNames[:], a, b, "action") }

// Scope is where the cap counts calls.
type Scope uint8

// The scopes. The zero value is Conversation.
const (
	Conversation Scope = iota // the whole request
	Turn                      // since the last user turn
)

var scopeNames = [...]string{"conversation", "turn"}

// String returns the scope's name as the configuration spells it.
func (s Scope) String() string { return drey.NameOf(scopeNames[:], s, "scope") }

// MarshalText writes the scope's name.
func (s Scope) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Scope) UnmarshalText(b []byte) error { return drey.ParseName(scopeNames[:], s, b, "scope") }

// StreamForm is how a caller that asked for a stream is refused.
type StreamForm uint8

// The forms. The zero value is FormAuto.
const (
	FormAuto StreamForm = iota // as the caller's agent bears it
	FormSSE                    // 200 and one error event
	FormHTTP                   // 400
)

var formNames = [...]string{"auto", "sse", "http"}

// String returns the form's name as the configuration spells it.
func (f StreamForm) String() string { return drey.NameOf(formNames[:], f, "stream form") }

// MarshalText writes the form's name.
func (f StreamForm) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (f *StreamForm) UnmarshalText(b []byte) error {
	return drey.ParseName(formNames[:], f, b, "stream form")
}

// BudgetAction is what is done about a conversation that fills a provider's
// window.
type BudgetAction uint8

// The actions. The zero value is BudgetOff. All others warn as well.
const (
	BudgetOff   BudgetAction = iota
	BudgetWarn               // tell it: event and header
	BudgetTrim               // and leave out the oldest turns
	BudgetRoute              // and prefer providers with larger windows
)

var budgetNames = [...]string{"off", "warn", "trim", "route"}

// String returns the action's name as the configuration spells it.
func (a BudgetAction) String() string { return drey.NameOf(budgetNames[:], a, "budget action") }

// MarshalText writes the action's name.
func (a BudgetAction) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (a *BudgetAction) UnmarshalText(b []byte) error {
	return drey.ParseName(budgetNames[:], a, b, "budget action")
}

// DriftAction is what is done about a provider whose answers got worse. The
// name "reload" is kept for an action that is not built yet.
type DriftAction uint8

// The actions. The zero value is DriftOff.
const (
	DriftOff    DriftAction = iota
	DriftWarn               // tell it: event and header
	DriftDemote             // and put it last for the cool-down, if it is severe
)

var driftNames = [...]string{"off", "warn", "demote"}

// String returns the action's name as the configuration spells it.
func (a DriftAction) String() string { return drey.NameOf(driftNames[:], a, "drift action") }

// MarshalText writes the action's name.
func (a DriftAction) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (a *DriftAction) UnmarshalText(b []byte) error {
	return drey.ParseName(driftNames[:], a, b, "drift action")
}

// Sensitivity is how soon answers count as worse.
type Sensitivity uint8

// The sensitivities. The zero value is Normal.
const (
	Normal Sensitivity = iota
	Low
	High
)

var sensitivityNames = [...]string{"normal", "low", "high"}

// String returns the sensitivity's name as the configuration spells it.
func (s Sensitivity) String() string { return drey.NameOf(sensitivityNames[:], s, "sensitivity") }

// MarshalText writes the sensitivity's name.
func (s Sensitivity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Sensitivity) UnmarshalText(b []byte) error {
	return drey.ParseName(sensitivityNames[:], s, b, "sensitivity")
}
