package operation

import (
	"encoding/json"
	"fmt"
)

// Result is what a child delivered.
type Result struct {
	ID      ID     `json:"id"` // the operation's; zero is filled in
	Content string `json:"content"`
	// IsError says that the answer is an error. The operation is completed all
	// the same: the tool ended.
	IsError    bool  `json:"is_error"`
	DurationMS int64 `json:"duration_ms"`
	Tokens     int64 `json:"tokens_used"`
	// Truncated says that Content was cut to MaxContent, and ContentBytes how
	// long it was; 0 if it was not cut.
	Truncated    bool  `json:"truncated,omitempty"`
	ContentBytes int64 `json:"content_bytes,omitempty"`
}

// tidied returns the result as it is kept. A result that says itself that it
// was cut keeps saying so.
func (r Result) tidied() Result {
	size := int64(len(r.Content))
	content, wasCut := tidy(r.Content, MaxContent)
	r.Content = content
	switch {
	case wasCut:
		r.Truncated, r.ContentBytes = true, max(size, r.ContentBytes)
	case !r.Truncated || r.ContentBytes <= size:
		r.Truncated, r.ContentBytes = false, 0
	}
	return r
}

// Outcome is how an operation ended. The zero value is that of a live one:
// none.
type Outcome struct {
	Type   Status // the ended status, which has exactly this outcome; Absent = none
	Result Result // of Completed
	Error  string // of Failed
	Reason string // of Aborted and Cancelled, where it may be empty, and of Terminated
}

// IsZero reports whether there is no outcome.
func (o Outcome) IsZero() bool { return o.Type == Absent }

// outcomeJSON is every outcome; which fields it has is the type's.
type outcomeJSON struct {
	Type Status `json:"outcome_type"`
	*Result
	Error  *string `json:"error,omitempty"`
	Reason *string `json:"reason,omitempty"`
}

// MarshalJSON writes the tag outcome_type and beside it what the type has.
func (o Outcome) MarshalJSON() ([]byte, error) {
	j := outcomeJSON{Type: o.Type}
	switch o.Type {
	case Completed:
		j.Result = &o.Result
	case Failed:
		j.Error = &o.Error
	case Aborted, Cancelled:
		if o.Reason != "" {
			j.Reason = &o.Reason
		}
	case Terminated:
		j.Reason = &o.Reason
	case Retired:
	default:
		return nil, fmt.Errorf("an operation that is %s has no outcome", o.Type)
	}
	return marshal(j)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (o *Outcome) UnmarshalJSON(b []byte) error {
	var r Result
	j := outcomeJSON{Result: &r}
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	if !j.Type.Ended() {
		return fmt.Errorf("%q is no outcome_type", j.Type)
	}
	*o = Outcome{Type: j.Type}
	switch j.Type {
	case Completed:
		o.Result = r
	case Failed:
		if j.Error != nil {
			o.Error = *j.Error
		}
	case Aborted, Cancelled, Terminated:
		if j.Reason != nil {
			o.Reason = *j.Reason
		}
	}
	return nil
}
