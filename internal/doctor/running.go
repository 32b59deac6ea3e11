package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/lifecycle"
)

// lookAtDaemon sees whether whoever holds the home answers.
func lookAtDaemon(_ context.Context, v *visit) (Finding, func(context.Context) error) {
	switch {
	case v.unheld != nil:
		return fail("it cannot be told whether a daemon runs: "+v.unheld.Error(), "check who owns the file and its directory")
	case v.daemon != nil:
		return pass(fmt.Sprintf("drey %s runs, pid %d, for %s", v.status.Version, v.status.PID, span(time.Duration(v.status.UptimeS)*time.Second)))
	case v.locked:
		who := "another process"
		if v.holder.PID > 0 {
			who = fmt.Sprintf("process %d", v.holder.PID)
		}
		return fail(fmt.Sprintf("%s holds the home, and the control socket was silent %d times: %v", who, tries, v.silent),
			"look what it does; end it if it hangs (nothing is lost by kill -9), and start drey again")
	default:
		return pass("none runs, and nobody holds the home")
	}
}

// lookAtHibernation finds a daemon that nobody can bring back.
func lookAtHibernation(_ context.Context, v *visit) (Finding, func(context.Context) error) {
	switch {
	case v.corrupt != nil:
		return warn("it cannot be told while the record cannot be read", "")
	case v.record.State != lifecycle.Hibernation:
		return pass("the daemon does not hibernate: the record says " + v.record.State.String())
	case v.locked:
		return pass("the record says HIBERNATION, and a process holds the home: it comes, goes, or is a shadow run")
	}
	addr, somebody, err := v.Listens()
	switch {
	case err != nil:
		return warn("it cannot be told who listens: "+err.Error(), "")
	case somebody:
		return pass("the daemon hibernates, and somebody listens on " + addr + " to wake it")
	}
	f, _ := fail("the daemon hibernates, and nobody listens on "+addr+" to wake it", "`drey doctor --fix` or `drey up` brings it back")
	return f, v.Start
}

// lookAtAddress finds another program on the gateway's address.
func lookAtAddress(_ context.Context, v *visit) (Finding, func(context.Context) error) {
	if v.daemon != nil {
		return pass("the daemon listens on " + strings.Join(v.status.Listen, ", "))
	}
	addr, somebody, err := v.Listens()
	switch {
	case err != nil:
		return warn("it cannot be told whether the address is free: "+err.Error(), "")
	case somebody && v.locked:
		return pass("somebody listens on " + addr + ", and a process holds the home")
	case somebody && v.record.State != lifecycle.Hibernation:
		return warn("somebody listens on "+addr+", and no daemon of this home runs", "if it is not a waker that starts it just now: stop it, or choose another listen.addr")
	case somebody:
		return pass(addr + " is kept for the daemon")
	}
	return pass(addr + " is free")
}

// hibernateNever is how a daemon tells that it is configured to stay.
const hibernateNever = "lifecycle.hibernate is never"

// lookAtWaker sees whether the process may end when it is idle.
func lookAtWaker(_ context.Context, v *visit) (Finding, func(context.Context) error) {
	if v.daemon == nil || v.daemon.MayHibernate == nil {
		return pass("no daemon answers that would need one")
	}
	switch m := v.daemon.MayHibernate; {
	case m.By != "":
		return pass("the daemon can be woken by " + m.By)
	case slices.Contains(m.Because, hibernateNever):
		return pass("the daemon is told to stay: " + hibernateNever)
	default:
		return warn("nobody could wake this daemon, so it stays in SLEEP instead of ending",
			"start it with `drey up`, have the system keep its sockets (`drey service install`), or say that it is to stay (lifecycle.hibernate: never)")
	}
}

// lookAtClock finds a record that was written in the future.
func lookAtClock(_ context.Context, v *visit) (Finding, func(context.Context) error) {
	switch ahead := v.record.LastActivity.Sub(v.now); {
	case v.corrupt != nil:
		return warn("it cannot be told while the record cannot be read", "")
	case v.fresh:
		return pass("no activity is recorded yet; the clock says " + drey.FormatTime(v.now))
	case ahead > time.Minute:
		return warn(fmt.Sprintf("the last activity is %s in the future: the clock was set back", span(ahead)), "nothing, if the clock is right now; the next activity sets it right")
	}
	return pass("the last activity was at " + drey.FormatTime(v.record.LastActivity))
}

// manyWakes is how many wakes in a row without work are worth a word. Source:
// the lifecycle contract §7.8.
const manyWakes = 3

// lookAtWakes finds whoever wakes the daemon for nothing.
func lookAtWakes(_ context.Context, v *visit) (Finding, func(context.Context) error) {
	n := v.record.WorklessWakes
	if v.corrupt != nil {
		return warn("it cannot be told while the record cannot be read", "")
	}
	if n < manyWakes {
		return pass(fmt.Sprintf("%d wakes in a row without work", n))
	}
	text := fmt.Sprintf("the daemon was woken %d times in a row without work", n)
	if v.daemon != nil && v.daemon.Visitor != "" {
		text += "; the last to come was " + v.daemon.Visitor
	}
	return warn(text, "let scrapers ask telemetry.metrics_listen, which needs no waking, and health checks less often")
}

// lookAtNotification sees whether the daemon hears of files, or has to look.
func lookAtNotification(_ context.Context, v *visit) (Finding, func(context.Context) error) {
	switch {
	case v.daemon == nil:
		return pass("no daemon answers that would wait for files")
	case v.daemon.Polling:
		return warn("the system does not tell of new files, so the daemon looks every 10 s", "raise fs.inotify.max_user_instances and max_user_watches, and restart drey")
	}
	return pass("the system tells the daemon of wake.signal and of leases")
}

func span(d time.Duration) string {
	if d = d.Round(time.Second); d == 0 {
		return "0s"
	}
	return drey.Duration(d).String()
}
