package drey

// Class says what may be done about a failure. Who retries, who falls back,
// who parks and who counts asks the class and never the text of an error.
type Class uint8

// The ten classes of failure, and Internal for a bug of our own, which is the
// zero value so that a forgotten class is found.
const (
	Internal  Class = iota // a bug in drey
	Cancel                 // the caller went away, or an operator drained
	Caller                 // the request itself is at fault
	Auth                   // credential, quota or model missing at the provider
	RateLimit              // the provider asks for a pause
	Transport              // no connection, or it broke before an answer
	Server                 // the provider answered that it failed
	Silence                // one of the four timeouts
	Loading                // the backend is starting; it is there and not yet ready
	BadOutput              // an answer that is cut, malformed or empty
	Resource               // out of memory or device lost
)

var classNames = [...]string{
	"internal", "cancel", "caller", "auth", "rate_limit", "transport",
	"server", "silence", "loading", "bad_output", "resource",
}

// String returns the class's name in events, metrics, rows and headers.
func (c Class) String() string { return NameOf(classNames[:], c, "class") }

// MarshalText writes the class's name.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (c *Class) UnmarshalText(b []byte) error { return ParseName(classNames[:], c, b, "class") }

// Retryable reports whether the same request may succeed at another provider
// without anybody changing it. Caller failures have sub-cases that may; those
// are the business of internal/route, which sees the evidence.
func (c Class) Retryable() bool {
	switch c {
	case Internal, Cancel, Caller:
		return false
	default:
		return true
	}
}
