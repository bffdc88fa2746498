package store

import (
	"fmt"
	"strings"
)

// Process names a process, on whichever machine: the machine's boot, the namespace in which the process id means something,
// the id, and when it started, since ids are given again. The zero Process is not known to be any.
type Process struct {
	Boot      string
	Namespace string
	ID        int
	Started   uint64 // in the clock ticks of /proc since the boot
}

// String is what ParseProcess reads.
func (p Process) String() string {
	return fmt.Sprintf("%s %s %d %d", p.Boot, p.Namespace, p.ID, p.Started)
}

// ParseProcess reads what String wrote. Anything else is the zero Process.
func ParseProcess(text string) Process {
	var p Process
	if len(strings.Fields(text)) != 4 {
		return p
	}
	if n, err := fmt.Sscanf(text, "%s %s %d %d", &p.Boot, &p.Namespace, &p.ID, &p.Started); err != nil || n != 4 {
		return Process{}
	}
	return p
}

// Ended says that the process is known to run no more: it was of this boot of this machine and of our namespace, where no such
// process is. In doubt it runs.
func (p Process) Ended() bool {
	us := ThisProcess()
	if us == (Process{}) || p.Boot != us.Boot || p.Namespace != us.Namespace {
		return false
	}
	return p != us && gone(p)
}
