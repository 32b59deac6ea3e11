package upstream

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/route"
)

// TestTimeouts lets every kind of silence run into the timeout that is meant
// for it, and looks at the clock when it struck.
func TestTimeouts(t *testing.T) {
	const frame = "data: x\n\n"
	tests := []struct {
		name   string
		stream bool
		script func(c *peer) // nil: the dial hangs
		total  time.Duration
		fault  route.Fault
		after  time.Duration
		dialed bool
	}{
		{"a dial that hangs", false, nil, 0, route.ConnectTimeout, 3 * time.Second, false},
		{"a peer that does not read", false, func(c *peer) {
			time.Sleep(time.Hour)
		}, 0, route.FirstTokenTimeout, 30 * time.Second, true},
		{"no headers", false, func(c *peer) {
			c.request()
			c.gone()
		}, 0, route.FirstTokenTimeout, 30 * time.Second, true},
		{"no headers, streamed", true, func(c *peer) {
			c.request()
			c.gone()
		}, 0, route.FirstTokenTimeout, 30 * time.Second, true},
		{"headers and no body", false, func(c *peer) {
			c.request()
			c.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
			c.gone()
		}, 0, route.FirstTokenTimeout, 30 * time.Second, true},
		{"slow headers do not begin the wait anew", true, func(c *peer) {
			c.request()
			time.Sleep(29 * time.Second)
			c.say(streamHead)
			c.gone()
		}, 0, route.FirstTokenTimeout, 30 * time.Second, true},
		{"pings are no first token", true, func(c *peer) {
			c.request()
			c.say(streamHead)
			for range 100 {
				c.say(chunk(": ping\n\n"))
				time.Sleep(7 * time.Second)
			}
		}, 0, route.FirstTokenTimeout, 30 * time.Second, true},
		{"a stall between contents", true, func(c *peer) {
			c.request()
			c.say(streamHead)
			time.Sleep(10 * time.Second)
			c.say(chunk(frame))
			time.Sleep(59 * time.Second)
			c.say(chunk(frame))
			c.gone()
		}, 0, route.StallTimeout, (10 + 59 + 60) * time.Second, true},
		{"pings stretch the stall five times", true, func(c *peer) {
			c.request()
			c.say(streamHead + chunk(frame))
			for range 100 {
				time.Sleep(21 * time.Second)
				c.say(chunk(": ping\n\n"))
			}
		}, 0, route.StallTimeout, 300 * time.Second, true},
		{"a frame that drips is caught like pings", true, func(c *peer) {
			c.request()
			c.say(streamHead + chunk(frame))
			for range 100 {
				time.Sleep(49 * time.Second)
				c.say(chunk("x"))
			}
		}, 0, route.StallTimeout, 300 * time.Second, true},
		{"pings end and so does the patience", true, func(c *peer) {
			c.request()
			c.say(streamHead + chunk(frame))
			time.Sleep(20 * time.Second)
			c.say(chunk(": ping\n\n"))
			c.gone()
		}, 0, route.StallTimeout, 80 * time.Second, true},
		{"a body that stalls", false, func(c *peer) {
			c.request()
			c.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{")
			for range 3 {
				time.Sleep(50 * time.Second)
				c.say(" ")
			}
			c.gone()
		}, 0, route.StallTimeout, 210 * time.Second, true},
		{"total, while nothing comes", false, func(c *peer) {
			c.request()
			c.gone()
		}, 11 * time.Second, route.TotalTimeout, 11 * time.Second, true},
		{"total, in the middle of a stream", true, func(c *peer) {
			c.request()
			c.say(streamHead)
			for range 100 {
				c.say(chunk(frame))
				time.Sleep(time.Second)
			}
		}, 90500 * time.Millisecond, route.TotalTimeout, 90500 * time.Millisecond, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var p *Provider
				if tt.script == nil {
					p = piped(t, Config{})
				} else {
					p = piped(t, Config{}, tt.script)
				}
				ctx := t.Context()
				if tt.total > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeoutCause(ctx, tt.total, ErrTotalTimeout)
					defer cancel()
				}
				c := call()
				c.Stream = tt.stream
				start := time.Now()
				ans, err := p.Do(ctx, c)
				if err == nil {
					_, err = drain(ans.Stream)
				}
				f := wantFault(t, err, tt.fault, drey.Silence)
				if got := time.Since(start); got != tt.after {
					t.Errorf("struck after %v, want %v", got, tt.after)
				}
				if f.Dialed != tt.dialed || !f.Counts {
					t.Errorf("dialed %v counts %v, want %v and true", f.Dialed, f.Counts, tt.dialed)
				}
			})
		})
	}
}

// TestProfilesConnectTimeout checks that a call's own timeout replaces the
// provider's in both directions, also for the dial itself.
func TestProfilesConnectTimeout(t *testing.T) {
	for _, limit := range []time.Duration{time.Second, 20 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			p := piped(t, Config{Connect: 5 * time.Second})
			c := call()
			c.Connect = limit
			start := time.Now()
			_, err := p.Do(t.Context(), c)
			wantFault(t, err, route.ConnectTimeout, drey.Silence)
			if got := time.Since(start); got != limit {
				t.Errorf("struck after %v, want %v", got, limit)
			}
		})
	}
}

// TestSlowCallerIsNotTheProvidersSilence stops reading for longer than every
// stall, and goes on.
func TestSlowCallerIsNotTheProvidersSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := piped(t, Config{}, func(c *peer) {
			c.request()
			c.say(streamHead + chunk("data: 1\n\n"))
			c.say(chunk("data: 2\n\n") + streamEnd)
			c.gone()
		})
		ans, err := p.Do(t.Context(), streamCall())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ans.Stream.Next(); err != nil {
			t.Fatal(err)
		}
		ans.Stream.Content()
		time.Sleep(24 * time.Hour)
		if n, err := drain(ans.Stream); n != 1 || err != io.EOF {
			t.Errorf("%d frames, %v; want 1 and the end", n, err)
		}
	})
}

// TestNoTimeoutsNoEnd checks that a zero bounds nothing.
func TestNoTimeoutsNoEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := piped(t, Config{}, func(c *peer) {
			c.request()
			time.Sleep(10 * time.Hour)
			c.say(streamHead + chunk("data: 1\n\n"))
			time.Sleep(10 * time.Hour)
			c.say(chunk("data: 2\n\n") + streamEnd)
			c.gone()
		})
		c := streamCall()
		c.FirstToken, c.Stall = 0, 0
		ans, err := p.Do(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := drain(ans.Stream); n != 2 || err != io.EOF {
			t.Errorf("%d frames, %v; want 2 and the end", n, err)
		}
	})
}

// TestRefusalThatHangs wants the status judged all the same, and soon.
func TestRefusalThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := piped(t, Config{}, func(c *peer) {
			c.request()
			c.say("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 100\r\n\r\nslow down")
			c.gone()
		})
		start := time.Now()
		_, err := p.Do(t.Context(), call())
		f := wantFault(t, err, route.NoFault, drey.RateLimit)
		if f.Status != 429 || f.RetryAfter != 7*time.Second || string(f.Body) != "slow down" {
			t.Errorf("failure %+v", f)
		}
		if got := time.Since(start); got != errorBodyWait {
			t.Errorf("took %v, want %v", got, errorBodyWait)
		}
	})
}

// TestFinish wants the end of a finished answer's body waited for, and only
// for a moment.
func TestFinish(t *testing.T) {
	for _, ends := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			again := make(chan bool, 1)
			p := piped(t, Config{}, func(c *peer) {
				c.request()
				c.say(streamHead + chunk("data: [DONE]\n\n"))
				time.Sleep(20 * time.Millisecond)
				if ends {
					c.say(streamEnd)
				}
				again <- c.request() != nil
				c.say(jsonAnswer("{}"))
				c.gone()
			}, func(c *peer) {
				c.request()
				c.say(jsonAnswer("{}"))
				c.gone()
			})
			ans, err := p.Do(t.Context(), streamCall())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ans.Stream.Next(); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			ans.Stream.Finish()
			want := 20 * time.Millisecond
			if !ends {
				want = finishWait
			}
			if got := time.Since(start); got != want {
				t.Errorf("ends %v: Finish took %v, want %v", ends, got, want)
			}
			ans, err = p.Do(t.Context(), call())
			if err != nil {
				t.Fatal(err)
			}
			if got := <-again; got != ends || ans.Timing.Reused != ends {
				t.Errorf("ends %v: connection used again: %v, %v", ends, got, ans.Timing.Reused)
			}
		})
	}
}

// TestCancelAtEachStage lets the caller go away, and wants the provider to
// hear of it at once, and nothing counted.
func TestCancelAtEachStage(t *testing.T) {
	tests := []struct {
		name   string
		stream bool
		script func(c *peer, heard chan<- time.Time)
	}{
		{"while dialing", false, nil},
		{"while the request is written", false, func(c *peer, heard chan<- time.Time) {
			b := make([]byte, 16)
			io.ReadFull(c, b)
			time.Sleep(10 * time.Second) // the pipe is full; reads the rest when the caller is gone
			c.gone()
			heard <- time.Now()
		}},
		{"while waiting for headers", false, func(c *peer, heard chan<- time.Time) {
			c.request()
			c.gone()
			heard <- time.Now()
		}},
		{"within a body", false, func(c *peer, heard chan<- time.Time) {
			c.request()
			c.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{")
			c.gone()
			heard <- time.Now()
		}},
		{"within a refusal", false, func(c *peer, heard chan<- time.Time) {
			c.request()
			time.Sleep(8 * time.Second)
			c.say("HTTP/1.1 500 No\r\nContent-Length: 10\r\n\r\n{")
			c.gone()
			heard <- time.Now()
		}},
		{"before the first frame", true, func(c *peer, heard chan<- time.Time) {
			c.request()
			c.say(streamHead)
			c.gone()
			heard <- time.Now()
		}},
		{"between frames", true, func(c *peer, heard chan<- time.Time) {
			c.request()
			c.say(streamHead + chunk("data: x\n\n"))
			c.gone()
			heard <- time.Now()
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				heard := make(chan time.Time, 1)
				var p *Provider
				if tt.script == nil {
					p = piped(t, Config{Connect: time.Minute})
				} else {
					p = piped(t, Config{}, func(c *peer) { tt.script(c, heard) })
				}
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(10*time.Second, cancel)
				c := call()
				c.Stream = tt.stream
				start := time.Now()
				ans, err := p.Do(ctx, c)
				if err == nil {
					_, err = drain(ans.Stream)
				}
				f := wantFault(t, err, route.CallerGone, drey.Cancel)
				if f.Counts {
					t.Error("a caller that goes counts against the provider")
				}
				if got := time.Since(start); got != 10*time.Second {
					t.Errorf("Do came back after %v, want 10s", got)
				}
				if tt.script != nil {
					if got := (<-heard).Sub(start); got > 10*time.Second+100*time.Millisecond {
						t.Errorf("the provider heard of it after %v", got)
					}
				}
			})
		})
	}
}
