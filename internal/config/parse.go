package config

import (
	"cmp"
	"slices"
)

// Options are what a file does not say by itself. The zero value reads the
// file and nothing else.
type Options struct {
	// Env looks up environment variables; nil = none are set. DREY_ALLOW_PAID
	// and DREY_PROFILE beat the file.
	Env func(name string) (value string, ok bool)
	// Home is the user's home directory, for paths that begin with ~/; "" =
	// they stay as they are.
	Home string
	// Demo says what is wrong with a URL that begins with demo:, and what to do
	// instead; nil = nobody plays such providers, and any URL of them is taken.
	Demo func(url string) error
}

// Parse reads a configuration. name is what errors call the file. It returns
// either a File that obeys every rule that can be known without looking at the
// world, with warnings in the order of the file, or Errors: all that is wrong,
// in the same order.
func Parse(name string, data []byte, opt Options) (*File, []Warning, error) {
	d := newDecoder(opt.Home)
	f := Default()
	root := d.read(data)
	if root == nil {
		return nil, nil, d.result(name)
	}
	d.object(fileSpec, valueOf(f), root, "")
	for path := range d.at {
		f.origins[path] = FromFile
	}
	c := &checker{decoder: d, f: f, source: data, demo: opt.Demo}
	errs := f.overlay(opt.Env)
	c.check()
	if len(errs)+len(d.errs) > 0 {
		d.errs = append(errs, d.errs...)
		return nil, nil, d.result(name)
	}
	slices.SortStableFunc(c.warnings, func(a, b Warning) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	for i := range c.warnings {
		c.warnings[i].File = name
	}
	return f, c.warnings, nil
}

// result returns the faults in order and with the file's name.
func (d *decoder) result(name string) error {
	d.errs.sort()
	for _, e := range d.errs {
		if e.Line > 0 {
			e.File = name
		}
	}
	return d.errs
}
