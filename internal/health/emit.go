package health

import (
	"math"
	"time"

	"github.com/dreyhq/drey"
)

// emit publishes an event of the healing contract §11. provider comes first in each.
func (s *step) emit(name string, level drey.Level, from, to string, fields ...drey.Field) {
	s.do(Emit{drey.Event{
		At: s.at, Name: name, Level: level,
		Machine: "provider", ID: string(s.p.Provider),
		From: from, To: to, Trigger: triggerOf(from, s.trigger),
		Cause: s.meta.Cause, RequestID: s.meta.RequestID,
		Fields: append([]drey.Field{drey.F("provider", s.p.Provider)}, fields...),
	}})
}

// triggerOf leaves the trigger out where no state moved.
func triggerOf(from, trigger string) string {
	if from == "" {
		return ""
	}
	return trigger
}

// emitProbe tells the outcome of a probe or of a trial that served as one.
func (s *step) emitProbe(ok bool, next, latency time.Duration, depth Depth, errText string) {
	s.emit("self-healing-recovery-probe", drey.Info, "", "",
		drey.F("success", ok), drey.F("next_interval_s", seconds(next)), drey.F("latency_ms", latency.Milliseconds()),
		drey.F("depth", depth.String()), drey.F("error", textOrNil(ok, errText)))
}

// emitRestart tells the outcome of a restart.
func (s *step) emitRestart(ok bool, errText string, d time.Duration) {
	level := drey.Info
	if !ok {
		level = drey.Warn
	}
	s.emit("self-healing-restart", level, "", "",
		drey.F("command", s.p.Command), drey.F("success", ok), drey.F("error", textOrNil(ok, errText)),
		drey.F("duration_ms", max(d, 0).Milliseconds()))
}

// act records a person's act.
func (s *step) act(action, reason string) {
	s.emit("operator-action", drey.Info, "", "", drey.F("action", action), drey.F("reason", reason))
}

// textOrNil writes the error of a success as null.
func textOrNil(ok bool, text string) any {
	if ok {
		return nil
	}
	return text
}

// seconds writes a span as a number of seconds.
func seconds(d time.Duration) float64 { return d.Seconds() }

// tenths writes a span as a number of seconds with one decimal.
func tenths(d time.Duration) float64 { return math.Round(d.Seconds()*10) / 10 }

// DroppedEvent returns the health-state-dropped event of a persisted row that
// cannot be taken up: its provider is not in the configuration any more, or
// the row is broken (reason "unknown-provider" or "broken").
func DroppedEvent(at time.Time, provider drey.ProviderID, reason string) drey.Event {
	return drey.Event{
		At: at, Name: "health-state-dropped",
		Machine: "provider", ID: string(provider),
		Fields: []drey.Field{drey.F("provider", provider), drey.F("reason", reason)},
	}
}
