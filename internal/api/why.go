package api

import "github.com/dreyhq/drey"

// Why is an explanation: GET /why/request/{id}, /why/provider/{name},
// /why/operation/{id} and /why/daemon.
type Why struct {
	Subject string    `json:"subject" enum:"provider,request,operation,daemon"`
	ID      string    `json:"id"`
	Summary string    `json:"summary" doc:"how it stands, or how it ended"`
	Steps   []WhyStep `json:"steps" doc:"what led there, in order of time"`
	Earlier int       `json:"earlier,omitempty" doc:"breakdowns of a provider, or wakes of the daemon, before these, which are in the journal"`
	Text    string    `json:"text" doc:"the same for people, with times in UTC"`
}

// WhyStep is one thing that happened.
type WhyStep struct {
	At        string         `json:"at"`
	Seq       drey.Seq       `json:"seq,omitempty" doc:"its event in the journal; absent on telemetry"`
	Event     string         `json:"event,omitempty"`
	RequestID drey.RequestID `json:"request_id,omitempty" doc:"the request that it goes back to"`
	Text      string         `json:"text"`
}
