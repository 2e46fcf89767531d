// Command tidy runs clang-tidy over the compile_commands.json in the root of
// the repository. A file that passed is not looked at again until it, a header of
// the repository that it includes, its command, the protos or the configuration
// changes.
//
//	tidy -root DIR -cache DIR -salt STRING [-clang-tidy FILE] [-jobs N] [PATH-PREFIX ...]
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
)

type command struct {
	File      string   `json:"file"`
	Arguments []string `json:"arguments"`
}

func main() {
	root := flag.String("root", ".", "root of the repository")
	cache := flag.String("cache", "", "where to remember what passed")
	salt := flag.String("salt", "", "changes with whatever else decides the result, such as versions of packages")
	program := flag.String("clang-tidy", "clang-tidy", "the program")
	jobs := flag.Int("jobs", runtime.NumCPU(), "files at a time")
	flag.Parse()
	if err := os.Chdir(*root); err != nil {
		fmt.Fprintln(os.Stderr, "tidy:", err)
		os.Exit(1)
	}
	ok, err := run(*program, *cache, *salt, *jobs, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "tidy:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func run(program, cache, salt string, jobs int, prefixes []string) (bool, error) {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return false, err
	}
	commands, err := readCommands(prefixes)
	if err != nil {
		return false, err
	}
	keys, err := newKeys(salt)
	if err != nil {
		return false, err
	}
	var (
		wg             sync.WaitGroup
		mu             sync.Mutex
		passed, failed int
		slots          = make(chan struct{}, jobs)
	)
	known := 0
	for _, c := range commands {
		mark := filepath.Join(cache, keys.of(c))
		if _, err := os.Stat(mark); err == nil {
			known++
			continue
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			out, err := check(program, c.File)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				err = os.WriteFile(mark, nil, 0o644)
			}
			if err != nil {
				failed++
				fmt.Printf("%s: %v\n%s\n", c.File, err, out)
				return
			}
			passed++
		})
	}
	wg.Wait()
	fmt.Printf("%d files: %d unchanged, %d clean, %d with findings\n", len(commands), known, passed, failed)
	return failed == 0, nil
}

func readCommands(prefixes []string) ([]command, error) {
	data, err := os.ReadFile("compile_commands.json")
	if err != nil {
		return nil, err
	}
	var commands []command
	if err := json.Unmarshal(data, &commands); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(commands, func(c command) bool {
		return !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(c.File, p) })
	}), nil
}

// options are what a file gets beside .clang-tidy. The analyzer walks every path
// through gtest's macros: a test takes it three to six times as long, and tests run
// under the sanitizers.
func options(file string) []string {
	if strings.HasSuffix(file, "_test.cc") {
		return []string{"--checks=-clang-analyzer-*"}
	}
	return nil
}

// check gives only findings: the count of suppressed warnings of system headers goes
// to standard error.
func check(program, file string) ([]byte, error) {
	cmd := exec.Command(program, append(options(file), "-p", ".", "--quiet", file)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err != nil && out.Len() == 0 {
		return errs.Bytes(), err
	}
	return out.Bytes(), err
}

// keys names a file together with all that decides its result.
type keys struct {
	common []byte
	hashes map[string][]byte // of files, by path; nil for those that are not here
	direct map[string][]string
}

func newKeys(salt string) (*keys, error) {
	k := &keys{hashes: map[string][]byte{}, direct: map[string][]string{}}
	h := sha256.New()
	fmt.Fprintln(h, salt)
	protos, err := filepath.Glob("proto/spillway/*/*.proto")
	if err != nil {
		return nil, err
	}
	// Headers made from protos are not sources; the protos stand for them.
	for _, path := range append(protos, ".clang-tidy") {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(h, "%s %x\n", path, sha256.Sum256(data))
	}
	k.common = h.Sum(nil)
	return k, nil
}

func (k *keys) of(c command) string {
	h := sha256.New()
	h.Write(k.common)
	fmt.Fprintf(h, "%q %q\n", c.Arguments, options(c.File))
	closure := map[string]bool{}
	k.visit(c.File, closure)
	paths := make([]string, 0, len(closure))
	for path := range closure {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	for _, path := range paths {
		fmt.Fprintf(h, "%s %x\n", path, k.hashes[path])
	}
	return hex.EncodeToString(h.Sum(nil))
}

var includeLine = regexp.MustCompile(`(?m)^\s*#\s*include\s+"([^"]+)"`)

// visit adds path and the headers of the repository that it includes. Includes
// are written from the root, so a path is enough to find them.
func (k *keys) visit(path string, closure map[string]bool) {
	if closure[path] {
		return
	}
	if _, seen := k.hashes[path]; !seen {
		data, err := os.ReadFile(path)
		if err != nil {
			return // Debian's or generated
		}
		sum := sha256.Sum256(data)
		k.hashes[path] = sum[:]
		for _, match := range includeLine.FindAllSubmatch(data, -1) {
			k.direct[path] = append(k.direct[path], string(match[1]))
		}
	}
	closure[path] = true
	for _, include := range k.direct[path] {
		k.visit(include, closure)
	}
}
