package drey_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/dreyhq/drey"

// floors is the plan of the house (docs/design.md, section 2). A package
// imports from lower floors only; a new package gets its floor here first. A
// family (wire, store) is one room: inside it imports may run, in no circle.
var floors = map[string]int{
	"": 0, // the vocabulary

	"internal/affinity":       1,
	"internal/autoroute":      1,
	"internal/config":         1,
	"internal/config/migrate": 1,
	"internal/guard":          1,
	"internal/health":         1,
	"internal/lifecycle":      1,
	"internal/operation":      1,
	"internal/repair":         1,
	"internal/spend":          1,
	"internal/redact":         1,
	"internal/route":          1,
	"internal/wire":           1,
	"internal/wire/anthropic": 1,
	"internal/wire/openai":    1,
	"internal/wire/scan":      1,
	"internal/wire/sse":       1,
	"internal/api":            1,
	"internal/why":            1,

	"internal/activation":                2,
	"internal/activation/activationtest": 2,
	"internal/discover":                  2,
	"internal/exam":                      2,
	"internal/process":                   2,
	"internal/repair/stage":              2,
	"internal/fake":                      2,
	"internal/service":                   2,
	"internal/statedir":                  2,
	"internal/store":                     2,
	"internal/store/backlog":             2,
	"internal/store/queue":               2,
	"internal/store/sqlite":              2,
	"internal/store/postgres":            2,
	"internal/store/postgres/pgtest":     2,
	"internal/store/storetest":           2,
	"internal/upstream":                  2,

	"internal/cashier":      3,
	"internal/dormancy":     3,
	"internal/events":       3,
	"internal/gateway":      3,
	"internal/healing":      3,
	"internal/upkeep":       3,
	"internal/orchestrator": 3,
	"internal/waker":        3,

	"internal/client": 4,
	"internal/server": 4,

	"internal/daemon": 5,
	"internal/doctor": 5,

	"cmd/drey": 6,
}

// families are the rooms in which packages may know each other.
var families = []string{"internal/config", "internal/wire", "internal/store", "internal/activation"}

// guests are the rooms that may read a family of their own floor, which does not
// know them: the guards and repairs are rules about the wires' bytes, and a
// configuration with a condition in it is good only if the condition is.
var guests = map[string]string{
	"internal/affinity": "internal/wire", "internal/autoroute": "internal/wire", "internal/guard": "internal/wire",
	"internal/repair": "internal/wire", "internal/spend": "internal/wire", "internal/config": "internal/autoroute",
}

// impure are the imports that have no place in a core. What they would give
// comes in on the event instead: the time in At, randomness in Rand, bytes as
// arguments; what they would do goes out as an effect.
var impure = []string{"context", "net/http", "net", "os", "os/exec", "sync", "sync/atomic", "math/rand", "math/rand/v2", "crypto/rand", "log", "log/slog"}

func TestImportsGoDown(t *testing.T) {
	for _, f := range sources(t) {
		from, ok := floors[f.pkg]
		if !ok {
			t.Errorf("%s: package %q has no floor yet.\nDecide where it lives (docs/design.md, section 2) and add it to floors in arch_test.go.", f.path, f.pkg)
			continue
		}
		for _, spec := range f.ast.Imports {
			imp, _ := strconv.Unquote(spec.Path.Value)
			if imp != module && !strings.HasPrefix(imp, module+"/") {
				if from == 0 && strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") {
					t.Errorf("%s imports %s.\nThe vocabulary is the standard library's alone, so that every package can afford to import it.", f.path, imp)
				}
				continue
			}
			to := strings.TrimPrefix(strings.TrimPrefix(imp, module), "/")
			floor, ok := floors[to]
			switch {
			case !ok:
				t.Errorf("%s imports %s, which has no floor in arch_test.go.", f.path, imp)
			case floor < from, sameFamily(f.pkg, to), isGuest(f.pkg, to):
			case floor == from:
				t.Errorf("%s imports its neighbour %s (both floor %d).\nNeighbours do not know each other: declare here the small interface that you need, and let internal/daemon hand one to the other.", f.path, to, from)
			default:
				t.Errorf("%s (floor %d) imports %s (floor %d).\nImports go down. Move the shared type to a lower floor, or turn the call around with an interface declared here.", f.path, from, to, floor)
			}
		}
	}
}

func TestCoresArePure(t *testing.T) {
	for _, f := range sources(t) {
		if floors[f.pkg] != 1 {
			continue
		}
		for _, spec := range f.ast.Imports {
			imp, _ := strconv.Unquote(spec.Path.Value)
			if slices.Contains(impure, imp) && !(imp == "sync" && onlyOnce(f.ast)) {
				t.Errorf("%s imports %s.\nFloor 1 is pure: take the time, the bytes or the random number as an argument, and return what is to be done as data.", f.path, imp)
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s starts a goroutine.\nFloor 1 is pure: return an effect and let the shell start it.", f.fset.Position(n.Pos()))
			case *ast.SelectorExpr:
				x, ok := n.X.(*ast.Ident)
				if ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "After", "Tick", "Sleep", "NewTimer", "NewTicker", "AfterFunc"}, n.Sel.Name) {
					t.Errorf("%s reads the clock.\nFloor 1 is pure: the time comes in on the event (At).", f.fset.Position(n.Pos()))
				}
			}
			return true
		})
	}
}

// onlyOnce reports whether all that a file takes from sync is OnceValue: a value
// that is made when it is first needed, and is the same each time.
func onlyOnce(f *ast.File) bool {
	only := true
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == "sync" {
				only = only && s.Sel.Name == "OnceValue"
			}
		}
		return true
	})
	return only
}

// TestPlanHasNoGhosts keeps the table honest: a package that is gone is taken
// out of it.
func TestPlanHasNoGhosts(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range sources(t) {
		seen[f.pkg] = true
	}
	for pkg := range floors {
		if !seen[pkg] {
			t.Errorf("floors names %q, and there is no such package.", pkg)
		}
	}
}

// TestFilesStaySmall holds the house rule on size. A file that deciding and
// doing share is the one that grows.
func TestFilesStaySmall(t *testing.T) {
	const limit = 600
	for _, f := range sources(t) {
		if n := f.fset.File(f.ast.Pos()).LineCount(); n > limit {
			t.Errorf("%s has %d lines, over %d.\nLook for the place where deciding and doing were not separated.", f.path, n, limit)
		}
	}
}

type source struct {
	path, pkg string
	fset      *token.FileSet
	ast       *ast.File
}

// sources parses every file of the module that is neither a test nor a fixture.
func sources(t *testing.T) []source {
	t.Helper()
	var out []source
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules" || path == "bench" || path == "e2e") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(filepath.Dir(path))
		if pkg == "." {
			pkg = ""
		}
		out = append(out, source{path, pkg, fset, file})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// isGuest reports whether pkg may read to, which belongs to a family of its
// floor.
func isGuest(pkg, to string) bool {
	family, ok := guests[pkg]
	return ok && (to == family || strings.HasPrefix(to, family+"/"))
}

func sameFamily(a, b string) bool {
	return slices.ContainsFunc(families, func(f string) bool {
		in := func(p string) bool { return p == f || strings.HasPrefix(p, f+"/") }
		return in(a) && in(b)
	})
}
