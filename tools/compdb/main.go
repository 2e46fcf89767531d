// Command compdb turns the JSON of `bazel aquery --output=jsonproto` on standard
// input into a compile_commands.json on standard output, for clangd and
// clang-tidy. Paths are relative to the workspace, where Bazel's links make them
// valid.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

type actionGraph struct {
	Actions []struct {
		Arguments []string `json:"arguments"`
	} `json:"actions"`
}

type command struct {
	Directory string   `json:"directory"`
	File      string   `json:"file"`
	Arguments []string `json:"arguments"`
}

func main() {
	root := flag.String("root", ".", "root of the workspace")
	flag.Parse()
	if err := run(*root); err != nil {
		fmt.Fprintln(os.Stderr, "compdb:", err)
		os.Exit(1)
	}
}

func run(root string) error {
	directory, err := filepath.Abs(root)
	if err != nil {
		return err
	}
	var graph actionGraph
	if err := json.NewDecoder(os.Stdin).Decode(&graph); err != nil {
		return err
	}
	commands := []command{}
	seen := map[string]bool{}
	for _, action := range graph.Actions {
		c := slices.Index(action.Arguments, "-c")
		if c < 0 || c+1 == len(action.Arguments) {
			return fmt.Errorf("an action compiles nothing: %q", action.Arguments)
		}
		file := action.Arguments[c+1]
		if seen[file] {
			continue
		}
		seen[file] = true
		commands = append(commands, command{
			Directory: directory,
			File:      file,
			Arguments: slices.DeleteFunc(action.Arguments, onlyForGCC),
		})
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	return out.Encode(commands)
}

// onlyForGCC says which arguments Clang does not know, or warns about: Bazel
// redefines __DATE__ and its like.
func onlyForGCC(argument string) bool {
	return argument == "-fno-canonical-system-headers" || strings.HasPrefix(argument, "-D__")
}
