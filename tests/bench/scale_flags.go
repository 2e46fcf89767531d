package main

// scaleOptions choose what is measured.
type scaleOptions struct {
	workloads []string // empty: all
	quick     bool
	json, out string
}

func parseScale(args []string) (scaleOptions, error) {
	var o scaleOptions
	flags := newFlags("bench scale")
	workloads := flags.String("workloads", "", "")
	flags.BoolVar(&o.quick, "quick", false, "")
	flags.StringVar(&o.json, "json", "", "")
	flags.StringVar(&o.out, "out", "", "")
	if err := parseAll(flags, args, errUsage.Error()); err != nil {
		return o, err
	}
	o.workloads = listed(*workloads)
	return o, nil
}

// scaleSizes are how long loads measure, in seconds, and how much is kept or spilled.
type scaleSizes struct {
	warmup, rate, latency float64
	spilled, kept, cold   int // bytes of payloads
	rounds                int // of all steps
	repeats               int // within those that need a folder that takes long to fill
}

func sizesOf(quick bool) scaleSizes {
	if quick {
		return scaleSizes{warmup: 1, rate: 2, latency: 3, spilled: 1 << 30, kept: 2 << 30, cold: 512 << 20,
			rounds: 1, repeats: 1}
	}
	return scaleSizes{warmup: 1.5, rate: 3, latency: 6, spilled: 10 << 30, kept: 20 << 30, cold: 2 << 30,
		rounds: 3, repeats: 3}
}
