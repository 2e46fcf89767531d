// Bench measures Spillway: `core` against the limits of the machine it runs on, what
// gRPC, RocksDB and the disk do by themselves; `peers` against other message brokers;
// `scale` what many queues, connections and bytes on disk cost. `profile` samples the
// broker, `micro` measures its parts, `gate` holds it against another commit.
// docs/benchmarks.md says how.
//
//	bench core [--json FILE] [--quick]
//	bench peers [--systems A,...] [--clients C,...] [--workloads W,...] [--tiers T,...]
//	            [--sizes S,...] [--runs N] [--seconds S] [--rate R] [--backlog B]
//	            [--json FILE] [--out FOLDER]
//	bench profile [--load L] [--size S] [--batch N] [--tier T] [--seconds S] [--out FOLDER]
//	bench micro [--json FILE] [-- FLAGS]
//	bench gate [--json FILE]
//	bench scale [--workloads W,...] [--quick] [--json FILE] [--out FOLDER]
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// The longest that a run may take.
const (
	longest      = 5 * time.Minute
	longestQuick = 90 * time.Second
)

var errUsage = errors.New("usage: ./dev bench core [--json FILE] [--quick] | " +
	"peers [--systems A,...] [--clients go,cpp,rust] [--workloads W,...] [--tiers T,...] [--sizes S,...] " +
	"[--runs N] [--seconds S] [--rate R] [--backlog B] [--json FILE] [--out FOLDER] | " +
	"profile [--load L] [--size S] [--batch N] [--tier T] [--seconds S] [--out FOLDER] | " +
	"scale [--workloads W,...] [--quick] [--json FILE] [--out FOLDER] | " +
	"micro [--json FILE] [-- FLAGS] | gate [--base REV] [--json FILE]")

type options struct {
	json  string
	quick bool
}

func main() {
	if err := dispatch(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		if errors.Is(err, errUsage) {
			os.Exit(2)
		}
		os.Exit(1)
	}
}

func dispatch(args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	switch args[0] {
	case "core":
		o, err := parse(args[1:])
		if err != nil {
			return err
		}
		return run(o)
	case "peers":
		o, err := parsePeers(args[1:])
		if err != nil {
			return err
		}
		return runPeers(o)
	case "profile":
		o, err := parseProfile(args[1:])
		if err != nil {
			return err
		}
		return runProfile(o)
	case "micro":
		o, err := parseMicro(args[1:])
		if err != nil {
			return err
		}
		return runMicro(o)
	case "gate":
		o, err := parseGate(args[1:])
		if err != nil {
			return err
		}
		return runGate(o)
	case "scale":
		o, err := parseScale(args[1:])
		if err != nil {
			return err
		}
		return runScale(o)
	default:
		return fmt.Errorf("no benchmark %q; there are: core, peers, scale, profile, micro, gate (%w)", args[0], errUsage)
	}
}

func parse(args []string) (options, error) {
	var o options
	flags := newFlags("bench")
	flags.StringVar(&o.json, "json", "", "")
	flags.BoolVar(&o.quick, "quick", false, "")
	return o, parseAll(flags, args, errUsage.Error())
}

func run(o options) error {
	limit, rounds := longest, 3
	if o.quick {
		limit, rounds = longestQuick, 1
	}
	begin := time.Now()
	ctx, cancel := context.WithDeadline(context.Background(), begin.Add(limit))
	defer cancel()
	// What was started is stopped and what was written is removed on the way out.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()

	b, err := newBench(o.quick)
	if err != nil {
		return err
	}
	defer b.remove()
	r := newRunner(ctx, os.Stderr)
	r.noise.busyCores = busyCores(time.Second)
	if err := b.begin(ctx); err != nil {
		return err
	}
	r.run(b.steps(), b.once(), rounds)
	if ctx.Err() != nil && time.Since(begin) < limit {
		return errors.New("interrupted")
	}

	figures := b.figures(r)
	fmt.Println()
	fmt.Print(table(figures))
	fmt.Println()
	fmt.Println(verdict(figures, r.noise))
	if left := len(r.leftOut); left > 0 {
		fmt.Printf("out of time: %d steps were left out, the first is %s\n", left, r.leftOut[0])
	}
	fmt.Printf("%s in %d s\n", runsText(rounds), int(time.Since(begin).Seconds()))
	if o.json != "" {
		if err := writeJSON(o.json, report("core", figures, r.noise, o.quick)); err != nil {
			return err
		}
	}
	if len(r.failures) > 0 {
		return fmt.Errorf("%d steps failed, the first: %s", len(r.failures), r.failures[0])
	}
	return nil
}

func runsText(rounds int) string {
	if rounds == 1 {
		return "one run"
	}
	return fmt.Sprintf("medians of up to %d interleaved runs", rounds)
}
