package inprocess

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dreyhq/drey/internal/daemon"
)

// failoverTarget is the healing contract's: from a refused connection to the
// next provider's dial, p99 of 1,000 requests.
const failoverTarget = time.Millisecond

// dials are when a connection was refused and when the next one was asked for.
// Requests come one after the other, so one pair is enough.
type dials struct{ refused, next atomic.Int64 } // nanoseconds since zero

var zero = time.Now() // monotonic

// transports are real ones that tell when they dial: "closed" gets a port where
// nobody listens, any other the upstream.
func (d *dials) transport(url, closed, upstream string) http.RoundTripper {
	var dialer net.Dialer
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		d.next.Store(int64(time.Since(zero)))
		return dialer.DialContext(ctx, "tcp", upstream)
	}
	if strings.Contains(url, "closed") {
		dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, "tcp", closed)
			d.refused.Store(int64(time.Since(zero)))
			return c, err
		}
	}
	return overHTTP{&http.Transport{DialContext: dial, DisableKeepAlives: true}}
}

// overHTTP takes the requests of a demo: provider to a network.
type overHTTP struct{ *http.Transport }

func (t overHTTP) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme = "http"
	return t.Transport.RoundTrip(r)
}

// BenchmarkFailover measures the decision to go on: a whole daemon with its
// store on disk and health on, whose first provider is a closed port that it
// keeps trying (health_action: warn; else it would be out after six). The
// figures are from the moment that connect() has failed to the moment that the
// next provider is dialled, over real sockets. With 1,000 requests and more it
// fails where the target is missed:
//
//	go test -run '^$' -bench Failover -benchtime 1000x ./bench/inprocess
func BenchmarkFailover(b *testing.B) {
	up := answering(b)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	closed := l.Addr().String()
	l.Close()
	d := &dials{}
	addr := serve(b, `version: 1
listen: {addr: "127.0.0.1:0"}
providers:
  closed: {wire: openai, url: "demo:echo?closed", model: bench, class: local}
  next: {wire: openai, url: "demo:echo?next", model: bench, class: local}
profiles:
  default: {chain: [closed, next], health_action: warn}
`, func(o *daemon.Options) {
		o.Demo = func(url string) (http.RoundTripper, error) { return d.transport(url, closed, up), nil }
	})
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	var took []time.Duration
	for b.Loop() {
		req, err := http.NewRequest(http.MethodPost, "http://"+addr+"/v1/chat/completions", strings.NewReader(`{"model":"bench","messages":[{"role":"user","content":"hi"}]}`))
		if err != nil {
			b.Fatal(err)
		}
		resp, err := tr.RoundTrip(req)
		if err != nil {
			b.Fatal(err)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 || resp.Header.Get("X-Drey-Attempts") != "2" {
			b.Fatal(resp.Status, resp.Header, err)
		}
		took = append(took, time.Duration(d.next.Load()-d.refused.Load()))
	}
	slices.Sort(took)
	at := func(share float64) time.Duration { return took[int(share*float64(len(took)-1))] }
	b.ReportMetric(float64(at(0.5).Microseconds()), "p50-µs")
	b.ReportMetric(float64(at(0.99).Microseconds()), "p99-µs")
	if p99 := at(0.99); len(took) >= 1000 && p99 > failoverTarget {
		b.Errorf("from a refused connection to the next dial: p99 %v of %d, the target is %v", p99, len(took), failoverTarget)
	}
}
