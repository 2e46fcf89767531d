package main

import "fmt"

// usageError is a matter of how a benchmark was called, with the usage of that one.
type usageError struct{ why, usage string }

func (e usageError) Error() string { return fmt.Sprintf("%s (%s)", e.why, e.usage) }

func (e usageError) Is(target error) bool { return target == errUsage }
