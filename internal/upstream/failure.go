package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/route"
	"github.com/dreyhq/drey/internal/wire/sse"
)

// Failure is an attempt that gave no answer, or a stream that broke. What may
// be done about it is in the Verdict.
type Failure struct {
	route.Verdict
	Provider drey.ProviderID
	Fault    route.Fault // NoFault: the provider answered with a status
	Header   http.Header // of the provider's answer; nil if there was none
	Body     []byte      // the first 64 KiB of a refusal
	Dialed   bool        // a connection was had: the provider may have seen the request
	Timing   Timing
	Err      error // what the transport saw; nil if the provider answered
}

// Error names the provider and what went wrong.
func (f *Failure) Error() string {
	text := f.Text
	if text == "" {
		text = f.Class.String()
	}
	if f.Fault == route.NoFault && f.Status != 0 {
		text = fmt.Sprintf("status %d: %s", f.Status, text)
	}
	return "call " + string(f.Provider) + ": " + text
}

// Unwrap returns what the transport saw.
func (f *Failure) Unwrap() error { return f.Err }

// fail ends the attempt and judges the evidence. resp is the answer, if there
// was one.
func (a *attempt) fail(c *Call, ev route.Evidence, resp *http.Response, err error) *Failure {
	a.end()
	ev.At = time.Now()
	ev.Own = c.NotReady
	ev.Model = a.p.cfg.Model != ""
	ev.Redact = a.redact(c.CallerKey)
	a.clock.mu.Lock()
	f := &Failure{Provider: a.p.cfg.ID, Fault: ev.Fault, Body: ev.Body, Dialed: a.connected, Timing: a.timing, Err: err}
	a.clock.mu.Unlock()
	if resp != nil {
		f.Header = resp.Header
		ev.Status = resp.StatusCode
	}
	f.Verdict = route.Classify(ev)
	return f
}

// redact returns what takes secrets out of what the provider said: those of the
// configuration, and the caller's credential if the provider was given it.
func (a *attempt) redact(callerKey string) func(string) string {
	known := a.p.cfg.Redact
	if !a.p.cfg.CallerKey || len(callerKey) < shortestSecret {
		return known
	}
	return func(s string) string {
		s = strings.ReplaceAll(s, callerKey, "[redacted]")
		if known != nil {
			s = known(s)
		}
		return s
	}
}

// shortestSecret is the length below which a secret is not looked for: any text
// might contain it.
const shortestSecret = 8

// evidence says why a send or a read ended with err:
//
//  1. the caller's context ended: its cause tells the total timeout from a
//     client that went away;
//  2. one of our own timeouts ended it;
//  3. the answer is too large;
//  4. the connection: before an answer by what net and TLS tell, and after the
//     headers always otherwise, because an answer that broke is one fault.
func (a *attempt) evidence(err error, otherwise route.Fault) route.Evidence {
	// 1
	if a.parent.Err() != nil {
		if cause := context.Cause(a.parent); errors.Is(cause, ErrTotalTimeout) || errors.Is(cause, context.DeadlineExceeded) {
			return route.Evidence{Fault: route.TotalTimeout, Text: ErrTotalTimeout.Error()}
		}
		text := "the caller went away"
		if cut, ok := errors.AsType[*drey.Error](context.Cause(a.parent)); ok { // by us, and not by the caller
			text = cut.Error()
		}
		return route.Evidence{Fault: route.CallerGone, Text: text}
	}
	// 2
	if fault, limit := a.clock.verdict(); fault != route.NoFault {
		return route.Evidence{Fault: fault, Text: timeoutText(fault, limit)}
	}
	// 3
	if _, ok := errors.AsType[errTooLarge](err); ok || errors.Is(err, sse.ErrTooLarge) {
		return route.Evidence{Fault: route.MalformedAnswer, Text: err.Error()}
	}
	// 4
	if otherwise != route.OtherTransport {
		return route.Evidence{Fault: otherwise, Text: err.Error()}
	}
	a.clock.mu.Lock()
	connected := a.connected
	a.clock.mu.Unlock()
	return route.Evidence{Fault: faultOf(err, connected), Text: err.Error()}
}

func timeoutText(f route.Fault, limit time.Duration) string {
	span := drey.Duration(limit).String()
	switch f {
	case route.ConnectTimeout:
		return "no connection within " + span
	case route.FirstTokenTimeout:
		return "no content within " + span
	default:
		return "silent for " + span + " in the middle of an answer"
	}
}

// stale reports whether a send failed only because its kept connection had
// been closed by the other side: reused, reset or ended, and not one byte of
// an answer.
func (a *attempt) stale(err error) bool {
	if a.Err() != nil {
		return false
	}
	a.clock.mu.Lock()
	silent := a.timing.Reused && !a.answered
	a.clock.mu.Unlock()
	if !silent {
		return false
	}
	f := faultOf(err, true)
	return f == route.Reset || f == route.EndOfFile
}

// faultOf reads a transport error. Where net/http keeps its errors to itself,
// their text has to do.
func faultOf(err error, connected bool) route.Fault {
	text := err.Error()
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(text, p) {
				return true
			}
		}
		return false
	}
	dns, isDNS := errors.AsType[*net.DNSError](err)
	timeout, isNet := errors.AsType[net.Error](err)
	switch {
	case isDNS && !dns.IsTimeout:
		return route.NameLookup
	case isNet && timeout.Timeout() && !connected:
		return route.ConnectTimeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return route.Refused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNABORTED),
		errors.Is(err, io.ErrClosedPipe), errors.Is(err, net.ErrClosed),
		has("REFUSED_STREAM", "http2: client connection lost", "http2: client conn could not be established", "http2: client conn not usable"):
		return route.Reset
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		has("server closed idle connection", "GOAWAY"):
		return route.EndOfFile
	case has("tls: ", "x509: ", "server gave HTTP response to HTTPS client"):
		return route.Handshake
	default:
		return route.OtherTransport
	}
}

func sizeText(n int64) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}
