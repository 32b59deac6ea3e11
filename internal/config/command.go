package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/dreyhq/drey"
)

// Command is a program to run: Argv, or a Line that is split by the quoting
// rules of a shell (Words). The zero value is none.
type Command struct {
	Argv []string
	Line string
}

// IsZero reports whether there is no command.
func (c Command) IsZero() bool { return len(c.Argv) == 0 && c.Line == "" }

// String returns the command on one line, as events show it: the line as it
// stands in the file, a list joined by spaces.
func (c Command) String() string {
	if len(c.Argv) > 0 {
		return strings.Join(c.Argv, " ")
	}
	return c.Line
}

// Words returns the program and its arguments: Argv, or the Line split by the
// quoting rules of a POSIX shell, without a shell and without anything that
// only a shell could do: no variables, no patterns, no lists of commands. A
// line that asks for one of those is refused instead of being run as something
// else than it says; so is an empty one. Inside single quotes everything is
// literal but a newline; inside double quotes $ and ` are refused, as a shell
// would expand them.
//
// The error is a *drey.Error whose Hint says what to do (restart_shell). It
// does not repeat the line. A command of a File that Parse returned has none,
// unless restart_shell says that the line is a shell's.
func (c Command) Words() ([]string, error) {
	if len(c.Argv) > 0 {
		return c.Argv, nil
	}
	p := splitter{in: strings.TrimRight(c.Line, "\r\n")}
	if err := p.split(); err != nil {
		return nil, &drey.Error{Class: drey.Caller, Code: "invalid_argument", Op: "split command", Err: err, Hint: lineHint}
	}
	return p.words, nil
}

const lineHint = "quote it, write the command as a list of words, or set restart_shell: true to have /bin/sh run the line"

// splitter holds the words so far and the one that is being read.
type splitter struct {
	in    string
	words []string
	word  strings.Builder
	open  bool // a word has begun; it may be empty ('')
	bare  bool // and nothing of it was quoted
}

func (p *splitter) split() error {
	if i := strings.IndexAny(p.in, "\n\x00"); i >= 0 {
		// A newline is refused in quotes too: a command of several lines is
		// more often a script than an argument.
		return fmt.Errorf("%s in a command", controlName(p.in[i]))
	}
	for i := 0; i < len(p.in); {
		n, err := p.step(p.in[i:])
		if err != nil {
			return err
		}
		i += n
	}
	if err := p.end(); err != nil {
		return err
	}
	if len(p.words) == 0 {
		return errors.New("an empty command")
	}
	if p.words[0] == "" {
		return errors.New("the command's name is empty")
	}
	return nil
}

// step reads one character or one quoted part from the beginning of s and
// returns its length.
func (p *splitter) step(s string) (int, error) {
	switch c := s[0]; c {
	case ' ', '\t':
		return 1, p.end()
	case '\'':
		n := strings.IndexByte(s[1:], '\'')
		if n < 0 {
			return 0, errors.New("a single quote that is not closed")
		}
		p.add(s[1:1+n], true)
		return n + 2, nil
	case '"':
		return p.double(s)
	case '\\':
		if len(s) == 1 {
			return 0, errors.New("a backslash at the end")
		}
		p.add(s[1:2], true)
		return 2, nil
	case '&', '|', ';', '<', '>', '(', ')', '`', '$', '~', '*', '?':
		return 0, fmt.Errorf("%s needs a shell", operator(s))
	case '#':
		if !p.open {
			return 0, errors.New("a comment (#) needs a shell")
		}
	}
	p.add(s[:1], false)
	return 1, nil
}

// double reads a part in double quotes.
func (p *splitter) double(s string) (int, error) {
	p.add("", true)
	for i := 1; i < len(s); i++ {
		switch c := s[i]; c {
		case '"':
			return i + 1, nil
		case '$', '`':
			return 0, fmt.Errorf("%s in double quotes needs a shell", operator(s[i:]))
		case '\\':
			if i+1 < len(s) && strings.IndexByte("$`\"\\", s[i+1]) >= 0 {
				i++
			}
		}
		p.word.WriteByte(s[i])
	}
	return 0, errors.New("a double quote that is not closed")
}

func (p *splitter) add(text string, quoted bool) {
	if !p.open {
		p.open, p.bare = true, true
	}
	// A quote behind the = of NAME=value does not make it less of an assignment.
	if quoted && !strings.Contains(p.word.String(), "=") {
		p.bare = false
	}
	p.word.WriteString(text)
}

// end ends the word that is being read, if there is one.
func (p *splitter) end() error {
	if !p.open {
		return nil
	}
	w := p.word.String()
	if name, _, found := strings.Cut(w, "="); len(p.words) == 0 && found && p.bare && isVariable(name) {
		return errors.New("NAME=value before the command needs a shell (or an entry of restart_env)")
	}
	p.words = append(p.words, w)
	p.word.Reset()
	p.open = false
	return nil
}

// operator returns the operator that s begins with, as people write it.
func operator(s string) string {
	for _, op := range []string{"&&", "||", "$("} {
		if strings.HasPrefix(s, op) {
			return op
		}
	}
	return s[:1]
}

func controlName(c byte) string {
	if c == 0 {
		return "a NUL byte"
	}
	return "a newline"
}

// isVariable reports whether s is a name of a variable to a shell.
func isVariable(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
