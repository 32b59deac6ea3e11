package config

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/dreyhq/drey"
)

// The rules of the healing contract that look at more than one key.

// healing holds what stands at the top of the file.
func (c *checker) healing() {
	c.probe("health.probe", c.f.Health.Probe)
	used := map[string]bool{}
	for i := range c.f.Providers {
		if p := c.f.Providers[i].Process; p != nil {
			used[p.Group] = true
		}
	}
	for _, g := range c.f.ProcessGroups {
		if path := join("process_groups", g.Name); !used[g.Name] && c.sound(path) {
			c.warn(path, "no process is in this group", "name it in the group of a process")
		}
	}
}

// probe holds the two ends of the wait between probes against each other. For
// a provider one of them may come from the top of the file: the fault stands
// where the provider says the other.
func (c *checker) probe(path string, p Probe) {
	initial, longest := path+".initial", path+".max"
	if p.Initial <= p.Max || !c.sound(initial) || !c.sound(longest) {
		return
	}
	hint := "raise max or lower initial"
	if c.was(longest) && !c.was(initial) {
		c.faulty(longest, fmt.Sprintf("shorter than the first wait (initial is %s)", p.Initial), hint)
		return
	}
	c.faulty(initial, fmt.Sprintf("longer than the longest wait (max is %s)", p.Max), hint)
}

// mending holds what a provider says of its healing.
func (c *checker) mending(p *Provider, path string) {
	if p.Health != nil {
		// A fault of the top of the file is told there, once.
		if pr := path + ".health.probe"; c.was(pr+".initial") || c.was(pr+".max") {
			c.probe(pr, c.f.Health.With(p.Health).Probe)
		}
	}
	c.restart(p, path)
	if p.Process != nil {
		c.process(p, path)
	}
}

func (c *checker) restart(p *Provider, path string) {
	at := path + ".restart_command"
	switch {
	case !c.was(at):
		for _, key := range []string{"restart_shell", "restart_env", "restart_timeout", "restart_settle"} {
			if c.was(join(path, key)) {
				c.warn(join(path, key), "without a restart_command this does nothing", "add one, or remove the key")
			}
		}
		if key := path + ".restart_drain"; c.was(key) && p.Process == nil {
			c.warn(key, "without a restart_command or a process this does nothing", "add one, or remove the key")
		}
	case !c.sound(at):
	case c.was(path + ".process"):
		c.faulty(at, "a provider with a process is restarted by drey itself", "remove restart_command, or process")
	case p.RestartCommand.IsZero():
		c.faulty(at, "an empty command", "write a program and its arguments, or remove the key")
	case len(p.RestartCommand.Argv) > 0 && p.RestartShell:
		c.faulty(path+".restart_shell", "a list of words is run without a shell", "write the command as one line, or remove restart_shell")
	case len(p.RestartCommand.Argv) > 0:
		c.argv(at, p.RestartCommand.Argv)
	case p.RestartShell:
		c.shellLine(at, p.RestartCommand.Line)
	default:
		s := splitter{in: strings.TrimRight(p.RestartCommand.Line, "\r\n")}
		if err := s.split(); err != nil {
			c.faulty(at, err.Error(), lineHint)
			break
		}
		c.literals(at, s.words)
	}
	c.variables(path+".restart_env", p.RestartEnv)
}

// argv holds a command that is a list against what a program can be given.
func (c *checker) argv(path string, argv []string) {
	if argv[0] == "" {
		c.faulty(path+"[0]", "the command's name is empty", "write the name or the path of a program", path)
	}
	c.literals(path, argv)
}

// shellLine holds a line that a shell will run against what a shell can be
// given.
func (c *checker) shellLine(path, line string) {
	if strings.TrimSpace(line) == "" {
		c.faulty(path, "an empty command", "write a program and its arguments, or remove the key")
	}
	c.literals(path, strings.Fields(line))
}

// literals refuses what has the form of a credential: commands are shown in
// events, in logs and by ps.
func (c *checker) literals(path string, words []string) {
	for _, w := range words {
		if looksSecret(w) {
			c.faulty(path, "a secret is written here as it is", "put it into a variable or a file of mode 0600 and name it as env:NAME or file:PATH among the command's variables")
			return
		}
	}
}

// variables holds the names of what a command gets in its environment.
func (c *checker) variables(path string, env []Header) {
	for _, v := range env {
		at := join(path, v.Name)
		switch {
		case !isVariable(v.Name):
			c.faulty(at, "not the name of a variable", "use letters, digits and underscores, and no digit first")
		case strings.HasPrefix(v.Name, "DREY_"):
			c.faulty(at, "variables that begin with DREY_ are set by drey", "choose another name")
		case strings.Contains(v.Value.Literal, "\x00"):
			c.faulty(at, "a variable holds no NUL byte", "remove it")
		}
		c.file(at, v.Value.Secret.File)
	}
}

func (c *checker) process(p *Provider, path string) {
	proc, path := p.Process, path+".process"
	if len(proc.Command) > 0 && c.sound(path+".command") {
		c.argv(path+".command", proc.Command)
	}
	c.variables(path+".env", proc.Env)
	c.ready(proc, path)
	if b := proc.Backoff; b.First > b.Max && c.sound(path+".backoff.first") && c.sound(path+".backoff.max") {
		c.faulty(path+".backoff.first", fmt.Sprintf("longer than the longest wait (max is %s)", b.Max), "raise max or lower first", path+".backoff.max")
	}
	if g := proc.Group; g != "" && c.group(g) == nil {
		var names []string
		for _, g := range c.f.ProcessGroups {
			names = append(names, g.Name)
		}
		c.faulty(path+".group", "there is no process group "+quoteJSON(g), didYouMean(g, names, "add it to process_groups"))
	}
	c.processURL(p, path)
}

func (c *checker) ready(proc *Process, path string) {
	if at := path + ".ready.path"; c.sound(at) && (!strings.HasPrefix(proc.Ready.Path, "/") || strings.ContainsAny(proc.Ready.Path, " \t\r\n#")) {
		c.faulty(at, "not a path on the process's own address", "write it like /health")
	}
}

// processURL holds a process's provider against where a process can be.
func (c *checker) processURL(p *Provider, path string) {
	at := join("providers", string(p.Name)) + ".url"
	u, err := url.Parse(p.URL)
	if err != nil || u.Host == "" && u.Scheme != "demo" || !c.sound(at) {
		return // told already
	}
	switch {
	case u.Scheme == "demo":
		c.faulty(path, "a demo: provider has no process", "remove process, or give the provider the address of a real one")
	case !isLoopback(u.Hostname()):
		c.faulty(at, "a process that drey starts runs on this machine, and this address is not on it", "write it like http://127.0.0.1:8080")
	case p.Process.Port != 0 && u.Port() != "" && u.Port() != strconv.Itoa(p.Process.Port):
		c.faulty(path+".port", "the URL names port "+u.Port(), "write the same port in both, or leave one of them out", at)
	}
}

func (c *checker) group(name string) *ProcessGroup {
	for i := range c.f.ProcessGroups {
		if c.f.ProcessGroups[i].Name == name {
			return &c.f.ProcessGroups[i]
		}
	}
	return nil
}

// HealthOf returns the health rules of a provider: those at the top of the
// file, with the provider's own in their place.
func (f *File) HealthOf(name drey.ProviderID) Health {
	p := f.Provider(name)
	if p == nil {
		return f.Health
	}
	return f.Health.With(p.Health)
}
