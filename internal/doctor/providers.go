package doctor

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/url"
	"sync"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/exam"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/upstream"
	"github.com/dreyhq/drey/internal/wire"
)

// Patient is a provider that is to be examined.
type Patient struct {
	exam.Subject
	// Way is how it is reached, built as the daemon builds it. Its URL may have
	// another port than the configured one, where a process of drey's listens.
	Way upstream.Config
}

// Round is an examination of several providers.
type Round struct {
	Patients []Patient
	Paid     bool   // paid ones may be asked
	Salt     string // new each time: it keeps one round from finding the last one's prompts in a cache
	// Progress hears what is being asked. It is called by several goroutines,
	// never by two at once. nil = nobody listens.
	Progress func(provider drey.ProviderID, probe string)
	// Tell hears each report as soon as it and all before it are there, in the
	// order of Patients, and never two at once. nil = nobody listens.
	Tell func(Report)
}

// Report is what was found out about one provider.
type Report struct {
	Provider drey.ProviderID
	Subject  exam.Subject
	Findings []exam.Finding
	Spent    exam.Spent
	Took     time.Duration
}

// Worst returns the worst that a provider's findings come to: Fail where it
// cannot be used, Warn where something wants attention. What the configuration
// says already wants none.
func (r Report) Worst() Verdict {
	worst := Pass
	for _, f := range r.Findings {
		switch {
		case f.Verdict == exam.AuthFail || f.Verdict == exam.Unreachable:
			return Fail
		case f.Verdict == exam.NeedsTuning, f.Verdict == exam.Unsupported && !f.Stated:
			worst = Warn
		}
	}
	return worst
}

// atOnce is how many providers are examined at the same time.
const atOnce = 4

// Visit examines the providers: those of one host one after the other, since a
// machine that loads two models at once answers for neither, others beside each
// other. It returns their reports in the order of Patients; the error is ctx's.
// Nothing of it counts for or against a provider's health.
func Visit(ctx context.Context, r Round) ([]Report, error) {
	reports := make([]*Report, len(r.Patients))
	var mu sync.Mutex // guards reports, told and the two listeners
	told := 0
	progress := func(id drey.ProviderID, probe string) {
		if r.Progress != nil {
			mu.Lock()
			defer mu.Unlock()
			r.Progress(id, probe)
		}
	}
	places := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for _, queue := range byHost(r.Patients) {
		wg.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			for _, i := range queue {
				rep := examine(ctx, r.Patients[i], r, progress)
				if ctx.Err() != nil {
					return
				}
				mu.Lock()
				reports[i] = &rep
				for ; told < len(reports) && reports[told] != nil; told++ {
					if r.Tell != nil {
						r.Tell(*reports[told])
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	var out []Report
	for _, rep := range reports {
		if rep != nil {
			out = append(out, *rep)
		}
	}
	return out, ctx.Err()
}

// byHost returns the indices of the patients, those of one host together.
func byHost(all []Patient) (queues [][]int) {
	at := map[string]int{}
	for i, p := range all {
		host := string(p.Config.Name)
		if u, err := url.Parse(p.Way.URL); err == nil && u.Hostname() != "" && p.Way.Transport == nil {
			host = "//" + u.Hostname() // no name of a provider begins so
		}
		q, ok := at[host]
		if !ok {
			q = len(queues)
			at[host] = q
			queues = append(queues, nil)
		}
		queues[q] = append(queues[q], i)
	}
	return queues
}

// examine puts one provider through its examination.
func examine(ctx context.Context, p Patient, r Round, progress func(drey.ProviderID, string)) Report {
	start := time.Now()
	rep := Report{Provider: p.Config.Name, Subject: p.Subject}
	if findings, forgone := exam.Forgo(p.Subject, r.Paid); forgone {
		rep.Findings = findings
		return rep
	}
	up := upstream.New(p.Way)
	defer up.Close()
	progress(p.Config.Name, exam.Reachability)
	e := exam.New(p.Subject, list(ctx, up), r.Salt)
	for ctx.Err() == nil {
		ask, probe, more := e.Next()
		if !more {
			break
		}
		progress(p.Config.Name, probe)
		e.Answer(put(ctx, up, p, ask))
	}
	rep.Findings, rep.Spent, rep.Took = e.Findings(), e.Spent(), time.Since(start)
	return rep
}

// list asks the provider's server for its models.
func list(ctx context.Context, up *upstream.Provider) exam.Listing {
	l, err := up.Learn(ctx)
	return exam.Listing{
		Models: l.Models, Listed: l.Listed, ContextTokens: l.ContextTokens, Provisional: l.Provisional, Failure: failure(err, nil),
	}
}

// put puts a question to the provider.
func put(ctx context.Context, up *upstream.Provider, p Patient, a exam.Ask) exam.Answer {
	way := p.Way
	body, err := a.Body()
	if err != nil {
		return exam.Answer{Failure: failure(err, way.Redact)}
	}
	if a.Base != p.Config.URL || a.Wire != way.Wire {
		way.URL, way.Wire = a.Base, a.Wire
		up = upstream.New(way)
		defer up.Close()
	}
	ctx, cancel := context.WithTimeoutCause(ctx, a.Limit, upstream.ErrTotalTimeout)
	defer cancel()
	start := time.Now()
	ans, err := up.Do(ctx, upstream.Call{
		Path: a.Path(), Body: wire.NewBody(body), Stream: a.Request.Stream, FirstToken: a.Limit, Stall: a.Limit,
	})
	if err != nil {
		return exam.Answer{Failure: failure(err, way.Redact)}
	}
	if ans.Stream != nil {
		return read(ans.Stream, a.Codec(), start, way.Redact)
	}
	out := exam.Answer{First: time.Since(start)}
	if out.Response, err = a.Codec().DecodeResponse(ans.JSON); err != nil {
		out.Failure = failure(err, way.Redact)
	}
	return out
}

// read reads a stream to its end, and notes when its frames came.
func read(st *upstream.Stream, codec wire.Codec, start time.Time, redact func(string) string) exam.Answer {
	defer st.Close()
	out := exam.Answer{Streamed: true}
	var made wire.Assembler
	dec := codec.NewDecoder()
	var events []wire.Event
	for made.Response() == nil {
		frame, err := st.Next()
		switch {
		case err == nil:
			events, err = dec.Decode(events[:0], frame)
		case errors.Is(err, io.EOF):
			events, err = dec.Close(events[:0])
			if err == nil && (len(events) == 0 || events[len(events)-1].Kind != wire.Finish) {
				err = &wire.AnswerError{Kind: wire.Cut, Msg: "the stream ended before the answer did"}
			}
		}
		content := false
		for _, ev := range events {
			made.Add(ev)
			content = content || ev.Kind == wire.Delta && ev.Text != "" || ev.Kind == wire.BlockStart && ev.Block.Kind == wire.ToolUse
		}
		if content {
			st.Content()
			at := time.Since(start)
			if out.Frames++; out.Frames == 1 {
				out.First = at
			}
			out.Spread = at - out.First
		}
		if err != nil {
			out.Failure = failure(err, redact)
			return out
		}
	}
	st.Finish()
	out.Response = made.Response()
	return out
}

// failure is an error in the words of an examination; nil for none.
func failure(err error, redact func(string) string) *exam.Failure {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*upstream.Failure](err); ok {
		return &exam.Failure{Verdict: f.Verdict, Fault: f.Fault}
	}
	ev := route.Evidence{Fault: route.MalformedAnswer, Text: err.Error(), At: time.Now(), Redact: redact}
	if bad, ok := errors.AsType[*wire.AnswerError](err); ok {
		ev.Text = cmp.Or(bad.Msg, bad.Type)
		switch bad.Kind {
		case wire.Cut:
			ev.Fault = route.CutAnswer
		case wire.Reported:
			ev.Fault, ev.InBand = route.NoFault, bad.Type
		}
	}
	return &exam.Failure{Verdict: route.Classify(ev), Fault: ev.Fault}
}
