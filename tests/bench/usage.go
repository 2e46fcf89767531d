package main

import (
	"flag"
	"fmt"
	"io"
)

// usageError is a matter of how a benchmark was called, with the usage of that one.
type usageError struct{ why, usage string }

func (e usageError) Error() string { return fmt.Sprintf("%s (%s)", e.why, e.usage) }

func (e usageError) Is(target error) bool { return target == errUsage }

// newFlags says nothing by itself: about wrong flags there is one line, not the
// package's page.
func newFlags(name string) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	return flags
}

// parseAll takes flags alone, nothing beside them.
func parseAll(flags *flag.FlagSet, args []string, usage string) error {
	if err := flags.Parse(args); err != nil {
		return usageError{err.Error(), usage}
	}
	if flags.NArg() > 0 {
		return usageError{fmt.Sprintf("what is %q?", flags.Arg(0)), usage}
	}
	return nil
}
