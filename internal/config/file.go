// Package config reads drey.yaml. It holds the structs of the whole file with
// every key of the contracts in place, and one strict decoder over them; the
// same structs give the defaults, the JSON Schema, the manual, the effective
// settings and the file that is written back, so that these cannot disagree.
//
// The package is pure: bytes, the environment and the home directory come in
// as arguments. Whether a secret exists is found out by who reads files.
//
// # Tags
//
// A key is described by the tags of its struct field:
//
//	yaml     the key; ",name" and ",value" mark the two halves of an entry of
//	         an ordered map, ",required" a key that must be there, ",keep" one
//	         that Marshal always writes
//	doc      what the key means, one sentence for the manual
//	default  the value of an absent key, written as in the file
//	range    "low..high", each end optional, written as in the file
//	enum     "a|b|c", the only words allowed
//	built    "no" keeps the place of a key of a later issue: it is refused as
//	         not built yet. Building it is removing the tag
//	restart  "yes": a change needs a restart of the daemon
//	path     "yes": a leading ~/ is the user's home
//	later    a regular expression of values that belong to a later issue
//	pattern  a regular expression that strings must match
//
// A pointer is an optional key without a default. A slice whose elements have
// a ",name" field is a map in the file, and keeps the order of the file.
package config

import (
	"github.com/dreyhq/drey"
)

// File is a whole configuration with all defaults in place. It is what Parse
// returns and is read-only from then on; one File may be read concurrently.
type File struct {
	Version         int             `yaml:"version,keep" default:"1" range:"1..1" doc:"version of the file's format"`
	Listen          Listen          `yaml:"listen" restart:"yes" doc:"where requests are taken, and how many"`
	AllowPaid       bool            `yaml:"allow_paid" default:"false" doc:"use providers of class paid; DREY_ALLOW_PAID beats it both ways"`
	DefaultProfile  drey.ProfileID  `yaml:"default_profile" default:"default" pattern:"^[A-Za-z0-9._-]{1,64}$" doc:"profile of requests that name none; auto asks the auto_router; DREY_PROFILE overrides it"`
	Providers       []Provider      `yaml:"providers,required" doc:"models behind endpoints, by name"`
	Profiles        []Profile       `yaml:"profiles,required" doc:"chains of providers with their policies, by name"`
	Aliases         []Alias         `yaml:"aliases" doc:"model name, with * and ? as wildcards, to a profile or provider; the first match in the order of the file counts"`
	AutoRouter      *AutoRouter     `yaml:"auto_router" doc:"rules that choose a profile by what a request looks like"`
	Health          Health          `yaml:"health" doc:"when a provider is taken out and how it comes back"`
	ContinuousProbe ContinuousProbe `yaml:"continuous_probe" doc:"probes of providers that nobody uses at the moment"`
	ProcessGroups   []ProcessGroup  `yaml:"process_groups" doc:"groups of processes that compete for memory, by name"`
	Lifecycle       Lifecycle       `yaml:"lifecycle" doc:"when the daemon goes to sleep"`
	Operations      Operations      `yaml:"operations" doc:"limits of the registry of operations"`
	Store           Store           `yaml:"store" default:"sqlite" restart:"yes" doc:"sqlite, drey.db in the home; or a postgres:// URL without a password, or a reference to one, for many dreys"`
	Journal         Journal         `yaml:"journal" doc:"how long the record of transitions and the rows of requests are kept"`
	Keys            []Key           `yaml:"keys" doc:"who may call; without keys everybody on this machine"`
	Budget          *Budget         `yaml:"budget" doc:"over all paid providers together"`
	Logs            Logs            `yaml:"logs" doc:"the logs on disk"`
	Telemetry       Telemetry       `yaml:"telemetry" doc:"metrics and traces"`

	// origins says which paths the file and the environment have set.
	origins map[string]Source
}

// Listen says where requests are taken.
type Listen struct {
	Addr         string        `yaml:"addr" default:"127.0.0.1:3739" doc:"host:port; beyond loopback only with keys"`
	AllowedHosts []string      `yaml:"allowed_hosts" doc:"further names that a Host header may have"`
	MaxBodyMB    int           `yaml:"max_body_mb" default:"64" range:"1..1024" doc:"largest request body, unpacked, in MiB"`
	MaxStreams   int           `yaml:"max_streams" default:"4096" range:"1.." doc:"requests at once; above it 503"`
	Keepalive    drey.Duration `yaml:"keepalive" default:"10s" range:"1s..1m" doc:"between signs of life on a stream that is silent"`
}

// Alias sends the models that match Pattern to a profile or provider.
type Alias struct {
	Pattern string `yaml:",name" doc:"model name with * and ?"`
	Target  string `yaml:",value" doc:"a profile, or else a provider"`
}

// Journal says how long the record of transitions and the rows of requests are
// kept.
type Journal struct {
	Keep drey.Duration `yaml:"keep" default:"30d" range:"1d.." doc:"age at which rows of the journal and of requests are removed; what a machine still needs to go on stays"`
}

// Key lets a client in.
type Key struct {
	Name              string           `yaml:"name,required" pattern:"^[A-Za-z0-9._-]{1,64}$" doc:"what logs and metrics call it"`
	Secret            Secret           `yaml:"secret,required" doc:"the key itself, as env:NAME or file:PATH"`
	Profiles          []drey.ProfileID `yaml:"profiles" doc:"profiles that it may use; none named = all"`
	Admin             bool             `yaml:"admin" default:"false" doc:"may use the control API"`
	Budget            *Budget          `yaml:"budget" doc:"what it may spend"`
	RequestsPerMinute int              `yaml:"requests_per_minute" default:"0" range:"0.." doc:"above it 429; 0 = no limit"`
}

// Logs says what is written to disk.
type Logs struct {
	Level         drey.Level `yaml:"level" default:"info" enum:"debug|info|warn|error" doc:"least level of log lines"`
	Audit         bool       `yaml:"audit" default:"true" doc:"write decisions to audit.jsonl"`
	AuditMaxMB    int        `yaml:"audit_max_mb" default:"10" range:"1..1024" doc:"size in MiB at which audit.jsonl is rotated"`
	Requests      bool       `yaml:"requests" default:"true" doc:"write a row per request, never its body, to requests.jsonl"`
	RequestsMaxMB int        `yaml:"requests_max_mb" default:"50" range:"1..1024" doc:"size in MiB at which requests.jsonl is rotated"`
	Keep          int        `yaml:"keep" default:"3" range:"1..20" doc:"rotated files kept of each"`
	Capture       string     `yaml:"capture" default:"off" enum:"off|errors|all" doc:"keep requests with their bodies and their providers' raw answers, redacted, for drey replay: those that failed somewhere, or all"`
	CaptureMaxMB  int        `yaml:"capture_max_mb" default:"256" range:"1.." doc:"size of all captures in MiB; the oldest go"`
	Mirror        string     `yaml:"mirror" built:"no" path:"yes" doc:"file that gets every event as a line of JSON"`
}

// Telemetry says what is told to monitoring.
type Telemetry struct {
	OTLPEndpoint  string  `yaml:"otlp_endpoint" built:"no" doc:"where traces are sent"`
	Sample        float64 `yaml:"sample" built:"no" default:"1.0" range:"0..1" doc:"share of requests that is traced"`
	Metrics       bool    `yaml:"metrics" default:"true" doc:"serve /metrics"`
	MetricsListen string  `yaml:"metrics_listen" restart:"yes" doc:"host:port of a listener with /metrics and nothing else"`
}

// Default returns the file of an empty configuration: all defaults, and
// neither provider nor profile. It is not valid until it has one of each.
func Default() *File {
	f := &File{origins: map[string]Source{}}
	setDefaults(fileSpec, valueOf(f))
	return f
}

// Provider returns the provider of that name, or nil.
func (f *File) Provider(name drey.ProviderID) *Provider {
	for i := range f.Providers {
		if f.Providers[i].Name == name {
			return &f.Providers[i]
		}
	}
	return nil
}

// Profile returns the profile of that name, or nil.
func (f *File) Profile(name drey.ProfileID) *Profile {
	for i := range f.Profiles {
		if f.Profiles[i].Name == name {
			return &f.Profiles[i]
		}
	}
	return nil
}
