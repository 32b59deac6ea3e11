package autoroute

import (
	"fmt"
	"reflect"
	"regexp/syntax"

	"github.com/expr-lang/expr/ast"
)

// budget is what a condition may cost at worst, in nanoseconds. Source: the
// gateway contract §3, "within 1 ms".
const budget = 1_000_000

// What evaluating costs at worst, in nanoseconds, as measured on one core of a
// virtual machine (BenchmarkWorst) and rounded up.
const (
	perNode    = 40 // one variable, constant or operator
	perRound   = 80 // one round of a loop, without its body
	perByte    = 1  // searching or comparing text
	perFold    = 8  // lower, upper: they build a new text
	perElement = 40 // looking at one element of a list
	// perState is a byte of text against one state of a pattern. The engine of
	// regexp takes time linear in both.
	perState = 5
)

// functions are those of the language that a condition may call. The others
// could build values without bound, read the clock, or are of no use here.
var functions = map[string]bool{
	"len": true, "lower": true, "upper": true, "trim": true, "abs": true, "min": true, "max": true,
	"all": true, "any": true, "none": true, "one": true, "count": true,
}

// guard visits a condition from its leaves up and adds up what it costs at
// worst. What it does not know it refuses.
type guard struct {
	used  map[string]bool // variables
	seen  map[ast.Node]weight
	total int64
	worst ast.Node // the largest single part of the cost
	peak  int64
	fault *Fault // the first
}

// weight is what is known of the value of a node.
type weight struct {
	cost  int64 // to evaluate it, ns
	bytes int64 // length at most, if it is text or made of texts
	count int64 // elements at most, if it is a list
}

func newGuard() *guard {
	return &guard{used: map[string]bool{}, seen: map[ast.Node]weight{}}
}

// Visit is called for each node after those below it, the root last.
func (g *guard) Visit(node *ast.Node) {
	w := g.weigh(*node)
	g.seen[*node] = w
	g.total = w.cost
}

func (g *guard) refuse(n ast.Node, msg, hint string) weight {
	if g.fault == nil {
		g.fault = &Fault{Offset: n.Location().From, Msg: msg, Hint: hint}
	}
	return weight{}
}

// spend notes the cost of one operation, for the message about the worst of
// them.
func (g *guard) spend(n ast.Node, cost int64) int64 {
	if cost > g.peak {
		g.peak, g.worst = cost, n
	}
	return cost
}

func (g *guard) weigh(n ast.Node) weight {
	switch n := n.(type) {
	case *ast.NilNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return weight{cost: perNode}
	case *ast.StringNode:
		return weight{cost: perNode, bytes: int64(len(n.Value))}
	case *ast.IdentifierNode:
		return g.variable(n)
	case *ast.PointerNode: // # in the body of a loop; #index and #acc are numbers
		return weight{cost: perNode, bytes: maxName}
	case *ast.PredicateNode:
		return g.seen[n.Node]
	case *ast.ChainNode:
		return g.seen[n.Node]
	case *ast.UnaryNode:
		w := g.seen[n.Node]
		return weight{cost: w.cost + perNode}
	case *ast.BinaryNode:
		return g.binary(n)
	case *ast.ConditionalNode:
		a, b := g.seen[n.Exp1], g.seen[n.Exp2]
		return weight{g.seen[n.Cond].cost + a.cost + b.cost + perNode, max(a.bytes, b.bytes), max(a.count, b.count)}
	case *ast.MemberNode:
		list := g.seen[n.Node]
		return weight{cost: list.cost + g.seen[n.Property].cost + perElement, bytes: list.bytes}
	case *ast.SliceNode:
		w := g.seen[n.Node]
		for _, end := range []ast.Node{n.From, n.To} {
			if end != nil {
				w.cost += g.seen[end].cost
			}
		}
		w.cost += perNode + w.bytes*perByte
		return w
	case *ast.ArrayNode:
		w := weight{cost: perNode, count: int64(len(n.Nodes))}
		for _, item := range n.Nodes {
			w.cost += g.seen[item].cost + perElement
			w.bytes = max(w.bytes, g.seen[item].bytes)
		}
		return w
	case *ast.BuiltinNode:
		return g.call(n, n.Name, n.Arguments)
	case *ast.CallNode:
		if name, ok := n.Callee.(*ast.IdentifierNode); ok {
			return g.call(n, name.Value, n.Arguments)
		}
		return g.refuse(n, "this cannot be called", "the functions are all, any, none, one, count, len, lower, upper, trim, abs, min and max")
	case *ast.VariableDeclaratorNode:
		return g.refuse(n, "let has no place in a condition", "write the value out where it is used")
	default:
		return g.refuse(n, "this has no place in a condition", "compare variables, like "+example)
	}
}

func (g *guard) variable(n *ast.IdentifierNode) weight {
	if functions[n.Value] { // the callee of a call
		return weight{}
	}
	g.used[n.Value] = true
	switch n.Value {
	case "text":
		return weight{cost: perNode, bytes: maxText}
	case "tools":
		return weight{cost: perNode, bytes: maxName, count: maxTools}
	case "model", "key", "wire":
		return weight{cost: perNode, bytes: maxWord}
	case "$env":
		return g.refuse(n, "the environment as a whole has no place in a condition", "name one of its variables: model, text, tokens …")
	default:
		return weight{cost: perNode}
	}
}

func (g *guard) binary(n *ast.BinaryNode) weight {
	a, b := g.seen[n.Left], g.seen[n.Right]
	out := weight{cost: a.cost + b.cost + perNode}
	switch n.Operator {
	case "matches":
		pattern, ok := n.Right.(*ast.StringNode)
		if !ok {
			return g.refuse(n.Right, "the pattern of matches must be written out", `put it in quotes behind matches, or use contains`)
		}
		out.cost += g.spend(n, a.bytes*perState*states(pattern.Value))
	case "..":
		return g.refuse(n, "a range has no place in a condition", "compare the number, like hour >= 9 and hour < 17")
	case "+":
		if isText(n.Left) || isText(n.Right) {
			return g.refuse(n, "texts cannot be put together here", "compare each of them by itself")
		}
	case "in":
		out.cost += g.spend(n, b.count*(perElement+b.bytes*perByte))
	case "??":
		out.bytes, out.count = max(a.bytes, b.bytes), max(a.count, b.count)
	default: // comparing, searching, counting
		out.cost += (a.bytes + b.bytes) * perByte * max(1, a.count, b.count)
	}
	return out
}

func isText(n ast.Node) bool {
	t := n.Type()
	return t == nil || t.Kind() == reflect.String || t.Kind() == reflect.Interface
}

func (g *guard) call(n ast.Node, name string, args []ast.Node) weight {
	out := weight{cost: perNode}
	var w weight
	for _, arg := range args {
		out.cost += g.seen[arg].cost
		w.bytes, w.count = max(w.bytes, g.seen[arg].bytes), max(w.count, g.seen[arg].count)
	}
	switch name {
	case "len":
		out.cost += w.bytes * perByte
	case "trim":
		out.bytes = w.bytes
		out.cost += w.bytes * perByte
	case "lower", "upper":
		out.bytes = 2 * w.bytes // a few letters have a longer twin
		out.cost += w.bytes * perFold
	case "abs", "min", "max":
		out.cost += w.count * perElement
	case "all", "any", "none", "one", "count":
		if len(args) < 2 {
			return g.refuse(n, name+" needs a list and a condition", "write it like any(tools, # startsWith \"mcp__\")")
		}
		list, body := g.seen[args[0]], g.seen[args[1]]
		if list.bytes > maxName {
			return g.refuse(n, fmt.Sprintf("a loop over texts that may be longer than %d bytes", maxName), "compare each of them by itself, without a loop")
		}
		out.cost = list.cost + g.spend(n, max(list.count, 1)*(body.cost+perRound))
	default:
		return g.refuse(n, "there is no function "+name+" here", "the functions are all, any, none, one, count, len, lower, upper, trim, abs, min and max")
	}
	return out
}

// states is the size of a pattern's machine; a pattern that is none has its own
// error.
func states(pattern string) int64 {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 1
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return 1
	}
	return int64(max(2, len(prog.Inst)))
}

// tooCostly is the fault of a condition that could hold a request.
func tooCostly(n ast.Node) *Fault {
	f := &Fault{Msg: "this could take longer than 1 ms", Hint: "split it into several rules of the same profile"}
	if n == nil {
		return f
	}
	f.Offset = n.Location().From
	switch n := n.(type) {
	case *ast.BinaryNode:
		if pattern, ok := n.Right.(*ast.StringNode); ok && n.Operator == "matches" {
			f.Msg = fmt.Sprintf("this pattern has %d states, and could take longer than 1 ms", states(pattern.Value))
			f.Hint = "shorten it, or split its alternatives over several rules of the same profile"
		}
	case *ast.BuiltinNode, *ast.CallNode:
		f.Msg, f.Hint = "this loop could take longer than 1 ms", "look at each tool once, without a loop or a long pattern within it"
	}
	return f
}
