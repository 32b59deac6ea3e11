package dormancy

import (
	"context"

	"github.com/dreyhq/drey/internal/lifecycle"
)

// Note logs and shows a line that goes with no change of the record, such as
// that the owner of the listeners has gone. It returns when that is done, or
// Serve has ended and nobody does it any more.
func (o *Owner) Note(line lifecycle.Line) {
	_ = o.tell(context.Background(), func() error { // ErrStopped: nobody is left to tell
		o.note(line)
		return nil
	})
}
