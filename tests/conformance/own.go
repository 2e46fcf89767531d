package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"
)

// own does the commands of the runner: those that no driver could do.
func (r *Run) own(step *Step, fields map[string]any) (map[string]any, error) {
	switch step.Do {
	case "await":
		return r.await(fields)
	case "consume":
		return r.consume(step, fields)
	case "collected":
		name, _ := fields["list"].(string)
		return map[string]any{"ok": true, "records": r.lists[name]}, nil
	case "now":
		return r.now(), nil
	case "mark":
		name, _ := fields["name"].(string)
		r.marks[name] = time.Now()
		return nil, nil
	case "kill_driver":
		d := r.drivers[step.To]
		if d == nil {
			return nil, fmt.Errorf("driver %s is not running", step.To)
		}
		d.kill()
		delete(r.drivers, step.To)
		for name, t := range r.tasks {
			if t.driver == d {
				delete(r.tasks, name)
			}
		}
		return nil, nil
	case "start_driver":
		if r.drivers[step.To] != nil {
			return nil, fmt.Errorf("driver %s is running", step.To)
		}
		return nil, r.start(step.To, r.Binaries[step.To])
	case "kill_broker":
		r.Broker.Kill()
		return nil, nil
	case "stop_broker":
		return nil, r.Broker.Stop(25 * time.Second)
	case "start_broker":
		return nil, r.Broker.Restart()
	}
	return nil, fmt.Errorf("no command %q of the runner", step.Do)
}

func (r *Run) await(fields map[string]any) (map[string]any, error) {
	name, _ := fields["name"].(string)
	t := r.tasks[name]
	if t == nil {
		return nil, fmt.Errorf("no task %q", name)
	}
	delete(r.tasks, name)
	return t.driver.answer(t.within + grace)
}

// consume receives and acknowledges until `count` different offsets came, at most
// `batch` at a time, and answers all records in the order of their coming. Where it
// adds to a list, the count is that of the list: after a crash some come again. With
// idle_ms also batches that do not fill are acknowledged.
func (r *Run) consume(step *Step, fields map[string]any) (map[string]any, error) {
	d := r.drivers[step.To]
	count, ok := number(fields["count"])
	if d == nil || !ok {
		return nil, fmt.Errorf("consume needs a running driver and a count")
	}
	batch, ok := number(fields["batch"])
	if !ok {
		batch = 500
	}
	all := []any{}
	seen := map[uint64]bool{}
	var before []Record
	if err := convert(r.lists[step.Collect], &before); err != nil {
		return nil, err
	}
	for _, record := range before {
		seen[record.Offset] = true
	}
	for progress := time.Now(); int64(len(seen)) < count; {
		receive := maps.Clone(fields)
		receive["cmd"] = "receive"
		receive["timeout_ms"] = 30_000
		receive["count"] = min(batch, count-int64(len(seen)))
		answer, err := r.ask(d, receive)
		if err != nil || answer["ok"] != true {
			return answer, err
		}
		var records []Record
		if err := convert(answer["records"], &records); err != nil {
			return nil, err
		}
		if len(records) > 0 {
			progress = time.Now()
		} else if time.Since(progress) > 30*time.Second {
			return nil, fmt.Errorf("nothing comes after %d of %d", len(seen), count)
		}
		offsets := [][2]uint64{}
		settled := map[uint64]bool{}
		for _, record := range records {
			seen[record.Offset] = true
			// What came twice is held once.
			if !settled[record.Offset] {
				offsets = append(offsets, [2]uint64{record.Offset, 1})
			}
			settled[record.Offset] = true
		}
		all = append(all, answer["records"].([]any)...)
		answer, err = r.ask(d, map[string]any{"cmd": "settle", "on": fields["on"], "offsets": offsets, "action": "ACK"})
		if err != nil || answer["ok"] != true {
			return answer, err
		}
	}
	return map[string]any{"ok": true, "records": all}, nil
}

func (r *Run) ask(d *Driver, fields map[string]any) (map[string]any, error) {
	if err := d.send(fields); err != nil {
		return nil, err
	}
	return d.answer(30*time.Second + grace)
}

// now answers a time between what is done and what follows: records are stamped
// with the broker's clock, in milliseconds, when it takes them up. It is the same
// machine's clock, so a pause of a few milliseconds on both sides separates them.
func (r *Run) now() map[string]any {
	const apart = 10 * time.Millisecond
	time.Sleep(apart)
	t := time.Now().UnixMilli()
	time.Sleep(apart)
	return map[string]any{"ok": true, "time_unix_ms": json.Number(fmt.Sprint(t))}
}
