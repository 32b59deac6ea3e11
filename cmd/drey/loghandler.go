package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// logHandler writes for people on a terminal, and JSON for programs otherwise.
func (c *cli) logHandler(level slog.Leveler) slog.Handler {
	f, ok := c.stderr.(*os.File)
	if c.json || !ok || !term.IsTerminal(int(f.Fd())) {
		return slog.NewJSONHandler(c.stderr, &slog.HandlerOptions{Level: level})
	}
	colour := os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return &peopleHandler{out: &lockedWriter{w: c.stderr}, level: level, colour: colour}
}

// peopleHandler is a slog.Handler that writes a record as a person reads it:
//
//	15:04:05 WARN  config-rejected  source=/home/x/drey.yaml errors=2
//
// slog's own TextHandler puts keys before time, level and message and the date
// before each line, which is for programs to take apart again.
type peopleHandler struct {
	out    *lockedWriter
	level  slog.Leveler
	colour bool

	prefix string // of keys: the groups that are open, "a.b."
	attrs  string // those of WithAttrs, as they are written
}

// lockedWriter is shared by a handler and those derived from it, so that each
// line stays whole.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

// Enabled reports whether a level is shown.
func (h *peopleHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

// Handle writes one line.
func (h *peopleHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	if !r.Time.IsZero() {
		b.WriteString(h.paint(faint, r.Time.Format(time.TimeOnly)) + " ")
	}
	level := r.Level.String()
	pad := strings.Repeat(" ", max(0, 5-len(level)))
	switch {
	case r.Level >= slog.LevelError:
		level = h.paint(red, level)
	case r.Level >= slog.LevelWarn:
		level = h.paint(yellow, level)
	}
	b.WriteString(level + pad + " " + printable(r.Message))
	if h.attrs != "" || r.NumAttrs() > 0 {
		b.WriteByte(' ')
	}
	b.WriteString(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		h.appendAttr(&b, h.prefix, a)
		return true
	})
	b.WriteByte('\n')
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	_, err := io.WriteString(h.out.w, b.String())
	return err
}

// WithAttrs returns a handler that adds attrs to each record.
func (h *peopleHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var b strings.Builder
	for _, a := range attrs {
		h.appendAttr(&b, h.prefix, a)
	}
	with := *h
	with.attrs += b.String()
	return &with
}

// WithGroup returns a handler that puts the keys that follow under a name.
func (h *peopleHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	with := *h
	with.prefix += name + "."
	return &with
}

// appendAttr writes " key=value"; groups become prefixes, and an empty
// attribute nothing, as slog.Handler asks for.
func (h *peopleHandler) appendAttr(b *strings.Builder, prefix string, a slog.Attr) {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, inner := range v.Group() {
			h.appendAttr(b, prefix, inner)
		}
		return
	}
	if a.Equal(slog.Attr{}) {
		return
	}
	b.WriteString(" " + h.paint(faint, printable(prefix+a.Key)+"=") + quoted(v.String()))
}

// paint colours a text, if there are colours.
func (h *peopleHandler) paint(code, s string) string {
	if !h.colour {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// Codes of ECMA-48, select graphic rendition.
const (
	faint  = "2"
	red    = "31"
	yellow = "33"
)
