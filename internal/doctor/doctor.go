// Package doctor looks at a home and says what is wrong with it, and mends what
// can be mended without a person's decision. It runs in the CLI's own process:
// it reads the files, and asks a daemon that runs; it starts and wakes none
// unless that is the mend. A check passes with a fact that was seen, never
// because something was absent.
//
// It also examines providers (Visit): it puts the questions of internal/exam to
// them, beside any daemon.
package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/lifecycle"
	"github.com/dreyhq/drey/internal/statedir"
)

// Verdict is what a check came to.
type Verdict string

// The verdicts.
const (
	Pass Verdict = "PASS"
	Warn Verdict = "WARN" // it works, and wants attention
	Fail Verdict = "FAIL"
)

// Finding is the outcome of one check.
type Finding struct {
	Check   string  `json:"check"`
	Verdict Verdict `json:"verdict"`
	Text    string  `json:"text"`            // the fact that was seen
	Mend    string  `json:"mend,omitempty"`  // what to do about it
	Fixed   bool    `json:"fixed,omitempty"` // it was wrong, and has been mended just now
}

// Daemon is what a daemon that runs tells. Calls must end with ctx.
type Daemon interface {
	Lifecycle(ctx context.Context) (api.Lifecycle, error)
	Status(ctx context.Context) (api.Status, error)
}

// Config is what a doctor works with.
type Config struct {
	Home statedir.Home
	// Dial connects to the daemon; an error says that none answers.
	Dial func(ctx context.Context) (Daemon, error)
	// Listens reports whether somebody listens on the gateway's address. It
	// must not connect: that would wake a daemon.
	Listens func() (addr string, somebody bool, err error)
	// Configuration reads the configuration and returns where it came from.
	Configuration func() (source string, err error)
	// Start starts `drey up` in the background. It is the mend where a daemon
	// hibernates and nobody is there to wake it.
	Start func(ctx context.Context) error
	// Free returns how many bytes the user may still write below a directory.
	// nil = what the system says.
	Free func(dir string) (uint64, error)
	// Filesystem returns an error if the home lies on a file system whose locks
	// cannot be trusted.
	Filesystem func(dir string) error
	Fix        bool             // mend what can be mended
	Now        func() time.Time // nil = time.Now
	// Patience is how long one question to a daemon may take; 0 = 3 s.
	// Source: the lifecycle contract §9.
	Patience time.Duration
}

// visit is one look at one home: what several checks need, read once.
type visit struct {
	Config
	now     time.Time
	record  lifecycle.Record
	corrupt error // why the record could not be read; nil = it was, or there is none
	fresh   bool  // there is none
	holder  statedir.Holder
	locked  bool
	unheld  error          // why it cannot be told whether somebody holds the home
	daemon  *api.Lifecycle // nil = no daemon answers
	status  api.Status     // with daemon
	silent  error          // why a daemon that holds the lock does not answer
}

// check is one thing to look at. mend is nil where only a person can, or where
// nothing is wrong.
type check struct {
	name string
	look func(ctx context.Context, v *visit) (f Finding, mend func(context.Context) error)
}

// checks are all of them, in the order in which a person wants to read them:
// what stops the daemon first.
var checks = []check{
	{"home", lookAtHome}, {"filesystem", lookAtFilesystem}, {"disk", lookAtDisk}, {"configuration", lookAtConfiguration}, {"record", lookAtRecord}, {"daemon", lookAtDaemon},
	{"hibernation", lookAtHibernation}, {"address", lookAtAddress}, {"waker", lookAtWaker}, {"event log", lookAtEventLog}, {"log archives", lookAtArchives},
	{"store", lookAtStore}, {"sleep cycle", lookAtCycle}, {"quarantine", lookAtQuarantine}, {"backup", lookAtBackup},
	{"clock", lookAtClock}, {"wakes", lookAtWakes}, {"notification", lookAtNotification},
}

// tries is how often a daemon that does not answer is asked, before it counts
// as silent. Source: the lifecycle contract §9.
const tries = 3

// Look does all checks, and mends where Config.Fix says so.
func Look(ctx context.Context, c Config) []Finding {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Free == nil {
		c.Free = free
	}
	if c.Patience == 0 {
		c.Patience = 3 * time.Second
	}
	v := &visit{Config: c}
	v.see(ctx)
	var all []Finding
	for _, k := range checks {
		f, mend := k.look(ctx, v)
		f.Check = k.name
		if mend != nil && c.Fix && f.Verdict != Pass {
			if err := mend(ctx); err != nil {
				f.Text += "; it could not be mended: " + err.Error()
			} else {
				f.Fixed, f.Verdict, f.Mend = true, Pass, ""
				v.see(ctx) // later checks see what is so now
			}
		}
		all = append(all, f)
	}
	return all
}

// see reads what the checks share.
func (v *visit) see(ctx context.Context) {
	v.now = v.Now()
	v.record, v.corrupt = statedir.ReadLifecycle(v.Home, v.now)
	_, err := os.Stat(v.Home.Lifecycle())
	v.fresh = errors.Is(err, fs.ErrNotExist)
	v.holder, v.locked, v.unheld = statedir.Locked(v.Home.Lock())
	v.daemon, v.silent = nil, nil
	for range tries {
		if v.silent = v.ask(ctx); v.silent == nil || !v.locked || ctx.Err() != nil {
			return
		}
	}
}

func (v *visit) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, v.Patience)
	defer cancel()
	d, err := v.Dial(ctx)
	if err != nil {
		return err
	}
	l, err := d.Lifecycle(ctx)
	if err != nil {
		return err
	}
	st, err := d.Status(ctx)
	if err == nil {
		v.daemon, v.status = &l, st
	}
	return err
}

// Worst returns the worst verdict of findings; Pass for none.
func Worst(all []Finding) Verdict {
	worst := Pass
	for _, f := range all {
		worst = Worse(worst, f.Verdict)
	}
	return worst
}

// Worse returns the worse of two verdicts.
func Worse(a, b Verdict) Verdict {
	if a == Fail || b == Pass {
		return a
	}
	return b
}

func pass(text string) (Finding, func(context.Context) error) {
	return Finding{Verdict: Pass, Text: text}, nil
}

func warn(text, mend string) (Finding, func(context.Context) error) {
	return Finding{Verdict: Warn, Text: text, Mend: mend}, nil
}

func fail(text, mend string) (Finding, func(context.Context) error) {
	return Finding{Verdict: Fail, Text: text, Mend: mend}, nil
}

func isCorrupt(err error) bool { return errors.Is(err, statedir.ErrCorrupt) }
