package main

import (
	"context"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// A disk on which nothing has happened for so long has done what was left for it.
	diskAtRest = 100 * time.Millisecond
	// Others may use it all the time.
	longestDiskRest = 2 * time.Second
)

// restDisk waits until the disk has done what earlier steps left for it: what was not
// written back, and the blocks of folders that were removed, which file systems discard
// only when they commit.
func restDisk(ctx context.Context) {
	syscall.Sync()
	ctx, stop := context.WithTimeout(ctx, longestDiskRest)
	defer stop()
	for before := diskActivity(); ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(diskAtRest):
		}
		now := diskActivity()
		if now == before && now.underWay == 0 {
			return
		}
		before = now
	}
}

// activity of all disks since the machine was started.
type activity struct{ done, underWay uint64 }

func diskActivity() activity {
	text, err := os.ReadFile("/proc/diskstats")
	if err != nil {
		return activity{}
	}
	return parseDiskstats(string(text))
}

// parseDiskstats reads the kernel's table; see its Documentation/admin-guide/iostats.rst.
func parseDiskstats(text string) activity {
	var out activity
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		number := func(i int) uint64 {
			if i >= len(fields) {
				return 0 // of an older kernel
			}
			n, _ := strconv.ParseUint(fields[i], 10, 64)
			return n
		}
		const reads, writes, underWay, discards, flushes = 3, 7, 11, 14, 18
		out.done += number(reads) + number(writes) + number(discards) + number(flushes)
		out.underWay += number(underWay)
	}
	return out
}
