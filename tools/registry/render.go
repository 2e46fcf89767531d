package main

import (
	"bytes"
	"embed"
	"fmt"
	"strconv"
	"strings"
	"text/template"
)

//go:embed templates
var templates embed.FS

func render(name string, reg *Registry) ([]byte, error) {
	t, err := template.New(name).Funcs(functions).ParseFS(templates, "templates/"+name)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, reg); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// functions are those that the templates call.
var functions = template.FuncMap{
	"camel":   camel,
	"upper":   func(name string) string { return strings.ToUpper(strings.ReplaceAll(name, ".", "_")) },
	"trim":    func(prefix, name string) string { return strings.TrimPrefix(name, prefix) },
	"quote":   strconv.Quote,
	"join":    strings.Join,
	"isMs":    func(unit string) bool { return unit == "ms" },
	"trimMs":  func(name string) string { return strings.TrimSuffix(name, "_ms") },
	"group":   group,
	"human":   human,
	"literal": literal,
	"rust":    rustLiteral,
	"type":    typeIn,
}

// camel is window_bytes or messaging.process.duration → WindowBytes,
// MessagingProcessDuration.
func camel(name string) string {
	var out strings.Builder
	for part := range strings.FieldsFuncSeq(strings.ToLower(name), func(r rune) bool { return r == '_' || r == '.' }) {
		out.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return out.String()
}

// literal is a number or string as C++, Go and Rust all write it.
func literal(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case float64:
		return floatLiteral(v)
	}
	return fmt.Sprint(v)
}

// floatLiteral keeps the point, which Rust needs.
func floatLiteral(v float64) string {
	s := strconv.FormatFloat(v, 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}

// rustLiteral is literal with digits in groups, which Clippy wants.
func rustLiteral(v any) string {
	if n, ok := unsigned(v); ok {
		return groupWith(fmt.Sprint(n), "_")
	}
	return literal(v)
}

// group is 1234567 → 1,234,567.
func group(v any) string { return groupWith(fmt.Sprint(v), ",") }

func groupWith(digits, separator string) string {
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + separator + digits[i:]
	}
	return digits
}

// human writes a value for people: 64 MiB, 24 h, 10,000.
func human(v any, unit string) string {
	n, ok := unsigned(v)
	if !ok {
		if f, isFloat := v.(float64); isFloat {
			return strconv.FormatFloat(f, 'g', -1, 64)
		}
		return fmt.Sprint(v)
	}
	type step struct {
		size uint64
		name string
	}
	var steps []step
	switch unit {
	case "bytes":
		steps = []step{{1 << 50, "PiB"}, {1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}, {1, "B"}}
	case "ms":
		steps = []step{{86_400_000, "d"}, {3_600_000, "h"}, {60_000, "min"}, {1_000, "s"}, {1, "ms"}}
	}
	for _, s := range steps {
		if n != 0 && n%s.size == 0 {
			return group(n/s.size) + " " + s.name
		}
	}
	return group(n)
}

func unsigned(v any) (uint64, bool) {
	switch v := v.(type) {
	case uint64:
		return v, true
	case *uint64:
		return *v, true
	case int64:
		return uint64(v), v >= 0
	}
	return 0, false
}

// typeIn is the type of a constant in "c++" or "rust".
func typeIn(language string, v any) string {
	names := map[string][3]string{
		"c++":  {"uint64_t", "double", "std::string_view"},
		"rust": {"u64", "f64", "&str"},
	}[language]
	switch v.(type) {
	case float64:
		return names[1]
	case string:
		return names[2]
	}
	return names[0]
}
