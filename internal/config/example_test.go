package config_test

import (
	"fmt"

	"github.com/dreyhq/drey/internal/config"
)

func ExampleParse() {
	file := []byte(`
providers:
  local: {url: "http://127.0.0.1:11434"}
  cloud: {url: "https://api.anthropic.com", key: env:ANTHROPIC_API_KEY}
profiles:
  default: {chain: [local, cloud]}
`)
	f, _, err := config.Parse("drey.yaml", file, config.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range f.Providers {
		fmt.Println(p.Name, p.Wire, p.Class, p.URL)
	}
	// Output:
	// local openai local http://127.0.0.1:11434/v1
	// cloud anthropic paid https://api.anthropic.com/v1
}

func ExampleErrors() {
	_, _, err := config.Parse("drey.yaml", []byte(`
providers:
  local: {url: "http://127.0.0.1:11434", modell: tiny}
profiles:
  default: {chain: [lokal], retry: {same_provider: 9}}
`), config.Options{})
	fmt.Println(err)
	// Output:
	// drey.yaml:3:42: providers.local.modell: unknown key; did you mean model?
	// drey.yaml:5:21: profiles.default.chain[0]: there is no provider "lokal"; did you mean local?
	// drey.yaml:5:52: profiles.default.retry.same_provider: out of range; write 0 to 3, or auto
}
