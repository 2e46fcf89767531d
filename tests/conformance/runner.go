package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"spillway.dev/tests/spillwayd"
)

// Run is one scenario with one set of variables and one language for each driver.
type Run struct {
	Scenario *Scenario
	Broker   *spillwayd.Broker
	// Binaries of the drivers, by the names that the scenario gives them.
	Binaries map[string]string
	Vars     map[string]any
	// Patience is how long states may take that are repeatedly asked for; 20 s.
	Patience time.Duration
	// Shapes collects what answers look like, by step.
	Shapes map[int]any

	drivers map[string]*Driver
	tasks   map[string]*task
	lists   map[string][]any
	marks   map[string]time.Time
	match   matcher
}

type task struct {
	driver *Driver
	within time.Duration
}

// Failure is a step whose answer is not what the scenario wants.
type Failure struct {
	Line int
	Note string
	Err  error
}

func (f *Failure) Error() string {
	if f.Note != "" {
		return fmt.Sprintf("line %d (%s): %v", f.Line, f.Note, f.Err)
	}
	return fmt.Sprintf("line %d: %v", f.Line, f.Err)
}

// Do runs the scenario; its drivers are gone when it returns.
func (r *Run) Do() (err error) {
	r.drivers, r.tasks = map[string]*Driver{}, map[string]*task{}
	r.lists, r.marks = map[string][]any{}, map[string]time.Time{}
	r.match.vars = maps.Clone(r.Vars)
	if r.Patience == 0 {
		r.Patience = 20 * time.Second
	}
	defer func() {
		for _, d := range r.drivers {
			if err != nil {
				d.kill() // it may be in the middle of a command
			} else if ended := d.end(); ended != nil {
				err = ended
			}
		}
	}()
	for name, binary := range r.Binaries {
		if err := r.start(name, binary); err != nil {
			return err
		}
	}
	note := ""
	for i := range r.Scenario.Steps {
		step := &r.Scenario.Steps[i]
		if step.Note != "" {
			note = step.Note
		}
		if err := r.step(step); err != nil {
			return &Failure{step.Line, note, err}
		}
	}
	for name := range r.tasks {
		return fmt.Errorf("nobody waits for task %s", name)
	}
	return nil
}

func (r *Run) start(name, binary string) error {
	d, err := startDriver(name, binary)
	if err != nil {
		return err
	}
	r.drivers[name] = d
	if err := d.send(map[string]any{"cmd": "dial", "address": r.Broker.Address()}); err != nil {
		return err
	}
	answer, err := d.answer(grace)
	if err == nil && answer["ok"] != true {
		err = fmt.Errorf("dial: %s", show(answer))
	}
	return err
}

func (r *Run) step(step *Step) error {
	if step.Do == "" && step.Fields["cmd"] == nil {
		return nil // a note
	}
	patience := r.Patience
	if step.patience > 0 {
		patience = step.patience
	}
	for deadline := time.Now().Add(patience); ; {
		answer, err := r.perform(step)
		if err != nil {
			return err
		}
		if answer == nil {
			return nil // a task, or a command of the runner without an answer
		}
		err = r.judge(step, answer)
		if err == nil || !step.Until {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %v: %w", patience, err)
		}
		// There is no event to wait for; the broker must not be kept busy by asking.
		time.Sleep(10 * time.Millisecond)
	}
}

// perform does the step and returns the answer to judge, if there is one.
func (r *Run) perform(step *Step) (map[string]any, error) {
	value, err := substitute(step.Fields, r.match.vars)
	if err != nil {
		return nil, err
	}
	fields := value.(map[string]any)
	if step.Do != "" {
		return r.own(step, fields)
	}
	d := r.drivers[step.To]
	if d == nil {
		return nil, fmt.Errorf("driver %s is not running", step.To)
	}
	// More than the drivers' own default: what it bounds is a loaded machine.
	within := 30 * time.Second
	if ms, ok := number(fields["timeout_ms"]); ok {
		within = time.Duration(ms) * time.Millisecond
	} else {
		fields["timeout_ms"] = within.Milliseconds()
	}
	if err := d.send(fields); err != nil {
		return nil, err
	}
	if step.Task != "" {
		if r.tasks[step.Task] != nil {
			return nil, fmt.Errorf("there is a task %s", step.Task)
		}
		r.tasks[step.Task] = &task{d, within}
		return nil, nil
	}
	return d.answer(within + grace)
}

// judge compares an answer with what the step wants, and keeps what it names.
func (r *Run) judge(step *Step, answer map[string]any) error {
	if step.Since != "" {
		mark, ok := r.marks[step.Since]
		if !ok {
			return fmt.Errorf("no mark %s", step.Since)
		}
		answer["since_ms"] = json.Number(fmt.Sprint(time.Since(mark).Milliseconds()))
	}
	if step.Error != nil {
		want, err := substitute(step.Error, r.match.vars)
		if err != nil {
			return err
		}
		if answer["ok"] != false {
			return fmt.Errorf("no error: %s", show(answer))
		}
		if err := r.match.match(want, answer["error"]); err != nil {
			return fmt.Errorf("error %s: %w", show(answer["error"]), err)
		}
	} else if answer["ok"] != true {
		return fmt.Errorf("failed: %s", show(answer))
	}
	if step.Want != nil {
		want, err := substitute(step.Want, r.match.vars)
		if err != nil {
			return err
		}
		if err := r.match.match(want, answer); err != nil {
			return err
		}
	}
	if step.Collect != "" {
		records, _ := answer["records"].([]any)
		r.lists[step.Collect] = append(r.lists[step.Collect], records...)
	}
	if r.Shapes != nil && !step.Until {
		r.Shapes[step.Line] = shape(answer)
	}
	return nil
}
