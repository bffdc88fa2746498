// Package program runs programs for tests: it builds the bridge, starts it or another program, waits until that says that it is ready, keeps
// what it prints, and ends it as a crash or as an operator would.
package program

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Listens is what the bridge prints when it serves; its first group is the address.
var Listens = regexp.MustCompile(`msg="the bridge listens" address=([0-9.:]+)`)

// Process is one run of a program. Its methods may be called from several goroutines.
type Process struct {
	Cmd   *exec.Cmd
	Ready string        // what the first group of the pattern was in the line that it waited for; empty: it ended before
	Ended chan struct{} // closed when it has ended

	mu  sync.Mutex
	out bytes.Buffer
}

// Start starts a program, in a folder of its own where the command names none, and returns when it has printed a line of the pattern, or has
// ended. The test ends with it if neither comes within patience, which is only there for what hangs.
func Start(t testing.TB, cmd *exec.Cmd, ready *regexp.Regexp, patience time.Duration) *Process {
	t.Helper()
	if err := lookAtSources(); err != nil {
		t.Fatal(err)
	}
	p := &Process{Cmd: cmd, Ended: make(chan struct{})}
	if cmd.Dir == "" {
		cmd.Dir = t.TempDir()
	}
	// The race detector's own second at the end of a program would be most of what such tests take.
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0"}, cmd.Env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 1)
	go func() {
		p.follow(out, ready, said)
		_ = cmd.Wait()
		close(p.Ended)
	}()
	select {
	case p.Ready = <-said:
	case <-p.Ended:
	case <-time.After(patience):
		p.Kill()
		t.Fatalf("%s does not start:\n%s", cmd.Path, p.Output())
	}
	return p
}

// Inside runs a program's function in the test's own process, and returns as Start does. It ends when run returns; Kill and Exit are not for it.
func Inside(run func(out io.Writer), ready *regexp.Regexp) *Process {
	p := &Process{Ended: make(chan struct{})}
	from, to := io.Pipe()
	said := make(chan string, 1)
	go func() {
		defer func() { _ = to.Close() }()
		run(to)
	}()
	go func() {
		p.follow(from, ready, said)
		close(p.Ended)
	}()
	select {
	case p.Ready = <-said:
	case <-p.Ended:
	}
	return p
}

func (p *Process) follow(out io.Reader, ready *regexp.Regexp, said chan<- string) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		p.mu.Lock()
		p.out.Write(append(lines.Bytes(), '\n'))
		p.mu.Unlock()
		if m := ready.FindSubmatch(lines.Bytes()); m != nil {
			select {
			case said <- string(m[len(m)-1]):
			default:
			}
		}
	}
}

// Output is what it has printed so far.
func (p *Process) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// Kill ends it as a crash would.
func (p *Process) Kill() {
	_ = p.Cmd.Process.Kill()
	<-p.Ended
}

// Exit ends it as an operator of the machine would, and returns its code.
func (p *Process) Exit() int {
	_ = p.Cmd.Process.Signal(syscall.SIGTERM)
	<-p.Ended
	return p.Cmd.ProcessState.ExitCode()
}

// Build builds a package, named from the tests' folder, into a folder, with the race detector where the tests have it, and returns the
// program's path.
func Build(dir, pkg string) (string, error) {
	path := filepath.Join(dir, "program")
	args := []string{"build", "-o", path}
	if Detected() {
		args = append(args, "-race")
	}
	if out, err := exec.CommandContext(context.Background(), "go", append(args, pkg)...).CombinedOutput(); err != nil { //nolint:gosec // the tests name the package
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
}

// lookAtSources looks at every source file of the module: go test keeps what its tests have looked at beside a result, and the imports of a test
// that starts a program do not have that program's.
var lookAtSources = sync.OnceValue(func() error {
	out, err := exec.CommandContext(context.Background(), "go", "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	root := filepath.Dir(strings.TrimSpace(string(out)))
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && (e.Name() == "node_modules" || path != root && strings.HasPrefix(e.Name(), ".")):
			return filepath.SkipDir
		case filepath.Ext(path) == ".go" || e.Name() == "go.mod":
			_, err = os.Stat(path)
		}
		return err
	})
})

// Main runs the tests of a package with a program that is built for them, and returns their exit code.
func Main(m *testing.M, pkg string, program *string) int {
	dir, err := os.MkdirTemp("", "program")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if *program, err = Build(dir, pkg); err != nil {
		fmt.Println(err)
		return 1
	}
	return m.Run()
}

// Detected says whether this program runs under the race detector.
func Detected() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// The ports that FreePort gives. The system gives those from 32768 on, or from 49152, to whoever wants any: one of them may be another's when
// its program comes back. Neither is one of them the port 10 000 above, where a node of a Redis Cluster hears the others.
const (
	firstPort = 12_000
	lastPort  = 22_767
)

// lastGiven is where FreePort goes on. Processes begin at places of their own.
var lastGiven = rand.Uint32() //nolint:gosec // nothing secret depends on it

// FreePort returns a port of loopback that nobody listens on, for a program that is to come back at the same address, or for nobody.
func FreePort(t testing.TB) string {
	t.Helper()
	var err error
	for range 100 {
		port := strconv.Itoa(firstPort + int(atomic.AddUint32(&lastGiven, 1)%(lastPort-firstPort+1)))
		var l net.Listener
		if l, err = new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:"+port); err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal(err)
	return ""
}
