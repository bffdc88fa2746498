package store

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
)

// TestProcess follows a process from its start to after its end. What is not known for sure is not an end.
func TestProcess(t *testing.T) {
	us := ThisProcess()
	if us.ID != os.Getpid() || us.Boot == "" || us.Namespace == "" || us.Started == 0 || us.Ended() {
		t.Fatalf("this process is %+v", us)
	}
	if got := ParseProcess(us.String()); got != us {
		t.Errorf("%q is read as %+v", us, got)
	}
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	other := us
	other.ID = cmd.Process.Pid
	var err error
	if _, other.Started, err = stat(other.ID); err != nil {
		t.Fatal(err)
	}
	changed := func(change func(*Process)) Process {
		p := other
		change(&p)
		return p
	}
	doubtful := map[string]Process{
		"nobody":                 {},
		"another boot":           changed(func(p *Process) { p.Boot = "other" }),
		"another namespace":      changed(func(p *Process) { p.Namespace = "pid:[1]" }),
		"of no boot":             changed(func(p *Process) { p.Boot = "" }),
		"not a process":          changed(func(p *Process) { p.ID = 0 }),
		"a group's":              changed(func(p *Process) { p.ID = -p.ID }),
		"text that says nothing": ParseProcess("TOKEN"),
		"text cut short":         ParseProcess("a b 1"),
		"text with more":         ParseProcess(other.String() + " x"),
		"text that is no number": ParseProcess("a b x 1"),
	}
	if other.Ended() {
		t.Error("it runs")
	}
	if !changed(func(p *Process) { p.Started-- }).Ended() {
		t.Error("one that had its id before has ended")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for !other.Ended() { // a zombie, until it is asked for
		runtime.Gosched()
	}
	_ = cmd.Wait() // it was killed
	if !other.Ended() {
		t.Error("it has ended")
	}
	for name, p := range doubtful {
		if p.Ended() {
			t.Errorf("%s has ended for sure", name)
		}
	}
}
