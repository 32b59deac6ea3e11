package autoroute

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"
)

// The size of a condition. A person's condition is one line.
const (
	maxSource = 4 << 10 // bytes
	maxNodes  = 256     // variables, constants and operators
)

// Condition is a compiled condition. It is read-only and may be evaluated
// concurrently.
type Condition struct {
	program     *vm.Program
	text, ratio bool // it looks at text, at code_ratio
}

// Fault is what is wrong with a condition.
type Fault struct {
	Offset int    // where, in characters from its beginning
	Msg    string // what is wrong
	Hint   string // what to do
}

// Error returns what is wrong and what to do.
func (f *Fault) Error() string { return f.Msg + "; " + f.Hint }

// Compile compiles a condition and checks its types and its cost. The error is
// a *Fault. No source makes it panic.
func Compile(source string) (c *Condition, err error) {
	defer func() {
		if recover() != nil { // the library's, on a source that it does not foresee
			c, err = nil, &Fault{Msg: "this cannot be read as a condition", Hint: "write it like " + example}
		}
	}()
	switch {
	case strings.TrimSpace(source) == "":
		return nil, &Fault{Msg: "an empty condition", Hint: "write one like " + example + ", or true for all requests"}
	case len(source) > maxSource:
		return nil, &Fault{Msg: fmt.Sprintf("a condition of more than %d bytes", maxSource), Hint: "split it into several rules"}
	case !utf8.ValidString(source):
		return nil, &Fault{Msg: "a byte that is not UTF-8", Hint: "save the file as UTF-8"}
	}
	g := newGuard()
	options := []expr.Option{expr.Env(Signals{}), expr.AsBool(), expr.MaxNodes(maxNodes), expr.Patch(g), expr.DisableAllBuiltins()}
	for name := range functions {
		options = append(options, expr.EnableBuiltin(name))
	}
	program, err := expr.Compile(source, options...)
	switch {
	case err != nil:
		return nil, explain(source, err)
	case g.fault != nil:
		return nil, g.fault
	case g.total > budget:
		return nil, tooCostly(g.worst)
	}
	return &Condition{program: program, text: g.used["text"], ratio: g.used["code_ratio"]}, nil
}

// example is a condition that hints show.
const example = `has_image or tokens > 30000`

// Eval evaluates the condition. An error means that it has no answer for these
// signals: it asked for an element that a list does not have, for instance. The
// error repeats nothing of the signals.
func (c *Condition) Eval(s *Signals) (yes bool, err error) {
	defer func() {
		if recover() != nil {
			yes, err = false, errors.New("the condition could not be evaluated")
		}
	}()
	machine := vm.VM{}
	out, err := machine.Run(c.program, s)
	if err != nil {
		return false, errors.New(message(err))
	}
	yes, ok := out.(bool)
	if !ok {
		return false, errors.New("the condition is neither true nor false")
	}
	return yes, nil
}

// explain turns the library's error into a fault of the source.
func explain(source string, err error) *Fault {
	f := &Fault{Msg: message(err), Hint: "write it like " + example}
	var at *file.Error
	if errors.As(err, &at) {
		f.Offset = min(max(0, at.From), utf8.RuneCountInString(source))
	}
	switch name, unknown := strings.CutPrefix(f.Msg, "unknown name "); {
	case unknown && functions[name]:
		f.Msg, f.Hint = name+" is a function", "call it as "+name+"(…)"
	case unknown:
		f.Hint = "the variables are " + strings.Join(variables, ", ")
	case strings.HasPrefix(f.Msg, "expected bool, but got"):
		f.Msg, f.Hint = "a condition is true or false, and this is neither", "compare it, like "+example
	case strings.HasPrefix(f.Msg, "error parsing regexp"):
		f.Hint = "mend the pattern; its syntax is that of RE2, without lookahead and backreferences"
	case strings.Contains(f.Msg, "exceeds maximum allowed nodes"):
		f.Msg, f.Hint = fmt.Sprintf("more than %d variables, constants and operators", maxNodes), "split it into several rules"
	}
	return f
}

// message is the first line of the library's error, without the picture of the
// source that it draws.
func message(err error) string {
	msg := err.Error()
	var at *file.Error
	if errors.As(err, &at) {
		msg = at.Message
	}
	msg, _, _ = strings.Cut(msg, "\n")
	return clip(msg, 200)
}
