// Command registry turns proto/registry.toml into constants for C++, Go and Rust
// and a page for people, after checking it against the protos beside it.
//
// Run it through tools/generate, which also formats what it writes.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// outputs are the generated files, by template.
var outputs = map[string]string{
	"registry.h.tmpl":  "broker/base/registry.gen.h",
	"registry.go.tmpl": "clients/go/registry_gen.go",
	"registry.rs.tmpl": "clients/rust/src/registry.rs",
	"registry.md.tmpl": "docs/registry.md",
}

func main() {
	root := flag.String("root", ".", "root of the repository")
	flag.Parse()
	if err := run(*root); err != nil {
		fmt.Fprintln(os.Stderr, "registry:", err)
		os.Exit(1)
	}
}

func run(root string) error {
	reg, err := load(filepath.Join(root, "proto/registry.toml"))
	if err != nil {
		return err
	}
	protos, err := readProtos(filepath.Join(root, "proto"))
	if err != nil {
		return err
	}
	if err := reg.resolve(protos); err != nil {
		return fmt.Errorf("proto/registry.toml and the protos disagree:\n%w", err)
	}
	for template, path := range outputs {
		text, err := render(template, reg)
		if err != nil {
			return err
		}
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
