// Package redistest runs a real redis-server for a test. It knows nothing of what the test keeps in it.
package redistest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/program"
)

// startTimeout only ends a test whose server does not come up.
const startTimeout = 20 * time.Second

// Server is a redis-server of the test's own, on a free port of the loopback address, with its files in a folder of the
// test. It appends to a file, synced every second, so that it comes back with everything after a Kill. Its methods end the
// test when they fail; they are for one goroutine.
type Server struct {
	Addr string // host:port

	t      testing.TB
	port   string
	dir    string
	args   []string
	behind time.Duration // its clock is so far behind
	cmd    *exec.Cmd
	// ended is closed when the present process has gone.
	ended chan struct{}
	lines *tail
}

// Start starts a server, which is killed when the test ends. The arguments are those of redis-server and go before ours,
// such as "--maxmemory", "3mb", or a Sentinel's file and "--sentinel".
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return StartBehind(t, 0, args...)
}

// StartBehind starts a server whose clock is behind the machine's.
func StartBehind(t testing.TB, behind time.Duration, args ...string) *Server {
	t.Helper()
	s := &Server{t: t, dir: t.TempDir(), args: args, behind: behind}
	t.Cleanup(s.stop)
	// The free port may be taken by another test before the server binds it.
	var err error
	for range 5 {
		s.port = program.FreePort(t)
		s.Addr = "127.0.0.1:" + s.port
		if err = s.start(); err == nil {
			return s
		}
	}
	t.Fatal(err)
	return nil
}

// URL returns the URL of database 0, as REDIS_URL has it.
func (s *Server) URL() string { return s.Database(0) }

// Database returns the URL of one of the server's 4096 databases, which know nothing of each other.
func (s *Server) Database(n int) string { return fmt.Sprintf("redis://%s/%d", s.Addr, n) }

// PID returns the process id of the running server.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Kill ends the server as a crash would.
func (s *Server) Kill() {
	s.t.Helper()
	s.stop()
}

// CutFile takes bytes off the end of the file to which the server appends, as a crash of its host may. The server must not run.
func (s *Server) CutFile(bytes int64) {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, "appendonlydir", "*.incr.aof"))
	if err != nil || len(files) != 1 {
		s.t.Fatalf("redistest: the appended files are %q, %v", files, err)
	}
	info, err := os.Stat(files[0])
	if err != nil {
		s.t.Fatalf("redistest: %v", err)
	}
	if err := os.Truncate(files[0], max(0, info.Size()-bytes)); err != nil {
		s.t.Fatalf("redistest: %v", err)
	}
}

// Restart starts the server again on the same port and files, and returns when it answers. It kills it first if it runs.
func (s *Server) Restart() {
	s.t.Helper()
	s.stop()
	if err := s.start(); err != nil {
		s.t.Fatal(err)
	}
}

// Pause stops the server in its tracks: connections stay open and nothing is answered until Resume.
func (s *Server) Pause() {
	s.t.Helper()
	s.signal(syscall.SIGSTOP)
}

// Resume lets a paused server go on.
func (s *Server) Resume() {
	s.t.Helper()
	s.signal(syscall.SIGCONT)
}

func (s *Server) signal(sig os.Signal) {
	s.t.Helper()
	if s.cmd == nil {
		s.t.Fatal("redistest: the server does not run")
	}
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatalf("redistest: %v", err)
	}
}

// start runs the server and waits until it says that it is ready, which is after it has loaded its file.
func (s *Server) start() error {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		s.t.Fatal("redis-server is not installed: apt-get install redis-server (macOS: brew install redis)")
	}
	args := append([]string{}, s.args...)
	args = append(args, "--port", s.port, "--bind", "127.0.0.1", "--dir", s.dir, "--daemonize", "no")
	for name, value := range map[string]string{
		"--save": "", "--appendonly": "yes", "--appendfsync": "everysec", "--databases": "4096",
		"--repl-diskless-sync-delay": "0",
	} {
		if !slices.Contains(s.args, name) {
			args = append(args, name, value)
		}
	}
	out, in, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("redistest: %w", err)
	}
	env := os.Environ()
	if s.behind != 0 {
		var library []byte
		for range 5 { // it fails where a process of its number has left its memory behind
			library, err = exec.Command("faketime", "-f", "+0", "sh", "-c", "echo $LD_PRELOAD").Output() //nolint:noctx // it ends at once
			if err == nil {
				break
			}
		}
		if err != nil {
			s.t.Fatalf("faketime does not run: apt-get install faketime (%v)", err)
		}
		// The library and jemalloc need each other before they are there; the C library's own allocator does without a clock.
		env = append(env, "LD_PRELOAD="+strings.TrimSpace(string(library))+":libc.so.6",
			fmt.Sprintf("FAKETIME=-%ds", int(s.behind.Seconds())), "FAKETIME_DONT_FAKE_MONOTONIC=1")
	}
	// Not CommandContext: the server must outlive t.Context, which ends before the test's clean-up.
	cmd := exec.Command(path, args...) //nolint:gosec,noctx // the test's own server
	cmd.Stdout, cmd.Stderr = in, in
	cmd.Env = env
	err = cmd.Start()
	_ = in.Close()
	if err != nil {
		_ = out.Close()
		return fmt.Errorf("redistest: %w", err)
	}
	s.cmd, s.ended, s.lines = cmd, make(chan struct{}), new(tail)
	ready := make(chan struct{})
	go s.lines.read(out, ready)
	go func(ended chan struct{}) {
		_ = cmd.Wait() // it is killed
		close(ended)
	}(s.ended)

	timeout := time.NewTimer(startTimeout)
	defer timeout.Stop()
	select {
	case <-ready:
		return nil
	case <-s.ended:
	case <-timeout.C:
	}
	s.stop()
	return fmt.Errorf("redistest: redis-server did not start:\n%s", s.lines)
}

// until waits for something to be so; its deadline only ends a test that hangs.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(2 * time.Minute); !is(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("redistest: never: %s", what)
		}
	}
}

func (s *Server) stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // it may have gone by itself
	<-s.ended
	s.cmd = nil
}

// tail keeps the last lines of the server's log, for the error when it does not start.
type tail struct {
	mu    sync.Mutex
	lines []string
}

func (l *tail) read(r io.ReadCloser, ready chan<- struct{}) {
	defer func() { _ = r.Close() }()
	for in := bufio.NewScanner(r); in.Scan(); {
		l.mu.Lock()
		l.lines = append(l.lines, in.Text())
		if len(l.lines) > 20 {
			l.lines = l.lines[1:]
		}
		l.mu.Unlock()
		if ready != nil && (strings.Contains(in.Text(), "Ready to accept connections") || strings.Contains(in.Text(), "Sentinel ID is")) {
			close(ready)
			ready = nil
		}
	}
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// Appended returns all that was written to the server since its start, as it stands in its file.
func (s *Server) Appended() string {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, "appendonlydir", "*.incr.aof"))
	if err != nil || len(files) == 0 {
		s.t.Fatalf("redistest: the appended files are %q, %v", files, err)
	}
	var all []byte
	for _, name := range files {
		text, err := os.ReadFile(name) //nolint:gosec // the test's own
		if err != nil {
			s.t.Fatalf("redistest: %v", err)
		}
		all = append(all, text...)
	}
	return string(all)
}
