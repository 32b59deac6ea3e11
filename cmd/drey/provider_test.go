package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/statedir"
)

// providersDaemon is a home in which a daemon listens that answers about
// providers as a real one does.
func providersDaemon(t *testing.T) (home string) {
	t.Helper()
	home, err := os.MkdirTemp("", "drey") // the path of a socket has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	lock, err := statedir.TryLock(statedir.At(home).Lock()) // else nobody is asked
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lock.Release)
	l, err := net.Listen("unix", filepath.Join(home, "drey.sock"))
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string]string{
		"GET /providers": `{"providers":[
			{"name":"cloud","class":"paid","state":"HEALTHY","phase":"ramping","ramp_limit":2,"parked_until":"2026-11-22T10:00:00.000000+00:00"},
			{"name":"local","class":"local","state":"EXCLUDED","phase":"probing","by":"health","next_probe_in_s":27.4,"consecutive_failures":6,
			 "process":{"state":"BACKOFF"},"last_error":{"class":"transport","at":"2026-11-22T10:00:00.000000+00:00","text":"connection refused"}}],"as_of_seq":1}`,
		"GET /providers/local": `{"name":"local","class":"local","wire":"chat","model":"qwen","url":"http://127.0.0.1:1/v1","state":"EXCLUDED","phase":"probing","by":"health",
			"reason":"consecutive","excluded_for_s":90,"interval_s":60,"next_probe_in_s":27,"in_flight":1,"queued":2,"attempts":9,"successes":3,"consecutive_failures":6,
			"process":{"state":"READY","pid":42,"port":8080},"last_error":{"class":"transport","at":"2026-11-22T10:00:00.000000+00:00","text":"connection refused"}}`,
		`POST /providers/local/exclude {"reason":"new driver","for":"2h"}`: `{"name":"local","state":"EXCLUDED","phase":"none","by":"operator","changed":true}`,
		`POST /providers/local/exclude {}`:                                 `{"name":"local","state":"EXCLUDED","phase":"none","by":"operator","changed":false}`,
		"POST /providers/local/restore":                                    `{"name":"local","state":"HEALTHY","phase":"ramping","ramp_limit":1,"changed":true}`,
		"POST /providers/local/restart":                                    `{"error":{"code":"restart_in_progress","message":"a restart of local runs already"}}`,
		`POST /providers/local/probe {"depth":"models"}`:                   `{"name":"local","state":"EXCLUDED","phase":"probing","changed":false,"probe":{"success":false,"depth":"liveness","latency_ms":3,"error":"connection refused"}}`,
		`POST /providers/cloud/probe {"allow_paid":true}`:                  `{"name":"cloud","state":"HEALTHY","phase":"none","changed":false,"probe":{"success":true,"depth":"generation","latency_ms":420}}`,
		`POST /providers/cloud/probe {}`:                                   `{"error":{"code":"paid_gate","message":"cloud costs money","hint":"--paid"}}`,
		`POST /providers/local/drain {"timeout":"1m"}`:                     `{"name":"local","state":"EXCLUDED","phase":"none","by":"operator","changed":true,"in_flight_killed":2}`,
		"GET /why/provider/local":                                          `{"subject":"provider","id":"local","summary":"local is HEALTHY.","steps":[{"at":"2026-11-22T10:00:03.000000+00:00","seq":12,"text":"excluded after 6 failures in a row"}],"earlier":2,"text":"x"}`,
		"GET /why/request/req_1":                                           `{"subject":"request","id":"req_1","summary":"local answered.","steps":[],"text":"x"}`,
	}
	status := map[string]int{"not_found": 404, "restart_in_progress": 409, "paid_gate": 403}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		key := strings.TrimSpace(r.Method + " " + strings.TrimPrefix(r.URL.Path, api.Prefix) + " " + string(body))
		answer, ok := answers[key]
		if !ok {
			answer = `{"error":{"code":"not_found","message":"there is none: ` + strings.ReplaceAll(key, `"`, "'") + `","hint":"known are cloud, local"}}`
		}
		var e api.ErrorBody
		if json.Unmarshal([]byte(answer), &e) == nil && e.Error.Code != "" {
			w.WriteHeader(status[e.Error.Code])
		}
		_, _ = io.WriteString(w, answer)
	})}
	done := make(chan struct{})
	go func() { _ = srv.Serve(l); close(done) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return home
}

func TestProviderCommands(t *testing.T) {
	t.Setenv("TZ", "UTC")
	home := providersDaemon(t)
	for _, tt := range []struct {
		args   string
		code   int
		stdout string // words that it prints, each
		stderr string
	}{
		{"provider list", 0, "cloud|HEALTHY, at most 2 at once, parked|EXCLUDED, probing in 27s, process BACKOFF|transport connection refused", ""},
		{"provider list --json", 0, `"providers": [|"next_probe_in_s": 27.4`, ""},
		{"provider show local", 0, "out for       1m30s|probed every  1m|1, waiting 2|READY, pid 42, port 8080|consecutive", ""},
		{"provider show local --json", 0, `"excluded_for_s": 90`, ""},
		{"provider show nobody", 2, "", "there is none|known are cloud, local"},
		{"provider exclude local --for 2h --reason new_driver", 2, "", ""}, // the daemon knows the reason with a space
		{"provider exclude local", 0, "local was taken out already (EXCLUDED by the operator)", ""},
		{"provider exclude local --for 2", 2, "", "no unit"},
		{"provider exclude", 2, "", "NAME is missing"},
		{"provider restore local", 0, "local is back (HEALTHY, at most 1 at once)", ""},
		{"provider restore nobody", 2, "", "there is none"},
		{"provider restart local", 1, "", "a restart of local runs already"},
		{"provider restart local --json", 1, "", `"code":"restart_in_progress"`},
		{"provider probe local --depth models", 1, "local liveness failed: connection refused", ""},
		{"provider probe cloud", 1, "", "cloud costs money|--paid"},
		{"provider probe cloud --paid", 0, "cloud generation ok after 420ms (HEALTHY)", ""},
		{"provider drain local --timeout 1m", 0, "local has nothing to do; answers cut: 2", ""},
		{"provider drain local", 0, "answers cut: 2", ""},
		{"provider lst", 2, "", "did you mean `drey provider list`"},
		{"why provider local", 0, "local is HEALTHY.|(2 breakdowns before these|excluded after 6 failures in a row", ""},
		{"why provider local --json", 0, `"seq": 12`, ""},
		{"why provider nobody", 2, "", "there is none"},
		{"why req_1", 0, "local answered.", ""},
		{"why req_2", 1, "", "there is none"},
		{"why", 2, "", "REQUEST-ID is missing"},
		{"__complete provider restore ", 0, "cloud\tHEALTHY|local\tEXCLUDED|:4", ""},
		{"__complete why provider ", 0, "local\tEXCLUDED|:4", ""},
		{"__complete provider restore local ", 0, ":4", ""},
		{"__complete provider probe --depth ", 0, "liveness", ""},
	} {
		t.Run(tt.args, func(t *testing.T) {
			args := append(strings.Split(tt.args, " "), "--home", home)
			if args[0] == "__complete" { // what is completed comes last
				args = append([]string{"__complete", "--home", home}, args[1:len(args)-2]...)
			}
			out, errs := providerRun(t, args, tt.code)
			for text, words := range map[string]string{out: tt.stdout, errs: tt.stderr} {
				for _, word := range strings.Split(words, "|") {
					if !strings.Contains(text, word) {
						t.Errorf("%q is not in\n%s", word, text)
					}
				}
			}
		})
	}
	out, _ := providerRun(t, []string{"provider", "exclude", "local", "--for", "2h", "--reason", "new driver", "--home", home}, 0)
	if !strings.Contains(out, "local is taken out (EXCLUDED by the operator)") {
		t.Errorf("exclude says %q", out)
	}
}

func TestProviderCommandsWithoutADaemon(t *testing.T) {
	t.Setenv(noStartEnv, "1")
	for _, args := range [][]string{{"provider", "list"}, {"provider", "restore", "a"}, {"why", "req_1"}, {"why", "provider", "a"}} {
		_, errs := providerRun(t, append(args, "--home", t.TempDir()), exitNoDaemon)
		if !strings.Contains(errs, "no daemon is running") {
			t.Errorf("%q says %q", args, errs)
		}
	}
}

func providerRun(t *testing.T, args []string, code int) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	if got := run(t.Context(), args, strings.NewReader(""), &out, &errs); got != code {
		t.Errorf("drey %s exited with %d, want %d\n%s%s", strings.Join(args, " "), got, code, &out, &errs)
	}
	return out.String(), errs.String()
}
