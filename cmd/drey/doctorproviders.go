package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/config"
	"github.com/dreyhq/drey/internal/daemon"
	"github.com/dreyhq/drey/internal/discover"
	"github.com/dreyhq/drey/internal/doctor"
	"github.com/dreyhq/drey/internal/exam"
)

// rounds are whom doctor is to examine.
type rounds struct {
	providers []string
	profiles  []string
	paid      bool
}

// named reports whether somebody said whom: then the home is not looked at.
func (r rounds) named() bool { return len(r.providers)+len(r.profiles) > 0 }

// patients are the providers that are to be examined, in the order of the file.
func (r rounds) patients(s *daemon.Survey) ([]doctor.Patient, error) {
	wanted := map[drey.ProviderID]bool{}
	for _, name := range r.providers {
		if !slices.ContainsFunc(s.File.Providers, func(p config.Provider) bool { return string(p.Name) == name }) {
			return nil, r.unknown("provider", name, names(s.File.Providers, func(p config.Provider) string { return string(p.Name) }))
		}
		wanted[drey.ProviderID(name)] = true
	}
	for _, name := range r.profiles {
		i := slices.IndexFunc(s.File.Profiles, func(p config.Profile) bool { return string(p.Name) == name })
		if i < 0 {
			return nil, r.unknown("profile", name, names(s.File.Profiles, func(p config.Profile) string { return string(p.Name) }))
		}
		for _, pool := range s.File.Profiles[i].Chain {
			for _, id := range pool {
				wanted[id] = true
			}
		}
	}
	var out []doctor.Patient
	for i := range s.File.Providers {
		p, built := &s.File.Providers[i], s.Providers[i]
		if r.named() && !wanted[p.Name] {
			continue
		}
		sub := exam.Subject{Config: p, MaxTokensKey: built.MaxTokensKey, Missing: built.Missing, StandIn: s.Newcomer}
		if env, base, ok := discover.VendorOf(p.URL); ok {
			sub.KeyHint, sub.URLHint = "env:"+env, base
		}
		out = append(out, doctor.Patient{Subject: sub, Way: built.Config})
	}
	return out, nil
}

func (rounds) unknown(what, name string, known []string) error {
	hint := "there is none"
	if len(known) > 0 {
		hint = "known are " + strings.Join(known, ", ")
	}
	return &drey.Error{Class: drey.Caller, Code: codeUsage, Err: fmt.Errorf("the configuration has no %s %q", what, name), Hint: hint}
}

func names[T any](all []T, name func(T) string) []string {
	out := make([]string, len(all))
	for i, v := range all {
		out[i] = name(v)
	}
	return out
}

// examine asks the providers and prints what was found, each as soon as it and
// those before it are done.
func (c *cli) examine(ctx context.Context, r rounds) ([]doctor.Report, error) {
	opts, err := c.daemonOptions()
	if err != nil {
		return nil, err
	}
	survey, err := daemon.TakeSurvey(ctx, opts)
	if err != nil {
		return nil, err
	}
	patients, err := r.patients(survey)
	if err != nil {
		return nil, err
	}
	c.findProcesses(ctx, patients)
	line := c.statusLine()
	round := doctor.Round{
		Patients: patients, Paid: r.paid, Salt: strconv.FormatInt(time.Now().UnixNano(), 36),
		Progress: func(id drey.ProviderID, probe string) { line.show(fmt.Sprintf("%s: %s …", id, probe)) },
	}
	if !c.json {
		round.Tell = func(rep doctor.Report) {
			line.clear()
			c.printReport(rep)
		}
	}
	reports, err := doctor.Visit(ctx, round)
	line.clear()
	return reports, err
}

// findProcesses has the patients that are processes of drey's asked where these
// listen: the daemon that keeps them knows, since it gives them their ports.
func (c *cli) findProcesses(ctx context.Context, patients []doctor.Patient) {
	if !slices.ContainsFunc(patients, func(p doctor.Patient) bool { return p.Config.Process != nil }) {
		return
	}
	cl, err := c.look(ctx)
	if err != nil {
		return // no daemon, and so no process of its
	}
	defer cl.Close()
	list, err := cl.Providers(ctx)
	if err != nil {
		return
	}
	for _, p := range list {
		i := slices.IndexFunc(patients, func(q doctor.Patient) bool { return q.Config.Name == p.Name })
		if i < 0 || p.Process == nil || p.Process.Port == 0 {
			continue
		}
		if u, err := url.Parse(patients[i].Way.URL); err == nil {
			u.Host = net.JoinHostPort(u.Hostname(), strconv.Itoa(p.Process.Port))
			patients[i].Way.URL = u.String()
		}
	}
}

// printReport writes what was found about one provider, for a person.
func (c *cli) printReport(rep doctor.Report) {
	p := rep.Subject.Config
	model := p.Model
	if model != "" {
		model = ", " + model
	}
	fmt.Fprintf(c.stdout, "\n%s  (%s, %s, %s%s)\n", rep.Provider, p.Class, p.Wire, printable(redactURL(p.URL)), printable(model))
	for i := 0; i < len(rep.Findings); {
		f := rep.Findings[i]
		probes := []string{f.Probe}
		for i++; f.Verdict == exam.Skip && i < len(rep.Findings) && rep.Findings[i].Verdict == exam.Skip && rep.Findings[i].Text == f.Text; i++ {
			probes = append(probes, rep.Findings[i].Probe) // one reason, told once
		}
		if len(probes) > 1 {
			fmt.Fprintf(c.stdout, "%-12s  %s: %s\n", f.Verdict, strings.Join(probes, ", "), printable(f.Text))
			continue
		}
		fmt.Fprintf(c.stdout, "%-12s  %-12s  %s\n", f.Verdict, f.Probe, printable(f.Text))
	}
	if rep.Spent.Requests > 0 && p.Class == drey.Paid {
		fmt.Fprintf(c.stdout, "spent: %s\n", spentText(rep.Spent))
	}
	if patch := exam.Join(rep.Findings).YAML(rep.Provider); patch != "" {
		fmt.Fprintf(c.stdout, "paste into drey.yaml:\n%s", indented(patch))
	}
}

func spentText(s exam.Spent) string {
	text := fmt.Sprintf("%d requests, %d tokens in, %d tokens out", s.Requests, s.Input, s.Output)
	if s.Untold > 0 {
		text += fmt.Sprintf(", and those of %d answers that did not tell", s.Untold)
	}
	return text
}

func indented(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\n    ") + "\n"
}

// redactURL is a URL without what may be a secret in it.
func redactURL(raw string) string {
	if u, _, ok := strings.Cut(raw, "?"); ok && !strings.HasPrefix(raw, "demo:") {
		return u
	}
	return raw
}

// reportJSON is a Report under --json.
type reportJSON struct {
	Provider   drey.ProviderID `json:"provider"`
	Class      drey.Price      `json:"class"`
	Wire       string          `json:"wire"`
	URL        string          `json:"url"`
	Model      string          `json:"model,omitempty"`
	Verdict    doctor.Verdict  `json:"verdict"`
	Findings   []findingJSON   `json:"findings"`
	Patch      string          `json:"patch,omitempty"` // of all findings, as YAML
	Requests   int             `json:"requests"`
	Tokens     tokensJSON      `json:"tokens"`
	DurationMS int64           `json:"duration_ms"`
}

type findingJSON struct {
	Probe   string       `json:"probe"`
	Verdict exam.Verdict `json:"verdict"`
	Text    string       `json:"text"`
	Patch   string       `json:"patch,omitempty"`
	Stated  bool         `json:"stated,omitempty"` // the configuration says so already
}

type tokensJSON struct {
	Input  int `json:"input"`
	Output int `json:"output"`
	Untold int `json:"untold_requests,omitempty"`
}

func reportsJSON(reports []doctor.Report) []reportJSON {
	out := []reportJSON{}
	for _, rep := range reports {
		p := rep.Subject.Config
		r := reportJSON{
			Provider: rep.Provider, Class: p.Class, Wire: p.Wire, URL: redactURL(p.URL), Model: p.Model, Verdict: rep.Worst(),
			Patch:    exam.Join(rep.Findings).YAML(rep.Provider),
			Requests: rep.Spent.Requests, Tokens: tokensJSON{rep.Spent.Input, rep.Spent.Output, rep.Spent.Untold}, DurationMS: rep.Took.Milliseconds(),
		}
		for _, f := range rep.Findings {
			r.Findings = append(r.Findings, findingJSON{f.Probe, f.Verdict, f.Text, f.Patch.YAML(rep.Provider), f.Stated})
		}
		out = append(out, r)
	}
	return out
}

// statusLine is a line on a terminal that says what is going on, and is gone
// before anything else is printed. Where there is no terminal there is none.
type statusLine struct{ w io.Writer }

func (c *cli) statusLine() statusLine {
	if f, ok := c.stderr.(*os.File); ok && !c.json && term.IsTerminal(int(f.Fd())) {
		return statusLine{f}
	}
	return statusLine{io.Discard}
}

func (l statusLine) show(text string) { fmt.Fprintf(l.w, "\r\x1b[K%s", cut(printable(text), 78)) }
func (l statusLine) clear()           { fmt.Fprint(l.w, "\r\x1b[K") }
