package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"

	"github.com/dreyhq/drey/internal/redact"
)

// know adds the secrets of a generation to those that no sink may show. What
// was a secret once stays one: requests under way end on the generation on
// which they began, and old keys stand in the answers of providers. It is
// called before anything can use the generation.
func (d *Daemon) know(gen *generation) {
	for _, s := range gen.secrets {
		if !slices.Contains(d.secrets, s) {
			d.secrets = append(d.secrets, s)
		}
	}
	d.redactor.Store(redact.New(d.secrets...))
}

func (d *Daemon) redactString(s string) string { return d.redactor.Load().String(s) }

func (d *Daemon) redactBytes(b []byte) []byte { return d.redactor.Load().Bytes(b) }

// redacting takes secrets out of every line of the log, whoever wrote it: one
// place that cannot be forgotten, in place of many that can.
type redacting struct {
	slog.Handler
	redact func(string) string
}

// Handle implements slog.Handler.
func (h *redacting) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, h.redact(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(h.attr(a))
		return true
	})
	return h.Handler.Handle(ctx, clean)
}

// WithAttrs implements slog.Handler.
func (h *redacting) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = h.attr(a)
	}
	return &redacting{h.Handler.WithAttrs(clean), h.redact}
}

// WithGroup implements slog.Handler.
func (h *redacting) WithGroup(name string) slog.Handler {
	return &redacting{h.Handler.WithGroup(name), h.redact}
}

func (h *redacting) attr(a slog.Attr) slog.Attr {
	switch v := a.Value.Resolve(); v.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(h.redact(v.String()))
	case slog.KindGroup:
		group := make([]slog.Attr, len(v.Group()))
		for i, inner := range v.Group() {
			group[i] = h.attr(inner)
		}
		a.Value = slog.GroupValue(group...)
	case slog.KindAny:
		a.Value = h.any(v.Any())
	}
	return a
}

// any leaves a value without a secret as it is, so that it is written in its
// own form.
func (h *redacting) any(v any) slog.Value {
	if err, ok := v.(error); ok {
		return slog.StringValue(h.redact(err.Error()))
	}
	text, err := json.Marshal(v)
	if err != nil {
		text = fmt.Append(nil, v)
	}
	if clean := h.redact(string(text)); clean != string(text) || err != nil {
		return slog.StringValue(clean)
	}
	return slog.AnyValue(v)
}
