package api

// Codes of the control API's errors. Contracts add their own.
const (
	CodeInvalidArgument = "invalid_argument"   // 400
	CodeUnauthorized    = "unauthorized"       // 401
	CodeForbidden       = "forbidden"          // 403
	CodeNotFound        = "not_found"          // 404
	CodeMethod          = "method_not_allowed" // 405
	CodeLimitReached    = "limit_reached"      // 429
	CodeInternal        = "internal"           // 500
	CodeUnavailable     = "unavailable"        // 503
	CodeConfigRejected  = "config_rejected"    // 400: the file is bad, nothing has changed
	CodeNotStarted      = "not_started"        // 503: no daemon, because its start failed; the message says why
)

// Error is what a refusal says. The daemon may return one from its own methods
// where it has fields to name; every other error becomes one at the door.
type Error struct {
	Code      string  `json:"code" doc:"a word for programs"`
	Message   string  `json:"message" doc:"what is wrong"`
	Hint      string  `json:"hint,omitempty" doc:"what to do about it"`
	Fields    []Field `json:"fields,omitempty" doc:"what is wrong, one by one"`
	RequestID string  `json:"request_id" doc:"also in the header X-Drey-Request-Id"`
}

// Error returns the message. The hint and the fields are shown beside it.
func (e *Error) Error() string { return e.Message }

// Field is one thing that is wrong, and where.
type Field struct {
	Path    string `json:"path" doc:"such as query.limit, body.name, or FILE:LINE:COLUMN: key"`
	Message string `json:"message"`
}

// ErrorBody is the body of every answer that is an error.
type ErrorBody struct {
	Error Error `json:"error"`
}
