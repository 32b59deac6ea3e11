package operation

import (
	"encoding/json"
	"fmt"

	"github.com/dreyhq/drey"
)

// Record is what is kept of one operation: the machine, and what it has said
// of itself. Its JSON is the operation's snapshot in the store; with the rows
// since then it gives back the same record (Replay). The zero value is an
// operation that does not exist yet.
type Record struct {
	Machine Machine
	History History
}

// Apply takes over a committed row; limit is how many updates the history
// keeps.
func (r *Record) Apply(row *Row, limit int) {
	r.Machine = row.After
	if p, ok := row.Progress(); ok {
		r.History.Add(p, limit)
	}
}

// recordJSON is the snapshot in the store. The machine's fields stand flat in
// it.
type recordJSON struct {
	Machine
	History  *History   `json:"progress_history,omitempty"`
	Requests []answered `json:"requests,omitempty"`
}

// MarshalJSON writes the snapshot.
func (r Record) MarshalJSON() ([]byte, error) {
	j := recordJSON{Machine: r.Machine, Requests: r.Machine.requests.list()}
	if r.History.Len() > 0 {
		j.History = &r.History
	}
	return marshal(j)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *Record) UnmarshalJSON(b []byte) error {
	var j recordJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*r = Record{Machine: j.Machine}
	r.Machine.requests = chain(j.Requests)
	if j.History != nil {
		r.History = *j.History
	}
	return nil
}

// Replay returns the record that follows r when the rows of the journal since
// then have happened, by the same Step that decided them. Of p only the length
// of the history counts: limits decide what may happen, not what did. A row
// that Step does not take, or that leads elsewhere than it did, is an error: the
// journal then is not of this operation, or not whole.
func Replay(r Record, tail []drey.Event, p Policy) (Record, error) {
	r.History = History{ring: r.History.Updates()} // the caller keeps its own
	free := p
	free.MaxConcurrent = nil
	for i := range tail {
		e := &tail[i]
		ev, err := FromJournal(*e)
		if err != nil {
			return Record{}, err
		}
		_, out := Step(r.Machine, ev, free)
		row := RowOf(out)
		if row == nil {
			if refused := Refusal(out); refused != nil {
				return Record{}, fmt.Errorf("journal row %d: %w", e.Seq, refused)
			}
			return Record{}, fmt.Errorf("journal row %d: %s writes nothing for operation %s while %s", e.Seq, e.Trigger, e.ID, r.Machine.Status)
		}
		d := decoder{fields: e.Fields}
		switch version := d.int("version"); {
		case d.err != nil:
			return Record{}, fmt.Errorf("journal row %d: %w", e.Seq, d.err)
		case version != row.After.Version:
			return Record{}, fmt.Errorf("journal row %d: operation %s is at version %d, and the row makes it %d", e.Seq, e.ID, r.Machine.Version, version)
		case e.To != "" && e.To != row.After.Status.String():
			return Record{}, fmt.Errorf("journal row %d: operation %s became %s, and the row says %s", e.Seq, e.ID, row.After.Status, e.To)
		}
		r.Apply(row, p.ProgressHistory)
	}
	return r, nil
}
