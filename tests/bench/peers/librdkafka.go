package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

// The sources of librdkafka come with a Rust crate that wraps it: Debian's is two years
// older, and crates.io is a registry that this repository uses anyway.
const (
	librdkafkaVersion = "2.12.1"
	librdkafkaCrate   = "4.10.0+" + librdkafkaVersion
)

func librdkafkaFolder(cache string) string {
	return filepath.Join(cache, "librdkafka-"+librdkafkaVersion)
}

func librdkafkaLoads(string) string { return source(".dev", "bin", "kafka_loads") }

// installLibrdkafka builds the library once, and the program when its sources changed.
func installLibrdkafka(ctx context.Context, cache string) (string, error) {
	folder := librdkafkaFolder(cache)
	if err := cached(folder, func(folder string) error { return buildLibrdkafka(ctx, folder) }); err != nil {
		return "", err
	}
	return "librdkafka " + librdkafkaVersion, compileKafkaLoads(ctx, folder)
}

func buildLibrdkafka(ctx context.Context, folder string) error {
	fetch := filepath.Join(folder, "fetch")
	if err := os.Mkdir(fetch, 0o755); err != nil {
		return err
	}
	manifest := filepath.Join(fetch, "Cargo.toml")
	if err := writeFile(manifest, "[package]", `name = "fetch"`, `version = "0.0.0"`, `edition = "2021"`,
		"[lib]", `path = "lib.rs"`, "[dependencies]", `rdkafka-sys = "=`+librdkafkaCrate+`"`, "[workspace]"); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(fetch, "lib.rs")); err != nil {
		return err
	}
	if err := quietly(ctx, nil, "cargo", "vendor", "--quiet", "--manifest-path", manifest,
		filepath.Join(fetch, "vendor")); err != nil {
		return err
	}
	sources := filepath.Join(fetch, "vendor", "rdkafka-sys", "librdkafka")
	// Plain connections, nothing compressed: none of its own dependencies is needed.
	script := strings.Join([]string{"cd '" + sources + "'",
		"./configure --disable-ssl --disable-gssapi --disable-curl --disable-zstd --disable-zlib --disable-lz4-ext",
		"make -C src -j2 librdkafka.a",
		"mkdir -p '" + folder + "/include/librdkafka'",
		"cp src/rdkafka.h '" + folder + "/include/librdkafka'",
		"cp src/librdkafka.a '" + folder + "'"}, " && ")
	if err := quietly(ctx, nil, "sh", "-c", script); err != nil {
		return err
	}
	return os.RemoveAll(fetch)
}

func compileKafkaLoads(ctx context.Context, library string) error {
	program := librdkafkaLoads("")
	sources, err := filepath.Glob(source("tests", "bench", "peers", "cpp", "*"))
	if err != nil || isNewest(program, sources) {
		return err
	}
	folder := source("tests", "bench", "peers", "cpp")
	return quietly(ctx, nil, "g++", "-std=c++20", "-O2", "-I", source(), "-isystem", filepath.Join(library, "include"),
		filepath.Join(folder, "loads.cc"), filepath.Join(folder, "kafka.cc"), filepath.Join(library, "librdkafka.a"),
		"-pthread", "-ldl", "-lm", "-o", program)
}

// isNewest is whether a file is there and not older than any of the others.
func isNewest(path string, others []string) bool {
	made, err := os.Stat(path)
	if err != nil {
		return false
	}
	for _, other := range others {
		if info, err := os.Stat(other); err != nil || info.ModTime().After(made.ModTime()) {
			return false
		}
	}
	return true
}
