package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Readings of what is cold: each needs the cache to be emptied before.
const coldReadings = 3

// cooler is a server whose files can be taken out of memory: out of the page cache, and
// out of its own caches by a restart where it has some.
type cooler interface {
	Cool(ctx context.Context) error
}

// replayCold reads what is kept, with nothing of it in memory before each reading.
func (t *trial) replayCold(ctx context.Context, count int64) (measured, error) {
	server, ok := t.server.(cooler)
	if !ok {
		return measured{}, errors.New("it does not read its files again")
	}
	l := newLedger(t.topic.size)
	var out measured
	for range coldReadings {
		if err := server.Cool(ctx); err != nil {
			return out, fmt.Errorf("emptying its caches: %w", err)
		}
		before := readBytes(t.server)
		got, err := t.replayFrom(ctx, l, count)
		if err != nil {
			return out, err
		}
		// Payloads are not compressed by any of them.
		if from, all := readBytes(t.server)-before, float64(count)*float64(t.topic.size); from < all/2 {
			return out, fmt.Errorf("it was not cold: %.0f of %.0f MiB came from the disk", from/(1<<20), all/(1<<20))
		}
		out = out.plus(got)
	}
	return out, nil
}

// replayFrom the beginning, once, by whatever client.
func (t *trial) replayFrom(ctx context.Context, l *ledger, count int64) (measured, error) {
	if t.program == "" {
		return t.replayOnce(ctx, l, count)
	}
	once := *t
	once.warmup, once.seconds = 0, 0
	return once.native(ctx, "replay", "--count", fmt.Sprint(count))
}

func readBytes(s Server) (sum float64) {
	for _, p := range s.Process().Tree() {
		sum += p.ReadBytes()
	}
	return sum
}

// dropCache takes the files of a folder out of the page cache. What is not written yet
// cannot be dropped, so it is written first.
func dropCache(folder string) error {
	return filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return ignoreGone(err)
		}
		file, err := os.Open(path)
		if err != nil {
			return ignoreGone(err)
		}
		defer file.Close()
		if err := file.Sync(); err != nil {
			return err
		}
		return unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED)
	})
}

// ignoreGone: servers remove files meanwhile.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
