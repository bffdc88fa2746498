package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// ThisProcess names the present process; the zero Process where /proc does not tell.
var ThisProcess = sync.OnceValue(func() Process {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Process{}
	}
	// A /proc of another namespace would tell of others.
	self, err := os.Readlink("/proc/self")
	if err != nil || self != strconv.Itoa(os.Getpid()) {
		return Process{}
	}
	namespace, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return Process{}
	}
	_, started, err := stat(os.Getpid())
	if err != nil {
		return Process{}
	}
	return Process{Boot: strings.TrimSpace(string(boot)), Namespace: namespace, ID: os.Getpid(), Started: started}
})

// gone says whether no process of this machine and namespace is the given one.
func gone(p Process) bool {
	if p.ID <= 0 {
		return false
	}
	// Who may not see another's process in /proc is still told that there is one.
	if err := syscall.Kill(p.ID, 0); err != nil {
		return errors.Is(err, syscall.ESRCH)
	}
	state, started, err := stat(p.ID)
	switch {
	case err != nil:
		return false
	case started != p.Started:
		return true
	case state == 'Z' || state == 'X':
		// It has ended, and nobody has asked how. While only its first thread has, others run.
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.ID))
		return err == nil && len(threads) <= 1
	}
	return false
}

// stat returns a process's state and when it started.
func stat(id int) (state byte, started uint64, err error) {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id))
	if err != nil {
		return 0, 0, err
	}
	// The name before it may have any characters; the state is the third field and the start the 22nd.
	fields := strings.Fields(string(line[bytes.LastIndexByte(line, ')')+1:]))
	if len(fields) < 20 {
		return 0, 0, fmt.Errorf("/proc/%d/stat has %d fields", id, len(fields))
	}
	started, err = strconv.ParseUint(fields[19], 10, 64)
	return fields[0][0], started, err
}
