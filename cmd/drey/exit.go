package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/dreyhq/drey"
	"github.com/dreyhq/drey/internal/api"
	"github.com/dreyhq/drey/internal/client"
	"github.com/dreyhq/drey/internal/config"
	"github.com/dreyhq/drey/internal/daemon"
)

// Exit codes, the same for all commands (docs/design.md, section 9).
const (
	exitOK        = 0   // done, or so already
	exitFailed    = 1   // failed, refused, or an id that is not there
	exitUsage     = 2   // usage or configuration
	exitNoDaemon  = 3   // no daemon, and none could be started
	exitLocked    = 4   // another daemon holds the lock
	exitAttention = 5   // works, and wants attention (doctor)
	exitTimedOut  = 124 // time over
)

// codeUsage is the code of an error about how a command was called.
const codeUsage = "usage"

// exitStatus ends the program with a code and nothing more to say.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// exitCode is the one place that maps an error to an exit code.
func exitCode(err error) int {
	if status, ok := errors.AsType[exitStatus](err); ok {
		return int(status)
	}
	if _, ok := errors.AsType[unknownProvider](err); ok {
		return exitUsage
	}
	switch codeOf(err) {
	case codeUsage, "config", "no_home", "socket_path_too_long",
		api.CodeConfigRejected, api.CodeInvalidArgument:
		return exitUsage
	case client.CodeNoDaemon, api.CodeNotStarted:
		return exitNoDaemon
	case "locked", "store_held":
		return exitLocked
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return exitTimedOut
	}
	return exitFailed
}

// codeOf is the first code in err's tree, or "".
func codeOf(err error) string {
	for {
		e, ok := errors.AsType[*drey.Error](err)
		switch {
		case !ok:
			return ""
		case e.Code != "":
			return e.Code
		}
		err = e.Err
	}
}

// errorReport is an error under --json, in the shape of the control API's.
type errorReport struct {
	Error errorText `json:"error"`
}

type errorText struct {
	Code      string      `json:"code"`
	Message   string      `json:"message"`
	Hint      string      `json:"hint,omitempty"`
	Fields    []api.Field `json:"fields,omitempty"`
	RequestID string      `json:"request_id,omitempty"`
}

// describe takes an error apart for those who show it.
func describe(err error) errorText {
	t := errorText{Code: codeOf(err), Message: err.Error(), Hint: drey.HintOf(err)}
	if t.Code == "" {
		t.Code = "failed"
	}
	if e, ok := errors.AsType[*api.Error](err); ok { // the daemon's words
		t.Message, t.Fields, t.RequestID = e.Message, e.Fields, e.RequestID
	}
	if _, ok := errors.AsType[config.Errors](err); ok {
		t.Fields, t.Hint = daemon.ConfigFields(err), "" // each says what to do
		t.Message = "the configuration is bad"
	}
	return t
}

// printError says on stderr what went wrong and what to do. Each fault of a
// configuration has a line of its own that begins with its place, as editors
// and their users expect it.
func (c *cli) printError(err error) {
	if _, ok := errors.AsType[exitStatus](err); ok {
		return
	}
	t := describe(err)
	if c.json {
		enc := json.NewEncoder(c.stderr)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(errorReport{t}) // strings only; and there is nobody left to tell
		return
	}
	for _, f := range t.Fields {
		fmt.Fprintln(c.stderr, fieldLine(f))
	}
	fmt.Fprintf(c.stderr, "drey: %s\n", t.Message)
	if t.Hint != "" {
		fmt.Fprintf(c.stderr, "  %s\n", t.Hint)
	}
}

func fieldLine(f api.Field) string {
	if f.Path == "" {
		return f.Message
	}
	return f.Path + ": " + f.Message
}
