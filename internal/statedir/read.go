package statedir

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dreyhq/drey"
)

// LogQuery selects rows of a log. The zero value selects all.
type LogQuery struct {
	Tail   int       // the last so many of those that match; 0 = all
	Filter string    // a text that the row contains, anywhere; "" = all
	Since  time.Time // not older than this; zero = all
}

// LogRow is one row of a log.
type LogRow struct {
	At   time.Time
	JSON []byte // the line as it stands, without its newline
}

// LogReader reads the rows of a log over all its files, the oldest first. It
// needs no daemon and does not disturb one that writes.
type LogReader struct {
	// Broken is how many lines were skipped because they are no row: torn,
	// without a time, or longer than a row can be.
	Broken int

	path string
	err  error
}

// maxRow is far above any row that is written.
const maxRow = 1 << 20

// ReadLog returns a reader of the log at path. A log that does not exist has
// no rows.
func ReadLog(path string) *LogReader { return &LogReader{path: path} }

// Err returns what ended the last reading early; nil if nothing did.
func (r *LogReader) Err() error { return r.err }

// Rows yields the rows that q selects. Each row is the reader's own and may be
// kept.
func (r *LogReader) Rows(q LogQuery) iter.Seq[LogRow] {
	if q.Tail > 0 {
		tail := q.Tail
		q.Tail = 0
		return func(yield func(LogRow) bool) {
			var last []LogRow
			for row := range r.Rows(q) {
				if len(last) == tail {
					last = last[1:]
				}
				last = append(last, row)
			}
			for _, row := range last {
				if !yield(row) {
					return
				}
			}
		}
	}
	return func(yield func(LogRow) bool) {
		r.Broken, r.err = 0, nil
		files, err := openAll(r.path)
		defer func() {
			for _, f := range files {
				_ = f.Close() // only read
			}
		}()
		if r.err = err; err != nil {
			return
		}
		for _, f := range files {
			if !r.read(f, q, yield) {
				return
			}
		}
	}
}

// openAll opens a log's files, the oldest first. They are opened from the
// newest to the oldest: a rotation in between then shows a file twice, which
// is seen, where the other order would miss one.
func openAll(path string) ([]*os.File, error) {
	var files []*os.File
	var infos []os.FileInfo
	for n := 0; ; n++ {
		name := path
		if n > 0 {
			name = rotated(path, n)
		}
		f, err := os.Open(name)
		if errors.Is(err, os.ErrNotExist) {
			if n == 0 {
				continue // just rotated, or deleted by somebody
			}
			break
		}
		if err != nil {
			return files, err
		}
		info, err := f.Stat()
		if err != nil || slices.ContainsFunc(infos, func(i os.FileInfo) bool { return os.SameFile(i, info) }) {
			_ = f.Close() // only opened
			if err != nil {
				return files, err
			}
			continue
		}
		files, infos = append(files, f), append(infos, info)
	}
	slices.Reverse(files)
	return files, nil
}

// read yields the rows of one file; false when the caller has enough.
func (r *LogReader) read(f io.Reader, q LogQuery, yield func(LogRow) bool) bool {
	lines := bufio.NewReaderSize(f, maxRow)
	for {
		line, err := lines.ReadSlice('\n')
		tooLong := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = lines.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			r.err = err
			return false
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			row, ok := readRow(line)
			switch {
			case tooLong || !ok:
				r.Broken++
			case row.At.Before(q.Since) || !bytes.Contains(line, []byte(q.Filter)):
			default:
				row.JSON = bytes.Clone(line)
				if !yield(row) {
					return false
				}
			}
		}
		if err != nil {
			return true
		}
	}
}

func readRow(line []byte) (LogRow, bool) {
	var head struct {
		TS string `json:"ts"`
	}
	if json.Unmarshal(line, &head) != nil {
		return LogRow{}, false
	}
	at, err := drey.ParseTime(head.TS)
	return LogRow{At: at}, err == nil
}

// LogSummary is what a log says on the whole.
type LogSummary struct {
	Rows        int
	Broken      int
	First, Last time.Time                 // of the rows; zero if there are none
	Counts      map[string]map[string]int // rows by field and value
	Sums        map[string]float64        // of number fields
}

// SummaryFields are the fields that a summary counts and sums; one inside an
// object is written with a dot.
type SummaryFields struct{ Count, Sum []string }

// AuditSummary and RequestSummary are the fields that matter in the two logs.
var (
	AuditSummary   = SummaryFields{Count: []string{"event", "level"}}
	RequestSummary = SummaryFields{
		Count: []string{"outcome", "provider", "profile", "wire", "status"},
		Sum:   []string{"tokens.input", "tokens.output", "tokens.cache_read", "tokens.cache_write", "cost_usd", "savings_usd", "ms"},
	}
)

// Summarize reads the rows that q selects and counts them. A row that lacks a
// field is not counted under it.
func (r *LogReader) Summarize(q LogQuery, fields SummaryFields) (LogSummary, error) {
	s := LogSummary{Counts: map[string]map[string]int{}, Sums: map[string]float64{}}
	for row := range r.Rows(q) {
		s.Rows++
		if s.First.IsZero() || row.At.Before(s.First) {
			s.First = row.At
		}
		if row.At.After(s.Last) {
			s.Last = row.At
		}
		var object map[string]any
		dec := json.NewDecoder(bytes.NewReader(row.JSON))
		dec.UseNumber()
		if dec.Decode(&object) != nil {
			continue // it was an object a moment ago, in readRow
		}
		for _, name := range fields.Count {
			if v := text(field(object, name)); v != "" {
				if s.Counts[name] == nil {
					s.Counts[name] = map[string]int{}
				}
				s.Counts[name][v]++
			}
		}
		for _, name := range fields.Sum {
			if n, ok := field(object, name).(json.Number); ok {
				if f, err := n.Float64(); err == nil {
					s.Sums[name] += f
				}
			}
		}
	}
	s.Broken = r.Broken
	return s, r.Err()
}

// field returns the value at a path of keys.
func field(object map[string]any, path string) any {
	key, rest, deeper := strings.Cut(path, ".")
	if !deeper {
		return object[key]
	}
	inner, _ := object[key].(map[string]any)
	return field(inner, rest)
}

// text returns a value as a summary names it; "" for what is no plain value.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		if v {
			return "true"
		}
		return "false"
	default:
		return ""
	}
}
