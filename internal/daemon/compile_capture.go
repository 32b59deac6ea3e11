package daemon

import (
	"github.com/dreyhq/drey/internal/config"
	"github.com/dreyhq/drey/internal/gateway"
	"github.com/dreyhq/drey/internal/redact"
	"github.com/dreyhq/drey/internal/server"
)

// captureSettings say what of requests is kept with their bodies.
func captureSettings(l *config.Logs) gateway.CaptureSettings {
	return gateway.CaptureSettings{
		Mode: map[string]gateway.CaptureMode{"errors": gateway.CaptureErrors, "all": gateway.CaptureAll}[l.Capture],
		Most: int64(l.CaptureMaxMB) << 20,
	}
}

// newCaptures takes what the gateway captures to the store.
func (d *Daemon) newCaptures() *gateway.Captures {
	return gateway.NewCaptures(gateway.CapturesConfig{
		Store: d.store, Redactor: func() *redact.Redactor { return d.redactor.Load() }, Log: d.log,
	})
}

// capturesOf is the store's captures with what the configuration says of them.
type capturesOf struct {
	kept
	d *Daemon
}

// Capturing implements server.Captures.
func (c capturesOf) Capturing() string { return c.d.conf.Load().file.Logs.Capture }

var _ server.Captures = capturesOf{}
