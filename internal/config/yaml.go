package config

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The limits of a file. A configuration comes nowhere near them; they keep the
// YAML parser, whose time and stack grow with the square of some of them, from
// being a way to stop the daemon.
const (
	maxFile  = 1 << 20
	maxKeys  = 10_000
	maxDepth = 32
)

type nodeKind uint8

const (
	scalarNode nodeKind = iota
	mappingNode
	listNode
	brokenNode // its fault is noted; it is as good as any value
)

// node is a YAML value without anything that the file does not allow: no
// anchors, no aliases, no tags, no duplicate keys.
type node struct {
	kind      nodeKind
	line, col int
	text      string // scalarNode
	plain     bool   // scalarNode: not quoted
	pairs     []pair // mappingNode, in order
	items     []*node
}

type pair struct {
	key       string
	line, col int
	value     *node
}

// reader turns bytes into nodes. Faults are collected in errs.
type reader struct {
	errs Errors
}

func (r *reader) fail(line, col int, path string, p *problem) {
	r.errs = append(r.errs, &Error{Line: line, Column: col, Path: path, Msg: p.msg, Hint: p.hint, rule: p.rule})
}

// read returns the value of the file's one document, or nil if it cannot be
// read at all. Either way there may be errs.
func (r *reader) read(data []byte) *node {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !r.legible(data) {
		return nil
	}
	src := string(data)
	tokens := lexer.Tokenize(src)
	if !r.bounded(tokens) {
		return nil
	}
	file := r.parse(src, tokens)
	if file == nil {
		return nil
	}
	var root ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		line, col := place(doc.Body)
		switch {
		case doc.Body.Type() == ast.DirectiveType:
			r.fail(line, col, "", wrong("remove the line", "a YAML directive has no place here"))
			return nil
		case root != nil:
			r.fail(line, col, "", wrong("keep one, and remove the --- between them", "a second document begins here"))
			return nil
		}
		root = doc.Body
	}
	if root == nil {
		r.fail(1, 1, "", wrong("write providers and profiles, or remove the file and let drey look for models by itself", "the file is empty"))
		return nil
	}
	return r.node(root, "", 0)
}

// legible reports whether the bytes are text that YAML may consist of.
func (r *reader) legible(data []byte) bool {
	if len(data) > maxFile {
		r.fail(1, 1, "", wrong("a configuration has at most 1 MiB", "the file is too large"))
		return false
	}
	line, col := 1, 1
	for len(data) > 0 {
		c, n := utf8.DecodeRune(data)
		switch {
		case c == utf8.RuneError && n == 1:
			r.fail(line, col, "", wrong("save the file as UTF-8", "a byte that is not UTF-8"))
			return false
		case c < ' ' && c != '\t' && c != '\n' && c != '\r', c == 0x7f:
			r.fail(line, col, "", wrong(`write it as an escape in double quotes`, "control character U+%04X", c))
			return false
		case c == '\r' && !bytes.HasPrefix(data, []byte("\r\n")):
			r.fail(line, col, "", wrong("save the file with the line ends of Unix or Windows", "a carriage return without a line feed"))
			return false
		case c == '\ufeff':
			r.fail(line, col, "", wrong("remove it", "a byte order mark in the middle of the file"))
			return false
		}
		if col++; c == '\n' {
			line, col = line+1, 1
		}
		data = data[n:]
	}
	return true
}

// bounded reports whether the tokens are within what the parser may be given.
func (r *reader) bounded(tokens token.Tokens) bool {
	depth, keys, run, line := 0, 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, run = t.Position.Line, 0
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth = max(0, depth-1)
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType:
			run++
		case token.MappingValueType:
			keys++
		}
		switch {
		case depth > maxDepth || run > maxDepth:
			r.fail(t.Position.Line, t.Position.Column, "", wrong("nothing in a configuration goes that deep", "more than %d levels within each other", maxDepth))
			return false
		case keys > maxKeys:
			r.fail(t.Position.Line, t.Position.Column, "", wrong("", "more than %d keys", maxKeys))
			return false
		}
	}
	return true
}

// parse is the library's parser. It is known to panic on some malformed files,
// and that is a fault of the file to who wrote it.
func (r *reader) parse(src string, tokens token.Tokens) (file *ast.File) {
	defer func() {
		if recover() != nil {
			r.fail(1, 1, "", wrong("check the indentation and the quotes", "the file is not YAML"))
			file = nil
		}
	}()
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err == nil {
		return file
	}
	var at interface {
		GetToken() *token.Token
		GetMessage() string
	}
	if !errors.As(err, &at) || at.GetToken() == nil {
		r.fail(1, 1, "", wrong("check the indentation and the quotes", "the file is not YAML"))
		return nil
	}
	pos := at.GetToken().Position
	r.fail(pos.Line, max(1, pos.Column), "", wrong(syntaxHint(src, pos.Line), "not YAML: %s", syntaxMessage(at.GetMessage())))
	return nil
}

var notPrintable = regexp.MustCompile(`[\x00-\x1f\x7f]`)

func syntaxMessage(msg string) string {
	return notPrintable.ReplaceAllStringFunc(msg, func(s string) string {
		if s == "\t" {
			return "tab"
		}
		return " "
	})
}

// syntaxHint guesses from a line what its writer has stumbled over.
func syntaxHint(src string, line int) string {
	lines := strings.Split(src, "\n")
	if line < 1 || line > len(lines) {
		return ""
	}
	text := strings.TrimSuffix(lines[line-1], "\r")
	trimmed := strings.TrimLeft(text, " \t")
	switch {
	case strings.Contains(text[:len(text)-len(trimmed)], "\t"):
		return "indent with spaces, not with tabs"
	case strings.HasPrefix(trimmed, "*"), strings.HasPrefix(trimmed, "?"):
		return `put a name that begins with * or ? in quotes, like "*-mini"`
	case strings.Count(text, ": ") > 1:
		return `put a value that holds ": " in quotes`
	case strings.ContainsAny(text, "@`%{}[]"):
		return "close every bracket, and put a value with special characters in quotes"
	default:
		return "check the indentation and the quotes"
	}
}

// node converts a value of the library's.
func (r *reader) node(n ast.Node, path string, depth int) *node {
	line, col := place(n)
	if depth > maxDepth {
		r.fail(line, col, path, wrong("nothing in a configuration goes that deep", "more than %d levels within each other", maxDepth))
		return &node{kind: brokenNode, line: line, col: col}
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		return r.mapping(n.Values, line, col, path, depth)
	case *ast.MappingValueNode:
		return r.mapping([]*ast.MappingValueNode{n}, line, col, path, depth)
	case *ast.SequenceNode:
		out := &node{kind: listNode, line: line, col: col}
		for i, v := range n.Values {
			out.items = append(out.items, r.node(v, fmt.Sprintf("%s[%d]", path, i), depth+1))
		}
		return out
	case *ast.LiteralNode:
		return &node{line: line, col: col, text: n.Value.Value}
	case *ast.AnchorNode, *ast.AliasNode:
		r.fail(line, col, path, wrong(`write the value out, or put it in quotes if it is text that begins with & or *`, "anchors and aliases are not used here"))
	case *ast.TagNode:
		r.fail(line, col, path, wrong("remove it, or put the value in quotes if it is text that begins with !", "tags are not used here"))
	case ast.ScalarNode:
		t := n.GetToken()
		quoted := t.Type == token.SingleQuoteType || t.Type == token.DoubleQuoteType
		return &node{line: line, col: col, text: t.Value, plain: !quoted}
	default:
		r.fail(line, col, path, wrong("check the indentation and the quotes", "not a value"))
	}
	return &node{kind: brokenNode, line: line, col: col}
}

func (r *reader) mapping(values []*ast.MappingValueNode, line, col int, path string, depth int) *node {
	out := &node{kind: mappingNode, line: line, col: col}
	seen := map[string]int{}
	for _, v := range values {
		kl, kc := place(v.Key)
		if v.Key.IsMergeKey() {
			r.fail(kl, kc, path, wrong("write the keys out", "merge keys are not used here"))
			out.kind = brokenNode // which of its keys are missing cannot be told
			continue
		}
		key, ok := v.Key.(ast.ScalarNode)
		if !ok || v.Key.Type() == ast.LiteralType {
			r.fail(kl, kc, path, wrong(`put a name that begins with a special character in quotes, like "*-mini"`, "a key must be a plain name"))
			continue
		}
		name := key.GetToken().Value
		at := join(path, name)
		if first, dup := seen[name]; dup {
			r.fail(kl, kc, at, wrong("keep one of the two", "this key stands in line %d already", first))
			continue
		}
		seen[name] = kl
		out.pairs = append(out.pairs, pair{name, kl, kc, r.node(v.Value, at, depth+1)})
	}
	return out
}

// place returns where a value begins. The library has a block mapping begin at
// the colon of its first key.
func place(n ast.Node) (line, col int) {
	switch m := n.(type) {
	case *ast.MappingNode:
		if !m.IsFlowStyle && len(m.Values) > 0 {
			return place(m.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return place(m.Key)
	}
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return 1, 1
	}
	p := n.GetToken().Position
	return max(1, p.Line), max(1, p.Column)
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// join appends a key to a path; a key that is no plain word goes in brackets.
func join(path, key string) string {
	switch {
	case !plainName.MatchString(key):
		return path + "[" + quoteJSON(key) + "]"
	case path == "":
		return key
	default:
		return path + "." + key
	}
}

// The types of plain scalars, by YAML's core schema.
var (
	nullRE  = regexp.MustCompile(`^(~|null|Null|NULL|)$`)
	boolRE  = regexp.MustCompile(`^(true|True|TRUE|false|False|FALSE)$`)
	intRE   = regexp.MustCompile(`^([-+]?[0-9]+|0x[0-9a-fA-F]+|0o[0-7]+)$`)
	floatRE = regexp.MustCompile(`^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`)
	weirdRE = regexp.MustCompile(`^([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$`)
)

func (n *node) isNull() bool { return n.kind == scalarNode && n.plain && nullRE.MatchString(n.text) }
func (n *node) isBool() bool { return n.kind == scalarNode && n.plain && boolRE.MatchString(n.text) }
func (n *node) isInt() bool  { return n.kind == scalarNode && n.plain && intRE.MatchString(n.text) }
func (n *node) isNumber() bool {
	return n.isInt() || n.kind == scalarNode && n.plain && floatRE.MatchString(n.text)
}
func (n *node) isText() bool {
	return n.kind == scalarNode && !n.isNull() && !n.isBool() && !n.isNumber() && !(n.plain && weirdRE.MatchString(n.text))
}

// what names the node's type to a person.
func (n *node) what() string {
	switch {
	case n.kind == mappingNode:
		return "a map"
	case n.kind == listNode:
		return "a list"
	case n.isNull():
		return "nothing"
	case n.isBool():
		return "true or false"
	case n.isNumber():
		return "a number"
	default:
		return "text"
	}
}
