package proc

import (
	"os"
	"runtime"
	"testing"
	"time"
)

func TestSwitchesIn(t *testing.T) {
	status := "Threads:\t1\nvoluntary_ctxt_switches:\t150\nnonvoluntary_ctxt_switches:\t545\n"
	if got := switchesIn(status); got != 150 {
		t.Errorf("%v", got)
	}
	if got := switchesIn("Threads:\t1\nnonvoluntary_ctxt_switches:\t545\n"); got != 0 {
		t.Errorf("%v of a status that has none", got)
	}
}

func TestOwnSwitches(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	self := Process(os.Getpid())
	before := self.VoluntarySwitches()
	for range 20 {
		time.Sleep(time.Millisecond) // what is counted
	}
	if after := self.VoluntarySwitches(); after < before+10 {
		t.Errorf("from %v to %v while it slept 20 times", before, after)
	}
}
