package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// memoryFor says so if the machine has too little left.
func memoryFor(needed uint64) error {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return nil // it will be seen when it is used
	}
	if free := availableIn(string(text)); free < needed {
		return fmt.Errorf("%s of memory are available, %s are needed", amount(float64(free), bytesUnit),
			amount(float64(needed), bytesUnit))
	}
	return nil
}

// availableIn reads a line such as "MemAvailable:   24000000 kB".
func availableIn(meminfo string) uint64 {
	_, rest, _ := strings.Cut(meminfo, "MemAvailable:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.ParseUint(fields[0], 10, 64)
	return kib << 10
}

// filesFor raises the limit of open files, for the processes that are started, too.
func filesFor(needed uint64) error {
	var limit syscall.Rlimit
	if needed == 0 || syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return nil
	}
	hard := limit.Max
	limit.Cur, limit.Max = max(needed, limit.Cur), max(needed, hard)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("%d open files are needed, the limit is %d and cannot be raised (ulimit -Hn)", needed, hard)
	}
	return nil
}

// forgetPages drops what the page cache has of a folder's files, once it is on disk.
func forgetPages(folder string) error {
	return filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := file.Sync(); err != nil {
			return err
		}
		const dontNeed = 4 // POSIX_FADV_DONTNEED; 0 bytes: to the end
		if _, _, failed := syscall.Syscall6(syscall.SYS_FADVISE64, file.Fd(), 0, 0, dontNeed, 0, 0); failed != 0 {
			return failed
		}
		return nil
	})
}
