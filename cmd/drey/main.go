// Command drey is a home for AI agents that mends itself and sleeps when they
// do. `drey help` tells what it can do.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
