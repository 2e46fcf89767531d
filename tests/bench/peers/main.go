// Peers measures one message broker at a time: Spillway, Kafka, Redis Streams, NATS
// JetStream or RabbitMQ streams, by the same loads; or a relay, which is the limit of
// Spillway's Go client. `./dev bench peers` calls it; see
// docs/benchmarks.md. It is a program of its own, so that each measurement begins
// with an empty heap, and a module of its own, because the clients are many.
//
//	peers systems
//	peers install --system NAME --client go|cpp|rust --cache FOLDER
//	peers run --system NAME --client C --cache FOLDER --folder FOLDER --tier TIER --workload W --sizes B,...
//	peers plot --json FILE --out FOLDER
//
// What it finds it prints in lines of JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type options struct {
	command                                   string
	system, client, cache, folder, tier, load string
	sizes                                     []int
	warmup, seconds                           time.Duration
	rates                                     []float64
	rate                                      float64 // the one of a trial
	backlog                                   int64   // bytes
	json, out                                 string
}

func main() {
	o, err := parse(os.Args[1:])
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
		err = do(ctx, o)
		stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	if len(args) == 0 {
		return o, errors.New("usage: peers systems|install|run|plot")
	}
	o.command = args[0]
	flags := flag.NewFlagSet("peers", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.system, "system", "", "")
	flags.StringVar(&o.client, "client", goClient, "")
	flags.StringVar(&o.cache, "cache", "", "")
	flags.StringVar(&o.folder, "folder", "", "")
	flags.StringVar(&o.tier, "tier", "", "")
	flags.StringVar(&o.load, "workload", "", "")
	sizes := flags.String("sizes", "1024", "")
	warmup := flags.Float64("warmup", 1, "")
	seconds := flags.Float64("seconds", 3, "")
	rates := flags.String("rates", "2000", "")
	flags.Int64Var(&o.backlog, "backlog", 4<<30, "")
	flags.StringVar(&o.json, "json", "", "")
	flags.StringVar(&o.out, "out", "", "")
	if err := flags.Parse(args[1:]); err != nil {
		return o, err
	}
	o.warmup, o.seconds = duration(*warmup), duration(*seconds)
	for text := range strings.SplitSeq(*sizes, ",") {
		size, err := strconv.Atoi(text)
		if err != nil || size < payloadHeader || size > 4<<20 {
			return o, fmt.Errorf("no size %q; from %d to %d bytes", text, payloadHeader, 4<<20)
		}
		o.sizes = append(o.sizes, size)
	}
	for text := range strings.SplitSeq(*rates, ",") {
		rate, err := strconv.ParseFloat(text, 64)
		if err != nil || !(rate > 0) {
			return o, fmt.Errorf("no rate %q", text)
		}
		o.rates = append(o.rates, rate)
	}
	return o, o.check()
}

func (o options) check() error {
	switch o.command {
	case "systems", "plot":
		return nil
	case "install", "run":
	default:
		return fmt.Errorf("no command %q", o.command)
	}
	system := systemNamed(o.system)
	if system == nil {
		return fmt.Errorf("no system %q", o.system)
	}
	client := clientOf(o)
	if client == nil {
		return fmt.Errorf("%s has no client %q", o.system, o.client)
	}
	if o.command == "install" {
		return nil
	}
	switch {
	case !slices.Contains(system.Tiers(), o.tier):
		return fmt.Errorf("%s has no tier %q", o.system, o.tier)
	case workloads[o.load] == nil:
		return fmt.Errorf("no workload %q", o.load)
	case !slices.Contains(client.workloads, o.load):
		return fmt.Errorf("%s has no workload %q", client.name, o.load)
	case o.seconds <= 0 || o.warmup < 0 || o.backlog <= 0:
		return errors.New("rates and times are above 0")
	}
	return nil
}

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

func do(ctx context.Context, o options) error {
	switch o.command {
	case "systems":
		for _, s := range systems() {
			for _, c := range clientsOf(s) {
				if err := printJSON(map[string]any{"name": c.name, "system": s.Name(), "language": c.flag,
					"tiers": s.Tiers(), "workloads": c.workloads}); err != nil {
					return err
				}
			}
		}
		return nil
	case "install":
		system := systemNamed(o.system)
		version, err := system.Install(ctx, o.cache)
		if err != nil {
			return err
		}
		library, err := clientOf(o).install(ctx, o.cache)
		if err != nil {
			return err
		}
		return printJSON(map[string]any{"version": version, "client": library})
	case "plot":
		return plotFile(o.json, o.out)
	default:
		return measure(ctx, o)
	}
}

// libraryText is a module's last name and version.
func libraryText(module string) string {
	version := libraryVersion(module)
	if version == "" { // of this repository
		return module
	}
	name := path.Base(module)
	if len(name) > 1 && name[0] == 'v' && name[1] >= '0' && name[1] <= '9' {
		name = path.Base(path.Dir(module))
	}
	return name + " " + version
}

func printJSON(v any) error { return json.NewEncoder(os.Stdout).Encode(v) }
