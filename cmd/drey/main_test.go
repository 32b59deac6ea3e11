package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/dreyhq/drey/internal/discover"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"drey": dreyUnderTest, "ensure": ensureUnderTest, "registry": registryUnderTest})
}

// readyEnv names the address to which a drey under test tells that its doors
// are open, or that it ended without having opened them.
const readyEnv = "DREY_TEST_READY"

// dreyUnderTest is the program as scripts run it. It differs from main in two
// things: without a configuration it finds nothing on this machine, whatever
// runs there, and `serve` reports to the script that waits for it.
func dreyUnderTest() {
	c := newCLI(os.Stdin, os.Stdout, os.Stderr)
	c.base.Look = func(context.Context) []discover.Found { return nil }
	told := false
	c.base.Ready = func(addr string) { told = true; report("ready " + addr) }
	code := c.run(context.Background(), os.Args[1:])
	if !told && len(os.Args) > 1 && os.Args[1] == "serve" {
		report(fmt.Sprintf("exit %d", code))
	}
	os.Exit(code)
}

func report(line string) {
	conn, err := net.Dial("tcp", os.Getenv(readyEnv))
	if err != nil {
		return // the script that waits will say so
	}
	defer conn.Close()
	fmt.Fprintln(conn, line)
}
