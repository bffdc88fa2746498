package relay_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay"
	"github.com/pocketping/bridge/internal/sandbox/program"
	"github.com/pocketping/bridge/internal/sandbox/soak"
	"github.com/pocketping/bridge/internal/store/bolt"
)

// asLife in the environment makes this test program one long life of a relay, with so many messages.
const asLife = "BRIDGE_TEST_LIFE"

// life is what a long life leaves behind, in bytes.
type life struct {
	File int64 // the store's, compacted
	Anon int64 // the process's memory that no file stands behind
}

// TestLongLife has several times as many messages go through in one process as in the other. After a month of silence neither the
// memory nor the file may tell. What is kept in memory up to a number, as some thousand conversations are, is full in both long counts.
func TestLongLife(t *testing.T) {
	if n := os.Getenv(asLife); n != "" {
		messages, err := strconv.Atoi(n)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Test(t, func(t *testing.T) { live(t, messages) })
		return
	}
	t.Parallel()
	some, many := 300, 3_000
	if soak.Asked() {
		some, many = 100_000, 300_000
	}
	program := lifeProgram(t)
	few := lifeOf(t, program, some)
	more := lifeOf(t, program, many)
	soak.Row(t, "%d messages leave a file of %d KiB and %.1f MiB of memory; %d messages %d KiB and %.1f MiB",
		some, few.File>>10, float64(few.Anon)/(1<<20), many, more.File>>10, float64(more.Anon)/(1<<20))
	if float64(more.File) > 1.2*float64(few.File) {
		t.Errorf("the file has %d bytes after %d messages, and %d after %d", few.File, some, more.File, many)
	}
	// The few fill nothing of what is kept up to a number; the long count is exact.
	allowed := 1.2
	if !soak.Asked() {
		allowed = 2
	}
	if float64(more.Anon) > allowed*float64(few.Anon) {
		t.Errorf("the process has %d bytes after %d messages, and %d after %d", few.Anon, some, more.Anon, many)
	}
}

// lifeProgram returns the program that lives: this one, or for the long counts one without the race detector.
func lifeProgram(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if !soak.Asked() || !program.Detected() {
		return self
	}
	plain := filepath.Join(t.TempDir(), "plain.test")
	if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", plain, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	return plain
}

// lifeOf lets a process live.
func lifeOf(t *testing.T, program string, messages int) life {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, "-test.run=^TestLongLife$", "-test.v")
	cmd.Env = append(os.Environ(), asLife+"="+strconv.Itoa(messages))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if text, ok := strings.CutPrefix(line, asLife+" "); ok {
			var l life
			if err := json.Unmarshal([]byte(text), &l); err != nil {
				t.Fatal(err)
			}
			return l
		}
	}
	t.Fatalf("it says nothing of its life:\n%s", out)
	return life{}
}

// live is that process: messages of sessions of some each, shown by a platform and told to a callback, and then nothing for longer
// than anything is kept.
func live(t *testing.T, messages int) {
	each, wave, keep, silence := 10, 300, 24*time.Hour, 30*time.Hour
	if soak.Asked() {
		each, wave, keep, silence = 4, 500, 30*24*time.Hour, 31*24*time.Hour
	}
	debug.SetGCPercent(400) // as the program does with so little in use
	path := filepath.Join(t.TempDir(), "bridge.db")
	store, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	place, ear := &place{}, &ear{}
	r := relay.New(relay.Options{
		Store: store, Presence: &presence{store: store}, Receivers: ear, Platforms: []bridge.Platform{place},
		OpenThread: relay.OpenOnMessage, Retention: keep, Log: slog.New(slog.DiscardHandler),
	})
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { r.Run(ctx) })
	for from := 0; from < messages; from += wave {
		var wg sync.WaitGroup
		for s := range wave / each {
			session := fmt.Sprintf("session-%d", from/each+s)
			wg.Go(func() {
				for i := range each {
					body := message(session, fmt.Sprint("m", i), strings.Repeat("word ", 40))
					var e bridge.AppEvent
					if err := json.Unmarshal([]byte(body), &e); err != nil {
						t.Error(err)
						return
					}
					if _, err := r.Ingest(ctx, bridge.Inbound{Event: &e, Body: []byte(body), Callback: "x"}); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		time.Sleep(time.Minute) // on the bubble's clock
	}
	if place.sent.Load() != int64(messages) || ear.got.Load() != int64(messages) {
		t.Errorf("%d of %d messages were shown, and %d receipts told", place.sent.Load(), messages, ear.got.Load())
	}
	time.Sleep(silence)
	entries, _, err := store.LogSize(t.Context())
	if err != nil || entries != 0 {
		t.Errorf("%d entries in the log, %v", entries, err)
	}
	var l life
	l.Anon = anonymous(t)
	cancel()
	work.Wait()
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, l.File, err = bolt.Compact(path); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("\n%s %s\n", asLife, text)
}

// anonymous returns how much memory this process has that no file stands behind. The race detector has several times as much
// for itself, so under it only what the program has is counted, as Go tells.
func anonymous(t *testing.T) int64 {
	t.Helper()
	debug.FreeOSMemory() // of the silence no real time has passed, in which the runtime gives back what is free
	if program.Detected() {
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return int64(stats.Sys - stats.HeapReleased)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "RssAnon:" {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	t.Fatal("the kernel does not tell")
	return 0
}

// place is a platform that takes everything and remembers nothing.
type place struct {
	called       string // telegram, if empty
	opened, sent atomic.Int64
}

func (p *place) Name() string          { return cmp.Or(p.called, "telegram") }
func (p *place) Limits() bridge.Limits { return bridge.Limits{Concurrency: 8} }
func (p *place) Render(m bridge.Outgoing) []bridge.Part {
	return []bridge.Part{{Text: m.Text}}
}

func (p *place) OpenThread(context.Context, *bridge.Session, bridge.Opening) (bridge.ThreadID, string, error) {
	return bridge.ThreadID(fmt.Sprint("t", p.opened.Add(1))), "", nil
}

func (p *place) Send(context.Context, bridge.ThreadID, bridge.Part) ([]bridge.MessageID, error) {
	return []bridge.MessageID{bridge.MessageID(fmt.Sprint(p.sent.Add(1)))}, nil
}

// ear is one callback that takes everything and remembers nothing.
type ear struct{ got atomic.Int64 }

func (e *ear) Targets(entry bridge.Entry, _ string) []string {
	if !entry.Event.FromOperators() {
		return nil
	}
	return []string{"x"}
}
func (e *ear) Registered() bool { return true }
func (e *ear) Has(string) bool  { return true }
func (e *ear) Post(context.Context, string, bridge.Entry) error {
	e.got.Add(1)
	return nil
}
func (e *ear) Touch(context.Context, string) (bool, error) { return true, nil }
func (e *ear) Changed() <-chan struct{}                    { return nil }
