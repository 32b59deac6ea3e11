package redact_test

import (
	"fmt"

	"github.com/dreyhq/drey/internal/redact"
)

func ExampleRedactor_String() {
	r := redact.New("correct horse battery")
	fmt.Println(r.String("sent correct%20horse%20battery"))
	fmt.Println(r.String(`{"error":"bad key sk-proj-0123456789abcdef"}`))
	// Output:
	// sent [redacted]
	// {"error":"bad key [redacted]"}
}
