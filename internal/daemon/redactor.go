package daemon

import (
	"github.com/dreyhq/drey/internal/redact"
	"github.com/dreyhq/drey/internal/statedir"
)

// redactor takes the secrets of one generation out of every sink. It is
// replaced as a whole by a reload.
type redactor struct{ *redact.Redactor }

func newRedactor(known []string) *redactor { return &redactor{redact.New(known...)} }

func (d *Daemon) redactString(s string) string { return d.redactor.Load().String(s) }

func (d *Daemon) redactBytes(b []byte) []byte { return d.redactor.Load().Bytes(b) }

// logs are the logs that are on.
func (d *Daemon) logs() []*statedir.Log {
	var on []*statedir.Log
	for _, l := range []*statedir.Log{d.audit, d.requests} {
		if l != nil {
			on = append(on, l)
		}
	}
	return on
}
