package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/dreyhq/drey/internal/fake"
)

// play runs a scenario in a directory of its own. Where it fails, log is all
// that can tell why.
func (s scenario) play(ctx context.Context, drey string, a agent, dir string) (log string, err error) {
	ctx, cancel := context.WithTimeout(ctx, scenarioTime)
	defer cancel()
	home, work, user := filepath.Join(dir, "drey"), filepath.Join(dir, "work"), filepath.Join(dir, "user")
	for _, d := range []string{home, work, user} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return "", err
		}
	}
	first, err := fake.Listen(s.first.script())
	if err != nil {
		return "", err
	}
	defer first.Close()
	second, err := fake.Listen(s.second.script())
	if err != nil {
		return "", err
	}
	defer second.Close()
	if err := os.WriteFile(filepath.Join(home, "drey.yaml"), []byte(s.config(first.URL(), second.URL())), 0o600); err != nil {
		return "", err
	}

	d := &daemon{exe: drey, home: home, env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + user, "DREY_HOME=" + home, "E2E_KEY=" + clientKey}}
	said, err := s.work(ctx, d, a, work, user)
	if err == nil {
		err = errors.Join(s.checkAgent(a, said, work), s.checkProvider("first", first.Calls(), s.firstSees),
			s.checkProvider("second", second.Calls(), s.secondSees), s.checkRows(home), s.checkAudit(home))
	}
	if err != nil {
		log = fmt.Sprintf("--- %s\n%s\n--- the first provider saw\n%s--- the second provider saw\n%s--- drey serve\n%s\n--- requests.jsonl\n%s--- audit.jsonl\n%s",
			a.name, said, seen(first.Requests()), seen(second.Requests()), d.out.String(),
			readAll(filepath.Join(home, "requests.jsonl")), readAll(filepath.Join(home, "audit.jsonl")))
	}
	return log, err
}

// work starts drey, lets the agent work, and stops drey, after which its logs
// are whole.
func (s scenario) work(ctx context.Context, d *daemon, a agent, work, user string) (said string, err error) {
	if err := d.start(ctx); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	base, err := d.address(ctx)
	if err != nil {
		return "", err
	}
	cmd, err := a.command(ctx, a.exe, base, user)
	if err != nil {
		return "", err
	}
	cmd.Dir = work
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.Output()
	if err == nil {
		return string(out), nil
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("%w after %s", err, scenarioTime)
	}
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		if out = append(out, e.Stderr...); s.stopped != "" && ctx.Err() == nil {
			return string(out), nil
		}
	}
	return string(out), fmt.Errorf("run %s: %w", a.name, err)
}

// checkAgent holds what the agent said and did against the task.
func (s scenario) checkAgent(a agent, said, work string) error {
	if s.stopped != "" {
		if !strings.Contains(said, s.stopped) {
			return fmt.Errorf("the agent does not say %q", s.stopped)
		}
		return nil
	}
	var errs []error
	last, err := a.read(said, len(s.attempts))
	// An agent may put words of its own around what the tool printed.
	if err != nil {
		errs = append(errs, err)
	} else if !strings.HasPrefix(last, answer) || !strings.Contains(last, printed) {
		errs = append(errs, fmt.Errorf("the agent's last words are %q, want %q and %q in them", last, answer, printed))
	}
	file, err := os.ReadFile(filepath.Join(work, "made-by-tool.txt"))
	if err != nil || string(file) != printed {
		errs = append(errs, fmt.Errorf("the tool's file holds %q (%v), want %q", file, err, printed))
	}
	return errors.Join(errs...)
}

// checkProvider counts the turns that a provider saw.
func (s scenario) checkProvider(name string, calls []fake.Request, want int) error {
	turns := slices.DeleteFunc(slices.Clone(calls), func(r fake.Request) bool { return len(r.Tools) == 0 })
	if len(turns) != want {
		return fmt.Errorf("the %s provider saw %d turns of the task, want %d", name, len(turns), want)
	}
	for i, r := range turns {
		if !r.Stream && s.again == 0 {
			return fmt.Errorf("turn %d at the %s provider was not streamed: the agent fell back, so it saw an error", i+1, name)
		}
	}
	return nil
}

// checkRows holds what drey wrote down against what happened.
func (s scenario) checkRows(home string) error {
	var got []string
	again, repaired, refused := 0, 0, 0
	for line := range strings.Lines(readAll(filepath.Join(home, "requests.jsonl"))) {
		var row struct {
			Outcome  string  `json:"outcome"`
			Status   int     `json:"status"`
			Stream   bool    `json:"stream"`
			Finish   string  `json:"finish"`
			Repaired int     `json:"repaired"`
			Captured bool    `json:"captured"`
			CostUSD  float64 `json:"cost_usd"`
			Attempts []struct {
				Provider string `json:"provider"`
				Class    string `json:"class"`
			} `json:"attempts"`
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			return fmt.Errorf("a row of requests.jsonl: %w", err)
		}
		if row.Outcome == "failed_midstream" {
			again++
			continue
		}
		if row.Outcome == "refused" && row.Status == 400 {
			refused++
			continue
		}
		if row.Outcome != "ok" || row.Status != 200 {
			return fmt.Errorf("a row of requests.jsonl says outcome %q, status %d; want ok, 200", row.Outcome, row.Status)
		}
		if s.recorded && (!row.Captured || row.CostUSD <= 0) {
			return fmt.Errorf("a row of requests.jsonl says captured %v, cost_usd %v; want a captured request that was paid for", row.Captured, row.CostUSD)
		}
		var way []string
		for _, a := range row.Attempts {
			way = append(way, a.Provider+":"+a.Class)
		}
		got = append(got, strings.Join(way, " "))
		repaired += row.Repaired
	}
	if stopped := s.stopped != ""; refused > 1 || stopped != (refused == 1) {
		return fmt.Errorf("requests.jsonl tells of %d refused requests", refused)
	}
	if repaired != s.repaired {
		return fmt.Errorf("requests.jsonl tells of %d repaired calls, want %d", repaired, s.repaired)
	}
	if again != s.again {
		return fmt.Errorf("requests.jsonl tells of %d answers that broke off, want %d", again, s.again)
	}
	if !slices.Equal(got, s.attempts) {
		return fmt.Errorf("requests.jsonl tells the attempts %q, want %q", got, s.attempts)
	}
	return nil
}

// checkAudit wants one decision on record for each request that was passed from
// one provider to another, and of streams that were taken over and of guards
// what the scenario names.
func (s scenario) checkAudit(home string) error {
	got, want := map[string]int{}, map[string]int{}
	maps.Copy(want, s.audited)
	for _, way := range s.attempts {
		if !strings.HasPrefix(way, "first:ok") {
			want["fallback-occurred"]++
		}
	}
	for line := range strings.Lines(readAll(filepath.Join(home, "audit.jsonl"))) {
		var ev struct {
			Event string `json:"event"`
			Mode  string `json:"mode"`
		}
		if err := json.Unmarshal([]byte(line), &ev); err != nil {
			return fmt.Errorf("a row of audit.jsonl: %w", err)
		}
		switch ev.Event {
		case "stream-rescued":
			got[ev.Event+" "+ev.Mode]++
		case "fallback-occurred", "tool-loop-detected", "tool-count-exceeded", "context-budget-warning", "context-budget-trimmed",
			"drift-detected", "budget-exceeded":
			got[ev.Event]++
		}
	}
	if !maps.Equal(got, want) {
		return fmt.Errorf("audit.jsonl tells of %v, want %v", got, want)
	}
	return nil
}

// seen tells a provider's requests for the log of a failure.
func seen(requests []fake.Request) string {
	var b strings.Builder
	for _, r := range requests {
		fmt.Fprintf(&b, "%s %s model=%s stream=%v tools=%d result=%v cancelled=%v\n", r.Method, r.Path, r.Model, r.Stream, len(r.Tools), r.HasResult, r.Cancelled)
	}
	return b.String()
}

// readAll reads a file for a message; one that is not there says so.
func readAll(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error() + "\n"
	}
	return string(b)
}

// daemon is a `drey serve` of its own home.
type daemon struct {
	exe, home string
	env       []string

	cmd  *exec.Cmd
	out  bytes.Buffer // both outputs; read it when the process has ended
	done chan error
}

func (d *daemon) start(ctx context.Context) error {
	d.cmd = exec.CommandContext(ctx, d.exe, "serve")
	d.cmd.Env, d.cmd.Dir = d.env, d.home
	d.cmd.Stdout, d.cmd.Stderr = &d.out, &d.out
	d.cmd.Cancel = func() error { return d.cmd.Process.Signal(syscall.SIGTERM) }
	d.cmd.WaitDelay = 10 * time.Second
	if err := d.cmd.Start(); err != nil {
		return fmt.Errorf("start drey: %w", err)
	}
	d.done = make(chan error, 1)
	go func() { d.done <- d.cmd.Wait() }()
	return nil
}

// address asks until the daemon answers, and returns its base URL.
func (d *daemon) address(ctx context.Context) (string, error) {
	for {
		cmd := exec.CommandContext(ctx, d.exe, "status", "--json")
		cmd.Env = d.env
		if out, err := cmd.Output(); err == nil {
			var status struct {
				Listen []string `json:"listen"`
			}
			if json.Unmarshal(out, &status) == nil && len(status.Listen) > 0 {
				return "http://" + status.Listen[0], nil
			}
		}
		select {
		case err := <-d.done:
			d.done <- err
			return "", fmt.Errorf("drey ended before it served: %v", err)
		case <-ctx.Done():
			return "", fmt.Errorf("wait for drey: %w", ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// stop ends the daemon as Ctrl-C would, and waits for it.
func (d *daemon) stop() error {
	_ = d.cmd.Process.Signal(syscall.SIGTERM) // one that has ended already tells so below
	if err := <-d.done; err != nil {
		return fmt.Errorf("drey serve: %w", err)
	}
	return nil
}
