package server

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/gateway"
	"github.com/dreyhq/drey/internal/route"
)

// front answers /: agents ask it first, to see whether somebody is there, and
// people come with a browser.
func (s *Server) front(v *visit) {
	if !v.method(http.MethodGet, http.MethodHead) {
		return
	}
	h := v.Header()
	h.Set("Vary", "Accept")
	if !strings.Contains(v.r.Header.Get("Accept"), "text/html") {
		v.json(http.StatusOK, struct {
			Service string `json:"service"`
			Version string `json:"version"`
		}{"drey", s.cfg.Version})
		return
	}
	var page bytes.Buffer
	// The Host was checked: it is one of ours, and so is the base URL made of it.
	if err := frontPage.Execute(&page, struct{ Version, Base string }{s.cfg.Version, "http://" + v.r.Host}); err != nil {
		panic(err) // the template is ours
	}
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	v.answer(http.StatusOK, "text/html; charset=utf-8", page.Bytes())
}

//go:embed front.html
var frontHTML string

var frontPage = template.Must(template.New("front").Parse(frontHTML))

// healthz says that the process is alive.
func (s *Server) healthz(v *visit) {
	if v.method(http.MethodGet, http.MethodHead) {
		v.json(http.StatusOK, struct {
			Status string `json:"status"`
		}{"alive"})
	}
}

// unready is why a provider is out, for /readyz.
type unready struct {
	Provider drey.ProviderID `json:"provider"`
	Reason   string          `json:"reason"`
	Until    string          `json:"until,omitempty"`
}

// readyz says whether a request would find a provider: in any profile, or in
// the one of the path.
func (s *Server) readyz(v *visit) {
	if !v.method(http.MethodGet, http.MethodHead) || !s.knownProfile(v) {
		return
	}
	reasons := []unready{}
	for _, p := range s.cfg.Gateway.Profiles() {
		if v.profile != "" && string(p.ID) != v.profile {
			continue
		}
		if p.Ready {
			v.json(http.StatusOK, struct {
				Status string `json:"status"`
			}{"ready"})
			return
		}
		for _, out := range p.Out {
			if why := (unready{out.Provider, out.Reason, timeText(out.Until)}); !slices.Contains(reasons, why) {
				reasons = append(reasons, why)
			}
		}
	}
	v.Header()["Retry-After"] = []string{"5"}
	v.json(http.StatusServiceUnavailable, struct {
		Status  string    `json:"status"`
		Reasons []unready `json:"reasons"`
	}{"not ready", reasons})
}

// knownProfile refuses a path that names a profile which is not there. Requests
// that generate are told so by the gateway.
func (s *Server) knownProfile(v *visit) bool {
	if v.profile == "" {
		return true
	}
	var names []string
	for _, p := range s.cfg.Gateway.Profiles() {
		if string(p.ID) == v.profile {
			return true
		}
		names = append(names, string(p.ID))
	}
	v.refuse(&gateway.Refusal{
		Case: route.CaseBadRequest, Code: route.CodeUnknownProfile,
		Message: "there is no profile " + strconv.Quote(clip(v.profile)) + "; there is " + strings.Join(names, ", "),
	})
	return false
}

// metrics answers /metrics, which has the rules of the agents' API.
func (s *Server) metrics(v *visit) {
	if !v.method(http.MethodGet, http.MethodHead) {
		return
	}
	if !v.d.open() {
		if _, ok, given := v.d.keyOf(v.r.Header); !ok {
			s.keyRefused(v.at, doorMetrics, "", missingOr(given, "unknown"), v.id, v.r.RemoteAddr)
			v.refuse(&gateway.Refusal{Case: route.CaseKey, Message: keyMessage(given)})
			return
		}
	}
	setID(v.Header(), v.id)
	s.cfg.Metrics.ServeHTTP(v, v.r)
}

// json answers with a value of ours.
func (v *visit) json(status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		panic(err) // our own types, all of them plain
	}
	v.answer(status, "application/json", body)
}

// answer sends a whole answer.
func (v *visit) answer(status int, contentType string, body []byte) {
	h := v.Header()
	setID(h, v.id)
	h["Content-Type"] = []string{contentType}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	v.WriteHeader(status)
	_, _ = v.Write(body) // a caller that is gone has no use for it
}
