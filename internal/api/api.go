// Package api is the control API's JSON: what the server writes and the CLI
// reads. Both sides use these types, so that they cannot disagree; the OpenAPI
// document is made from them.
//
// Names end in the unit of what they hold (uptime_s). Times are text in the
// form of drey.FormatTime; an empty time means that there is none.
package api

import (
	"encoding/json"

	"github.com/dreyhq/drey"
)

// Prefix is where the control API begins.
const Prefix = "/api/v1"

// Status is the daemon in one look: GET /status.
type Status struct {
	Version   string `json:"version"`
	PID       int    `json:"pid"`
	State     string `json:"state" doc:"WAKE, DROWSY, SLEEP or HIBERNATION"`
	StartedAt string `json:"started_at"`
	UptimeS   int64  `json:"uptime_s"`

	Listen []string `json:"listen" doc:"the addresses of the agents' API"`
	Socket string   `json:"socket,omitempty" doc:"the control socket"`
	Home   string   `json:"home"`
	Config string   `json:"config" doc:"the configuration's file, or zero-config where there is none"`

	AllowPaid      bool           `json:"allow_paid"`
	DefaultProfile drey.ProfileID `json:"default_profile"`
	Profiles       []Profile      `json:"profiles"`
	Providers      []Provider     `json:"providers"`

	Budgets  []Budget `json:"budgets,omitempty" doc:"those with a limit"`
	Requests Traffic  `json:"requests"`
	Journal  Journal  `json:"journal"`
}

// Traffic counts requests of agents (not attempts at providers).
type Traffic struct {
	InFlight int               `json:"in_flight"`
	Total    uint64            `json:"total" doc:"since the home was made"`
	Outcomes map[string]uint64 `json:"outcomes,omitempty" doc:"of the total: ok, cancel, failed, failed_midstream, refused"`
	Dropped  uint64            `json:"dropped_rows,omitempty" doc:"rows that were not written down since the start"`
}

// Journal is where the record of transitions stands.
type Journal struct {
	Store string   `json:"store" doc:"where it is kept: a file, or the URL or reference that the configuration has"`
	Head  drey.Seq `json:"head" doc:"the last committed seq"`
	Epoch uint64   `json:"epoch" doc:"raised by one at each start"`
}

// Profile is a chain of providers and whether it can serve.
type Profile struct {
	ID    drey.ProfileID      `json:"id"`
	Chain [][]drey.ProviderID `json:"chain" doc:"in order of trial; more than one in a place is a pool of equals"`
	Ready bool                `json:"ready" doc:"some provider of the chain may be tried now"`
}

// Requests is one page of GET /requests, newest first: rows as requests.jsonl
// holds them.
type Requests struct {
	Requests []json.RawMessage `json:"requests"`
	Page
}

// Events is one page of GET /events, in the order of seq. Its next_cursor is
// the seq to pass as after.
type Events struct {
	Events []drey.Event `json:"events"`
	Page
}

// Page is what every list ends with.
type Page struct {
	NextCursor string   `json:"next_cursor,omitempty" doc:"pass it as cursor to go on; absent on the last page"`
	AsOfSeq    drey.Seq `json:"as_of_seq" doc:"the journal's head when the page was read"`
}

// Config is the configuration in force: GET /config. Secrets are the
// references that the file holds (env:NAME, file:PATH), never their values.
type Config struct {
	Source   string            `json:"source" doc:"the file, or zero-config where there is none"`
	LoadedAt string            `json:"loaded_at"`
	Settings json.RawMessage   `json:"settings" doc:"in the shape of the file, every default in place"`
	Origins  map[string]string `json:"origins,omitempty" doc:"where a value came from, by the path of its key; the rest are defaults"`
}

// Reload tells what a reload did: POST /config/reload.
type Reload struct {
	Source       string   `json:"source"`
	LoadedAt     string   `json:"loaded_at"`
	NeedsRestart []string `json:"needs_restart,omitempty" doc:"keys whose change waits for the next start"`
}

// Gap is the live message gap: events that the reader has missed and that the
// journal does not hold any more. Both ends are among the missing.
type Gap struct {
	From drey.Seq `json:"from"`
	To   drey.Seq `json:"to"`
}

// Overflow is the live message overflow, the last one of its stream: the reader
// was too far behind. It may come back and resume after Seq.
type Overflow struct {
	Seq drey.Seq `json:"seq"`
}

// Names of live messages that are no events.
const (
	MessageGap      = "gap"
	MessageOverflow = "overflow"
)
