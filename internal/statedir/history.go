package statedir

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"time"
)

// HistoryQuery selects lines of the lifecycle's event log. The zero value
// selects all.
type HistoryQuery struct {
	Limit int       // the newest so many of those that match; 0 = all
	Since time.Time // not older than this, by the line's own time; zero = all
	Kind  string    // the name of the event; "" = all
}

// History reads the lifecycle's event log, plain and compressed files alike,
// and returns the lines that q selects in the order of the files, so the
// oldest first. skipped counts what is no line (torn, without a time or an
// event) in the files that were read, which are those that q needs. It works
// beside a daemon that writes, and changes nothing.
//
// A file that cannot be read is an error beside the lines of all others.
func History(h Home, q HistoryQuery) (lines []json.RawMessage, skipped int, err error) {
	files, err := h.eventFiles()
	if err != nil {
		return nil, 0, err
	}
	var troubles []error
	var parts [][]json.RawMessage // the newest file first
	for found, i := 0, len(files)-1; i >= 0 && (q.Limit <= 0 || found < q.Limit); i-- {
		// A line is in the file of its own day, or of a later one if it was
		// recovered; never in an earlier one.
		if files[i].day.Before(day(q.Since)) {
			break
		}
		var part []json.RawMessage
		err := files[i].each(func(r io.Reader) error {
			chosen, bad, err := q.choose(r)
			part, skipped = append(part, chosen...), skipped+bad
			return err
		})
		if err != nil {
			troubles = append(troubles, err)
		}
		parts, found = append(parts, part), found+len(part)
	}
	slices.Reverse(parts)
	lines = slices.Concat(parts...)
	if q.Limit > 0 {
		lines = lines[max(len(lines)-q.Limit, 0):]
	}
	return lines, skipped, errors.Join(troubles...)
}

// choose returns the lines of one file that q selects, but for its limit.
func (q HistoryQuery) choose(r io.Reader) (chosen []json.RawMessage, skipped int, err error) {
	for raw, err := range rawLines(r) {
		if err != nil {
			return chosen, skipped, err
		}
		if raw != nil && len(bytes.TrimSpace(raw)) == 0 {
			continue // an empty line is no damage
		}
		line, err := parseLogLine(raw)
		switch {
		case err != nil:
			skipped++
		case line.ts.Before(q.Since), q.Kind != "" && line.event != q.Kind:
		default:
			chosen = append(chosen, line.json)
		}
	}
	return chosen, skipped, nil
}
