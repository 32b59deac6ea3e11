package daemon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/config"
	"github.com/dreyhq/drey/internal/discover"
	"github.com/dreyhq/drey/internal/fake"
	"github.com/dreyhq/drey/internal/gateway"
	"github.com/dreyhq/drey/internal/healing"
	"github.com/dreyhq/drey/internal/server"
	"github.com/dreyhq/drey/internal/spend"
	"github.com/dreyhq/drey/internal/statedir"
)

// generation is one configuration in force, with all that follows from it.
type generation struct {
	file     *config.File
	source   string // the file's path, or zeroConfig
	at       time.Time
	zero     bool // there is no file
	demo     bool // zero-config, and only the demo answers
	looking  bool // zero-config, and no local server answered: it looks again
	settings gateway.Settings
	doors    server.Doors
	healing  healing.Settings
	budgets  spend.Policy
	store    string   // its address, password and all; "" = the embedded one
	secrets  []string // the values, for the redactor
	warnings []string
	restart  []string // keys whose change waits for a restart
	sum      [sha256.Size]byte
}

// zeroConfig is what stands for a file where there is none.
const zeroConfig = "zero-config"

// loader makes generations. load is called one at a time; find and changed may
// be called beside it.
type loader struct {
	opts     Options
	home     statedir.Home
	env      func(string) (string, bool)
	userHome string
	find     func(ctx context.Context) []discover.Found

	redact func(string) string // given to what talks to providers; nil where nothing will
	pinned *config.File        // the first file: what of it only a restart changes; nil before there is one
	local  []discover.Found    // servers that zero-config has found before
}

func newLoader(o Options, home statedir.Home) *loader {
	l := &loader{opts: o, home: home, env: o.Env, find: o.Look}
	if l.env == nil {
		l.env = os.LookupEnv
	}
	l.userHome, _ = l.env("HOME")
	if l.find == nil {
		l.find = func(ctx context.Context) []discover.Found {
			return discover.Detect(ctx, discover.Options{Getenv: func(name string) string { v, _ := l.env(name); return v }})
		}
	}
	return l
}

// path is the file that is read if it is there: the one that was named, else
// the home's own.
func (l *loader) path() string {
	if l.opts.Config != "" {
		return config.ExpandHome(l.opts.Config, l.userHome)
	}
	if named, _ := l.env("DREY_CONFIG"); named != "" {
		return config.ExpandHome(named, l.userHome)
	}
	return l.home.Config()
}

// named reports whether somebody named the file: then it must be there.
func (l *loader) named() bool {
	env, _ := l.env("DREY_CONFIG")
	return l.opts.Config != "" || env != ""
}

// lockWait is how long a start waits for a predecessor. The file is read for
// it before it counts; whatever is wrong with it is told when it does.
func (l *loader) lockWait() time.Duration {
	if data, err := os.ReadFile(l.path()); err == nil {
		if f, _, err := config.Parse(l.path(), data, l.options()); err == nil {
			return f.Lifecycle.LockWait.D()
		}
	}
	return config.Default().Lifecycle.LockWait.D()
}

// options are how files are read here.
func (l *loader) options() config.Options {
	return config.Options{Env: l.env, Home: l.userHome, Demo: func(url string) error {
		_, err := l.playDemo(url, false)
		return err
	}}
}

// playDemo returns who plays a provider whose URL begins with demo:. To a
// newcomer it tells that no model was found.
func (l *loader) playDemo(url string, newcomer bool) (http.RoundTripper, error) {
	if l.opts.Demo != nil {
		return l.opts.Demo(url)
	}
	return fake.Demo(url, fake.DemoOptions{Newcomer: newcomer})
}

// load builds a whole generation and checks it, without touching anything.
func (l *loader) load(ctx context.Context) (*generation, error) {
	gen := &generation{at: time.Now(), source: l.path()}
	data, err := os.ReadFile(gen.source)
	switch {
	case err == nil:
		var warnings []config.Warning
		gen.sum = sha256.Sum256(data)
		gen.file, warnings, err = config.Parse(gen.source, data, l.options())
		if err != nil {
			return nil, configError(err)
		}
		for _, w := range warnings {
			gen.warnings = append(gen.warnings, w.String())
		}
	case errors.Is(err, os.ErrNotExist) && !l.named():
		gen.zero, gen.source = true, zeroConfig
		if err := l.zeroConfig(ctx, gen); err != nil {
			return nil, configError(err)
		}
	default:
		return nil, &drey.Error{Class: drey.Caller, Code: "config", Op: "read configuration", Err: err,
			Hint: "a file that is named (as an argument, by --config or by DREY_CONFIG) must be there and readable"}
	}
	l.pin(gen)
	return gen, l.compile(gen)
}

// pin keeps in force what only a restart changes, and lists what waits for one:
// the keys that the configuration marks so, and those of what is opened once.
// The comparison is with the first file and not with the last one, since a
// change goes on waiting while the file is loaded again for other reasons.
func (l *loader) pin(gen *generation) {
	if l.pinned == nil {
		return
	}
	was, now := l.pinned, *gen.file
	gen.restart = config.NeedsRestart(was, gen.file)
	for _, once := range []struct {
		key      string
		was, now any
	}{
		{"logs.audit", was.Logs.Audit, now.Logs.Audit},
		{"logs.audit_max_mb", was.Logs.AuditMaxMB, now.Logs.AuditMaxMB},
		{"logs.requests", was.Logs.Requests, now.Logs.Requests},
		{"logs.requests_max_mb", was.Logs.RequestsMaxMB, now.Logs.RequestsMaxMB},
		{"logs.keep", was.Logs.Keep, now.Logs.Keep},
		{"telemetry.metrics", was.Telemetry.Metrics, now.Telemetry.Metrics},
	} {
		if once.was != once.now {
			gen.restart = append(gen.restart, once.key)
		}
	}
	level, capture, captureMax := now.Logs.Level, now.Logs.Capture, now.Logs.CaptureMaxMB
	now.Listen, now.Store, now.Logs, now.Telemetry = was.Listen, was.Store, was.Logs, was.Telemetry
	now.Logs.Level, now.Logs.Capture, now.Logs.CaptureMaxMB = level, capture, captureMax
	now.Lifecycle.ShadowRun, now.Lifecycle.LockWait = was.Lifecycle.ShadowRun, was.Lifecycle.LockWait
	gen.file = &now
}

// compile derives what the gateway and the doors are built from.
func (l *loader) compile(gen *generation) error {
	c := &compiler{secrets: secrets{env: l.env, userHome: l.userHome}, version: l.opts.Version, redact: l.redact}
	c.demo = func(url string) (http.RoundTripper, error) { return l.playDemo(url, gen.demo) }
	var err error
	if gen.settings, err = c.settings(gen.file); err != nil {
		return configError(err)
	}
	if gen.doors, err = c.doors(gen.file); err != nil {
		return configError(err)
	}
	if gen.healing, err = c.healing(gen.file, gen.settings.Providers, l.home.Root(), l.home.ProcessLog); err != nil {
		return configError(err)
	}
	gen.budgets = policyOfMoney(gen.file)
	if gen.store, err = c.storeURL(gen.file.Store); err != nil {
		return configError(err)
	}
	gen.secrets = c.known
	gen.warnings = append(gen.warnings, c.warnings...)
	return nil
}

// changed reports whether the file says something else than a generation.
func (l *loader) changed(gen *generation) bool {
	data, err := os.ReadFile(l.path())
	if err != nil {
		// Gone for good, or between two steps of an editor: what is in force
		// stays until there is a file to read.
		return false
	}
	return gen.zero || sha256.Sum256(data) != gen.sum
}

// Show tells the configuration that a daemon would start with: the parsed
// file, where it came from, and its warnings. Nothing is built from it.
func Show(ctx context.Context, o Options) (f *config.File, source string, warnings []string, err error) {
	gen, err := newLoader(o, statedir.At(o.Home)).load(ctx)
	if err != nil {
		return nil, "", nil, err
	}
	return gen.file, gen.source, gen.warnings, nil
}

// effective writes the settings in force as JSON.
func effective(f *config.File) json.RawMessage {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(f.Effective()) // strings only: it cannot fail
	return bytes.TrimSpace(b.Bytes())
}

// place is where in a file an error stands.
func place(e *config.Error) string {
	at := e.Path
	if e.Line > 0 {
		at = fmt.Sprintf("%s:%d:%d", e.File, e.Line, e.Column)
		if e.Path != "" {
			at += ": " + e.Path
		}
	}
	return at
}

func slogLevel(l drey.Level) slog.Level {
	switch l {
	case drey.Debug:
		return slog.LevelDebug
	case drey.Warn:
		return slog.LevelWarn
	case drey.ErrorLevel:
		return slog.LevelError
	default:
		return slog.LevelInfo
	}
}
