package wire

// Error is an error to be told to the caller in its wire.
type Error struct {
	Type      string // the wire's type word, as internal/gateway maps it for that wire
	Code      string // OpenAI wires: error.code
	Message   string
	RequestID string
	Detail    []byte // a JSON object that stands beside the error; nil = none
	Details   []byte // a JSON object inside the error (error.details); nil = none
	// Responses counts the events of a stream and dates its answer: the number
	// of this one, and seconds since epoch.
	Sequence int
	Created  int64
}

// BodyError says what is wrong with a caller's body, and where.
type BodyError struct {
	Field string // path of the field, like messages[2].content; "" for the body as a whole
	Msg   string // what is wrong and what to do
}

// Error returns the field and what is wrong with it.
func (e *BodyError) Error() string {
	if e.Field == "" {
		return e.Msg
	}
	return e.Field + ": " + e.Msg
}

// AnswerKind says in which way a provider's answer is bad.
type AnswerKind uint8

// The ways.
const (
	Malformed AnswerKind = iota // no JSON, or not this wire's shape
	Cut                         // it ended before its end mark
	Reported                    // the provider reported an error inside a 200
)

// AnswerError says what is wrong with a provider's answer.
type AnswerError struct {
	Kind AnswerKind
	Type string // Reported: the provider's error type or code
	Msg  string
}

// Error returns what is wrong.
func (e *AnswerError) Error() string {
	switch e.Kind {
	case Cut:
		return "answer cut: " + e.Msg
	case Reported:
		return "provider reported " + e.Type + ": " + e.Msg
	default:
		return "malformed answer: " + e.Msg
	}
}
