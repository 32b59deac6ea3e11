package openai

import (
	"github.com/dreyhq/drey/internal/wire/scan"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// Opens reports whether a frame begins a message or a part of one: what stands
// in it decides what the caller gets of it.
func (e *responsesEncoder) Opens(ev sse.Event) bool {
	f, err := readResponsesFrame(ev.Data)
	return err == nil && (f.kind == eventPart || f.kind == eventItem && f.item.kind == itemMessage)
}

// Follow goes on where a frame left off that went to the caller as it came: its
// number, its item, and the items that are done, which the whole answer at the
// end repeats.
func (e *responsesEncoder) Follow(ev sse.Event) {
	var kind, id, item []byte
	index := -1
	s := scan.New(ev.Data)
	for key := range s.Fields() {
		switch string(key) {
		case "type":
			kind = s.Word()
		case "sequence_number":
			if n, ok := s.Int(); ok {
				e.next = n + 1
			}
		case "output_index":
			if n, ok := s.Int(); ok {
				index = n
			}
		case "item_id":
			id = s.Word()
		case "item":
			item = s.Raw()
		}
	}
	if index < 0 {
		return
	}
	e.index = index
	switch {
	case string(kind) == eventItemDone:
		e.index++
		e.unended = false
		e.items = e.items[:e.followed] // ours of the same item
		if e.followed > 0 {
			e.items = append(e.items, ',')
		}
		e.items = append(e.items, item...)
		e.followed = len(e.items)
	case id != nil && string(id) != e.item.id:
		e.item.id = string(id)
	}
	if string(kind) == eventPartDone {
		e.unended = !e.open
	}
}

// endItem ends an item of which the caller has everything but that.
func (e *responsesEncoder) endItem(dst []byte) []byte {
	if !e.unended {
		return dst
	}
	e.unended = false
	dst = e.itemEvent(dst, eventItemDone, statusCompleted)
	e.index++
	return dst
}
