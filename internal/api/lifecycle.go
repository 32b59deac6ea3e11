package api

import "github.com/dreyhq/drey"

// Codes of the control API's errors about the lifecycle (the lifecycle
// contract §9). All of them are conflicts, 409.
const (
	CodeNotIdle         = "not_idle"          // work is under way, and nobody said force
	CodeQuarantined     = "quarantined"       // a step has failed three times, and nobody said force
	CodeCycleFailed     = "cycle_failed"      // a step failed; the journal and the log say why
	CodeInterrupted     = "interrupted"       // work came, and the cycle has given way
	CodeMayNotSleep     = "may_not_sleep"     // the table has no way from here
	CodeMayNotHibernate = "may_not_hibernate" // a condition of hibernating does not hold; it is named
	CodeNotSaved        = "not_saved"         // the disk refuses the record; the state is the old one, and the daemon goes on trying
)

// Lifecycle is how the daemon's lifecycle stands: GET /lifecycle, and what
// `drey lifecycle status` reads from the files where no daemon runs. The keys
// that the record has too are the record's own.
type Lifecycle struct {
	State        string        `json:"state" enum:"WAKE,DROWSY,SLEEP,HIBERNATION"`
	Since        string        `json:"since"`
	LastActivity string        `json:"last_activity"`
	Seq          int64         `json:"wrapper_event_seq" doc:"how often somebody was there: it rises with each recorded activity"`
	Progress     *Progress     `json:"sleep_cycle_progress" doc:"of the sleep cycle that is not complete; null = none"`
	Quarantine   *Quarantine   `json:"quarantine" doc:"why the sleep cycle pauses; null = it does not"`
	ShadowRun    bool          `json:"shadow_run"`
	LastCycle    *LastCycle    `json:"last_cycle" doc:"the sleep cycle that was completed last; null = none"`
	Daemon       string        `json:"daemon" doc:"running pid=N, or not running"`
	MayHibernate *MayHibernate `json:"may_hibernate,omitempty" doc:"absent where no daemon runs"`
	Next         *Next         `json:"next,omitempty" doc:"the next idle event, if nothing comes before; absent = none is due"`
	Step         string        `json:"step,omitempty" doc:"the step of the sleep cycle that runs now"`
	Visitor      string        `json:"visitor,omitempty" doc:"who came last to the agents' door without work: such as a scraper"`
	Polling      bool          `json:"polling,omitempty" doc:"the system does not tell of new files, so the daemon looks now and then"`
}

// Progress is how far an unfinished sleep cycle has come.
type Progress struct {
	LastCompletedStep int     `json:"last_completed_step"`
	Attempt           int     `json:"attempt" doc:"failed tries of the step after it"`
	LastError         *string `json:"last_error"`
	StartedAt         string  `json:"started_at"`
}

// Quarantine keeps a sleep cycle from being tried.
type Quarantine struct {
	Until  string `json:"until_ts"`
	Reason string `json:"reason"`
	Since  string `json:"since_ts"`
}

// LastCycle is a sleep cycle that was completed.
type LastCycle struct {
	CompletedAt string  `json:"completed_at"`
	DurationSec float64 `json:"duration_sec"`
	Mode        string  `json:"mode" doc:"sleep, backstop or forced"`
	Seq         int64   `json:"seq" doc:"wrapper_event_seq at its end: while it is still the same, nobody has been there since"`
}

// MayHibernate says whether the process may end when it is idle.
type MayHibernate struct {
	May     bool     `json:"may"`
	By      string   `json:"by,omitempty" doc:"who would wake it"`
	Because []string `json:"because,omitempty" doc:"what keeps it from it"`
}

// Next is an idle event that is due.
type Next struct {
	Event string `json:"event"`
	At    string `json:"at"`
}

// Wake is the body of POST /lifecycle/wake. It may be left out.
type Wake struct {
	Reason string `json:"reason,omitempty" maxLength:"200" doc:"why, for those who ask later"`
}

// Sleep is the body of POST /lifecycle/sleep. It may be left out.
type Sleep struct {
	Force  bool `json:"force,omitempty" doc:"run the sleep cycle although it is quarantined or clean, or work is under way"`
	NoWait bool `json:"no_wait,omitempty" doc:"answer when it has begun"`
}

// Slept is what POST /lifecycle/sleep answers: one row for each step that ran.
type Slept struct {
	Clean     bool        `json:"clean,omitempty" doc:"a cycle was clean already; nothing was run"`
	Started   bool        `json:"started,omitempty" doc:"no_wait: it has begun"`
	Steps     []SleepStep `json:"steps"`
	Lifecycle Lifecycle   `json:"lifecycle"`
}

// SleepStep is one step of a sleep cycle.
type SleepStep struct {
	Number      int     `json:"step_num"`
	Of          int     `json:"of"`
	Name        string  `json:"step"`
	DurationSec float64 `json:"duration_sec"`
	Skipped     string  `json:"skipped,omitempty" doc:"why there was nothing to do"`
	Error       string  `json:"error,omitempty"`
}

// Lifted is what DELETE /lifecycle/quarantine answers.
type Lifted struct {
	Changed   bool      `json:"changed" doc:"false if there was no quarantine"`
	Lifecycle Lifecycle `json:"lifecycle"`
}

// MessageHibernating is the live message with which streams end when the
// process goes into HIBERNATION. Whoever reads it comes back when a person
// acts, or it would wake the daemon for ever.
const MessageHibernating = "hibernating"

// Hibernating is that message.
type Hibernating struct {
	Seq drey.Seq `json:"seq" doc:"resume after it"`
}
