package repair

import (
	"strings"
	"testing"
)

const prose = "The daemon keeps agents running, and what it does is told in its journal. See `drey why` for more (or read the code).\n"

func benchScan(b *testing.B, text string, size int) {
	tools := agentTools()
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	var pieces []Piece
	for b.Loop() {
		s := NewScanner(tools)
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			pieces = s.Feed(pieces[:0], rest[:n])
			rest = rest[n:]
		}
		pieces = s.Close(pieces[:0])
	}
}

func BenchmarkScanProseWhole(b *testing.B)  { benchScan(b, strings.Repeat(prose, 400), 1<<20) }
func BenchmarkScanProseTokens(b *testing.B) { benchScan(b, strings.Repeat(prose, 400), 5) }
func BenchmarkScanCallTokens(b *testing.B) {
	benchScan(b, "Let me look.\n<tool_call>\n{\"name\": \"Bash\", \"arguments\": {\"command\": \"ls -la\"}}\n</tool_call>\n", 5)
}
func BenchmarkScanBraces48K(b *testing.B) { benchScan(b, strings.Repeat("{", 48<<10), 1<<20) }
func BenchmarkScanBraces48KBytes(b *testing.B) {
	benchScan(b, strings.Repeat("{", 48<<10), 1)
}

func BenchmarkFilters(b *testing.B) {
	text := strings.Repeat(prose, 400)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		c, _ := NewChain(allFilters, false)
		for rest := text; rest != ""; {
			n := min(5, len(rest))
			c.Feed(rest[:n])
			rest = rest[n:]
		}
		c.Close()
	}
}
