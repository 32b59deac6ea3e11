package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/slogtest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPeopleHandlerKeepsTheRules(t *testing.T) {
	var out bytes.Buffer
	slogtest.Run(t, func(t *testing.T) slog.Handler {
		out.Reset()
		return &peopleHandler{out: &lockedWriter{w: &out}, level: slog.LevelInfo}
	}, func(t *testing.T) map[string]any { return parseLine(t, out.String()) })
}

// parseLine reads "15:04:05 INFO  message  a.b=c" into nested maps.
func parseLine(t *testing.T, line string) map[string]any {
	t.Helper()
	line, ok := strings.CutSuffix(line, "\n")
	if !ok || strings.Contains(line, "\n") {
		t.Fatalf("%q is not one line", line)
	}
	m := map[string]any{}
	if at, rest, _ := strings.Cut(line, " "); strings.Count(at, ":") == 2 {
		m[slog.TimeKey], line = at, rest
	}
	level, rest, _ := strings.Cut(line, " ")
	m[slog.LevelKey] = level
	msg, attrs, _ := strings.Cut(strings.TrimLeft(rest, " "), "  ")
	m[slog.MessageKey] = msg
	for _, attr := range strings.Fields(attrs) {
		key, value, _ := strings.Cut(attr, "=")
		at := m
		parts := strings.Split(key, ".")
		for _, p := range parts[:len(parts)-1] {
			if at[p] == nil {
				at[p] = map[string]any{}
			}
			at = at[p].(map[string]any)
		}
		at[parts[len(parts)-1]] = value
	}
	return m
}

func TestPeopleHandlerLines(t *testing.T) {
	at := time.Date(2026, 1, 2, 15, 4, 5, 0, time.Local)
	lines := func(colour bool) string {
		var out bytes.Buffer
		level := new(slog.LevelVar)
		h := slog.Handler(&peopleHandler{out: &lockedWriter{w: &out}, level: level, colour: colour})
		log := func(h slog.Handler, l slog.Level, msg string, args ...any) {
			if !h.Enabled(t.Context(), l) {
				return
			}
			r := slog.NewRecord(at, l, msg, 0)
			r.Add(args...)
			if err := h.Handle(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		log(h, slog.LevelDebug, "not shown")
		log(h, slog.LevelInfo, "drey-startup", "addr", "127.0.0.1:3739", "version", "v1")
		log(h, slog.LevelWarn, "config-rejected", "errors", []string{"a b", "c"})
		log(h.WithAttrs([]slog.Attr{slog.String("provider", "nest")}).WithGroup("last"), slog.LevelError, "bad", "error", "evil \x1b[2J \"text\"", "empty", "")
		level.Set(slog.LevelDebug)
		log(h, slog.LevelDebug, "shown\nnow")
		return out.String()
	}
	want := `15:04:05 INFO  drey-startup  addr=127.0.0.1:3739 version=v1
15:04:05 WARN  config-rejected  errors="[a b c]"
15:04:05 ERROR bad  provider=nest last.error="evil \x1b[2J \"text\"" last.empty=""
15:04:05 DEBUG shown\nnow
`
	if diff := cmp.Diff(want, lines(false)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	painted := lines(true)
	if !strings.Contains(painted, "\x1b[31mERROR\x1b[0m") || !strings.Contains(painted, "\x1b[33mWARN\x1b[0m") {
		t.Errorf("no colours: %q", painted)
	}
	for _, code := range []string{faint, red, yellow, "0"} {
		painted = strings.ReplaceAll(painted, "\x1b["+code+"m", "")
	}
	if diff := cmp.Diff(want, painted); diff != "" {
		t.Errorf("colours change more than colour (-want +got):\n%s", diff)
	}
}

// TestLogsForPrograms: what is no terminal gets JSON.
func TestLogsForPrograms(t *testing.T) {
	var out bytes.Buffer
	c := newCLI(nil, nil, &out)
	if _, ok := c.logHandler(slog.LevelInfo).(*slog.JSONHandler); !ok {
		t.Error("a buffer is taken for a terminal")
	}
}
