package anthropic

import (
	"github.com/dreyhq/drey/internal/wire/scan"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// Opens is false: a block whose text is not known yet tells so by itself.
func (e *streamEncoder) Opens(sse.Event) bool { return false }

// Follow goes on where a frame left off that went to the caller as it came:
// blocks of kinds that have no neutral form have an index too.
func (e *streamEncoder) Follow(ev sse.Event) {
	var kind []byte
	index := -1
	s := scan.New(ev.Data)
	for key := range s.Fields() {
		switch string(key) {
		case "type":
			kind = s.Word()
		case "index":
			if n, ok := s.Int(); ok {
				index = n
			}
		}
	}
	if index < 0 {
		return
	}
	if e.index = index; string(kind) == "content_block_stop" {
		e.index++
	}
}
