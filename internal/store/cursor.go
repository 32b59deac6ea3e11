package store

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dreyhq/drey"
)

// RequestCursor is the place between two request rows in the order of
// (At, ID). Backends share it, so that a cursor means the same everywhere; for
// everybody else its text is opaque.
type RequestCursor struct {
	At time.Time // microseconds, UTC
	ID drey.RequestID
}

// String writes the cursor as a list hands it out.
func (c RequestCursor) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(c.At.UnixMicro(), 10) + " " + string(c.ID)))
}

// ParseRequestCursor reads what String wrote; anything else is ErrCursor.
func ParseRequestCursor(s string) (RequestCursor, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return RequestCursor{}, fmt.Errorf("%q: %w", s, ErrCursor)
	}
	at, id, ok := strings.Cut(string(b), " ")
	micros, err := strconv.ParseInt(at, 10, 64)
	if !ok || err != nil {
		return RequestCursor{}, fmt.Errorf("%q: %w", s, ErrCursor)
	}
	return RequestCursor{time.UnixMicro(micros).UTC(), drey.RequestID(id)}, nil
}
