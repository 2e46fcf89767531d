package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
)

// quietly runs a command; its last words are the error's.
func quietly(ctx context.Context, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %v: %s", name, err, lastLine(string(out)))
	}
	return nil
}

// asRoot prefixes a command with sudo for those who need it.
func asRoot(name string, args ...string) (string, []string) {
	if os.Geteuid() == 0 {
		return name, args
	}
	return "sudo", append([]string{name}, args...)
}

// debianPackage installs a package of a server, and says its version. Its service is
// neither started nor enabled: we run processes of our own.
func debianPackage(ctx context.Context, name string) (string, error) {
	if version := installedVersion(ctx, name); version != "" {
		return version, nil
	}
	if err := withoutServices(ctx, func() error {
		command, args := asRoot("apt-get", "update", "-qq")
		if err := quietly(ctx, nil, command, args...); err != nil {
			return err
		}
		command, args = asRoot("env", "DEBIAN_FRONTEND=noninteractive",
			"apt-get", "install", "-y", "-qq", "--no-install-recommends", name)
		return quietly(ctx, nil, command, args...)
	}); err != nil {
		return "", err
	}
	if _, err := exec.LookPath("systemctl"); err == nil {
		command, args := asRoot("systemctl", "disable", "--now", name)
		// Where systemd does not run, it still takes the service out of the next boot.
		_ = quietly(ctx, nil, command, args...)
	}
	version := installedVersion(ctx, name)
	if version == "" {
		return "", fmt.Errorf("%s is not installed", name)
	}
	return version, nil
}

// withoutServices keeps Debian's scripts from starting services, by the file which
// they ask; one that is there stays as it is.
func withoutServices(ctx context.Context, do func() error) error {
	const policy = "/usr/sbin/policy-rc.d"
	if _, err := os.Stat(policy); errors.Is(err, os.ErrNotExist) {
		command, args := asRoot("sh", "-c", "printf '#!/bin/sh\\nexit 101\\n' >"+policy+" && chmod 755 "+policy)
		if err := quietly(ctx, nil, command, args...); err != nil {
			return err
		}
		defer func() {
			command, args := asRoot("rm", "-f", policy)
			_ = quietly(context.WithoutCancel(ctx), nil, command, args...)
		}()
	}
	return do()
}

// installedVersion is empty if there is none.
func installedVersion(ctx context.Context, name string) string {
	out, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f=${db:Status-Status} ${Version}", name).Output()
	status, version, _ := strings.Cut(string(out), " ")
	if err != nil || status != "installed" {
		return ""
	}
	return upstream(version)
}

// upstream cuts Debian's epoch and revision off a version.
func upstream(version string) string {
	if _, rest, found := strings.Cut(version, ":"); found {
		version = rest
	}
	version, _, _ = strings.Cut(version, "-")
	return version
}

// cached makes a folder once: in another place, and moved when it is complete.
func cached(folder string, fill func(folder string) error) error {
	if _, err := os.Stat(folder); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		return err
	}
	part, err := os.MkdirTemp(filepath.Dir(folder), ".part-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(part)
	if err := fill(part); err != nil {
		return err
	}
	return os.Rename(part, folder)
}

// libraryVersion of a module that is built into this program.
func libraryVersion(module string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range info.Deps {
		if m.Path == module && m.Replace == nil {
			return strings.TrimPrefix(m.Version, "v")
		}
	}
	return ""
}

// writeFile of a server's configuration.
func writeFile(path string, lines ...string) error {
	var text bytes.Buffer
	for _, line := range lines {
		text.WriteString(line + "\n")
	}
	return os.WriteFile(path, text.Bytes(), 0o644)
}
