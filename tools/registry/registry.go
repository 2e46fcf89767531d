package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// Registry is proto/registry.toml.
type Registry struct {
	Tuning    []Tunable  `toml:"tuning"`
	Relations []Relation `toml:"relation"`
	Limits    []Limit    `toml:"limit"`
	Options   []Option   `toml:"option"`
	Env       []Env      `toml:"env"`
	Errors    []Error    `toml:"error"`
	Metrics   []Metric   `toml:"metric"`
}

// Tunable is a field of QueueTuning.
type Tunable struct {
	Name    string
	Type    string // uint32, uint64, or an enum of spillway.v1
	Unit    string
	Default any // a number, or the name of an enum's value without its prefix
	Min     *uint64
	Max     *uint64
	Zero    string // what 0 means, where it means something else than none
	Doc     string

	// From the proto, by resolve.
	Number int32  `toml:"-"` // of the field
	Value  uint64 `toml:"-"` // Default as a number
	// Values of an enum, without prefix, by rising number from 1; else nil.
	EnumValues []string `toml:"-"`
}

// Relation says that one tunable must not exceed another.
type Relation struct{ Low, High, Doc string }

// Limit is a fixed bound.
type Limit struct {
	Name, Unit, Doc string
	Value           uint64
}

// Option is a client's setting; Default, Min and Max are of one type: int64,
// float64 or string.
type Option struct {
	Name, Unit, Doc   string
	Default, Min, Max any
}

// Env is an environment variable.
type Env struct{ Name, Doc string }

// Error is a value of ErrorKind.
type Error struct {
	Name, Code, Doc string
	Retryable       bool

	Number     int32 `toml:"-"` // from the proto, by resolve
	CodeNumber int   `toml:"-"`
}

// Metric is one series name.
type Metric struct {
	Name, Side, Kind, Doc string
	Labels                []string
}

// units are those that a name may end in, and must then have.
var units = []string{"ms", "bytes", "messages", "records"}

// grpcCodes by number.
var grpcCodes = []string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
	"ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
	"ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
	"UNAUTHENTICATED",
}

// load reads the registry and checks all that needs no proto.
func load(path string) (*Registry, error) {
	var reg Registry
	meta, err := toml.DecodeFile(path, &reg)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("%s: unknown key %q", path, unknown[0])
	}
	if err := reg.validate(); err != nil {
		return nil, fmt.Errorf("%s:\n%w", path, err)
	}
	return &reg, nil
}

func (r *Registry) validate() error {
	var c checker
	snake := regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	upper := regexp.MustCompile(`^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$`)
	metric := regexp.MustCompile(`^[a-z][a-z0-9_.]*$`)

	for _, t := range r.Tuning {
		c.entry("tuning", t.Name, t.Doc, snake)
		c.unit("tuning", t.Name, t.Unit)
	}
	for _, rel := range r.Relations {
		low, high := r.tunable(rel.Low), r.tunable(rel.High)
		if low == nil || high == nil {
			c.failf("relation %s <= %s names no tunable", rel.Low, rel.High)
			continue
		}
		if lowest, highest := number(low.Default), number(high.Default); lowest > highest {
			c.failf("relation %s <= %s does not hold for the defaults", rel.Low, rel.High)
		}
	}
	for _, l := range r.Limits {
		c.entry("limit", l.Name, l.Doc, snake)
		c.unit("limit", l.Name, l.Unit)
	}
	for _, o := range r.Options {
		c.entry("option", o.Name, o.Doc, snake)
		c.unit("option", o.Name, o.Unit)
		c.option(o)
	}
	for _, e := range r.Env {
		c.entry("env", e.Name, e.Doc, upper)
		if !strings.HasPrefix(e.Name, "SPILLWAY_") {
			c.failf("env %s: must begin with SPILLWAY_", e.Name)
		}
	}
	for _, e := range r.Errors {
		c.entry("error", e.Name, e.Doc, upper)
	}
	for _, m := range r.Metrics {
		c.entry("metric", m.Name, m.Doc, metric)
		if !slices.Contains([]string{"broker", "client"}, m.Side) {
			c.failf("metric %s: side %q", m.Name, m.Side)
		}
		if !slices.Contains([]string{"counter", "gauge", "histogram"}, m.Kind) {
			c.failf("metric %s: kind %q", m.Name, m.Kind)
		}
		if m.Side == "broker" && strings.HasSuffix(m.Name, "_total") != (m.Kind == "counter") {
			c.failf("metric %s: counters, and only they, end in _total", m.Name)
		}
	}
	return c.err()
}

func (r *Registry) tunable(name string) *Tunable {
	for i := range r.Tuning {
		if r.Tuning[i].Name == name {
			return &r.Tuning[i]
		}
	}
	return nil
}

// resolve compares the registry with the protos, both ways, and takes numbers
// from them.
func (r *Registry) resolve(p *protos) error {
	var c checker
	c.sameNames("[[tuning]]", names(r.Tuning, func(t Tunable) string { return t.Name }),
		"QueueTuning", names(p.tuning, func(f field) string { return f.name }))
	c.sameNames("[[error]]", names(r.Errors, func(e Error) string { return e.Name }),
		"ErrorKind", names(p.errors, func(e errorKind) string { return e.name }))
	if err := c.err(); err != nil {
		return err
	}
	for i := range r.Tuning {
		r.Tuning[i].resolve(&c, p.tuning[i])
	}
	for i := range r.Errors {
		e, kind := &r.Errors[i], p.errors[i]
		e.Number = kind.number
		e.CodeNumber = slices.Index(grpcCodes, e.Code)
		if e.CodeNumber < 0 {
			c.failf("error %s: %q is no gRPC code", e.Name, e.Code)
		}
		if e.Code != kind.code {
			c.failf("error %s: code is %s here and [%s] in the proto", e.Name, e.Code, kind.code)
		}
	}
	return c.err()
}

func (t *Tunable) resolve(c *checker, f field) {
	t.Number = f.number
	if t.Type != f.typ {
		c.failf("tuning %s: type is %s here and %s in the proto", t.Name, t.Type, f.typ)
		return
	}
	if f.enumValues != nil {
		name, _ := t.Default.(string)
		index := slices.Index(f.enumValues, name)
		if index < 0 || t.Min != nil || t.Max != nil {
			c.failf("tuning %s: wants a default of %v, and no range", t.Name, f.enumValues)
			return
		}
		first, last := uint64(1), uint64(len(f.enumValues))
		t.EnumValues, t.Min, t.Max, t.Value = f.enumValues, &first, &last, uint64(index)+1
		return
	}
	value, ok := t.Default.(int64)
	if !ok || value < 0 || t.Min == nil || t.Max == nil {
		c.failf("tuning %s: wants a number as default, min and max", t.Name)
		return
	}
	t.Value = uint64(value)
	if t.Value < *t.Min || t.Value > *t.Max {
		c.failf("tuning %s: default %d lies outside of %d to %d", t.Name, value, *t.Min, *t.Max)
	}
	if t.Type == "uint32" && *t.Max > 1<<32-1 {
		c.failf("tuning %s: max does not fit into uint32", t.Name)
	}
	if (t.Zero != "") && *t.Min != 0 {
		c.failf("tuning %s: says what zero means, and excludes it", t.Name)
	}
}

// checker collects every complaint, so that one run shows all.
type checker struct {
	seen  map[string]bool
	fails []error
}

func (c *checker) failf(format string, args ...any) {
	c.fails = append(c.fails, fmt.Errorf("  "+format, args...))
}

func (c *checker) err() error { return errors.Join(c.fails...) }

// entry checks what every entry has: a well-formed, unique name and a sentence.
func (c *checker) entry(table, name, doc string, form *regexp.Regexp) {
	if c.seen == nil {
		c.seen = map[string]bool{}
	}
	if !form.MatchString(name) {
		c.failf("%s %q: malformed name", table, name)
	}
	if key := table + "." + name; c.seen[key] {
		c.failf("%s %s: twice", table, name)
	} else {
		c.seen[key] = true
	}
	if !strings.HasSuffix(doc, ".") {
		c.failf("%s %s: doc must be a sentence", table, name)
	}
}

// unit checks that a name ends in its unit.
func (c *checker) unit(table, name, unit string) {
	for _, u := range units {
		if strings.HasSuffix(name, "_"+u) && unit != u {
			c.failf("%s %s: unit is %q", table, name, unit)
		}
	}
	if unit == "ms" && !strings.HasSuffix(name, "_ms") {
		c.failf("%s %s: times end in _ms", table, name)
	}
}

func (c *checker) option(o Option) {
	switch o.Default.(type) {
	case int64, float64:
		if o.Min != nil && number(o.Default) < number(o.Min) ||
			o.Max != nil && number(o.Default) > number(o.Max) {
			c.failf("option %s: default lies outside of its range", o.Name)
		}
	case string:
	default:
		c.failf("option %s: default is %v", o.Name, o.Default)
	}
	for _, bound := range []any{o.Min, o.Max} {
		if bound != nil && fmt.Sprintf("%T", bound) != fmt.Sprintf("%T", o.Default) {
			c.failf("option %s: bound and default are of different types", o.Name)
		}
	}
}

// sameNames demands the same names in the same order.
func (c *checker) sameNames(hereLabel string, here []string, thereLabel string, there []string) {
	for _, name := range there {
		if !slices.Contains(here, name) {
			c.failf("%s has %s, which %s lacks", thereLabel, name, hereLabel)
		}
	}
	for _, name := range here {
		if !slices.Contains(there, name) {
			c.failf("%s has %s, which %s lacks", hereLabel, name, thereLabel)
		}
	}
	if len(c.fails) == 0 && !slices.Equal(here, there) {
		c.failf("%s and %s are in different orders", hereLabel, thereLabel)
	}
}

func names[T any](list []T, name func(T) string) []string {
	out := make([]string, len(list))
	for i, item := range list {
		out[i] = name(item)
	}
	return out
}

func number(v any) float64 {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case float64:
		return v
	}
	return 0
}
