package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// limitFiles lets a process write no file beyond so many bytes from now on; a negative number takes the limit away. What goes
// beyond fails as on a full disk, for root too.
func limitFiles(t *testing.T, p *proc, bytes int64) {
	t.Helper()
	prlimit := func(next, now *syscall.Rlimit) {
		if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(p.Cmd.Process.Pid), syscall.RLIMIT_FSIZE,
			uintptr(unsafe.Pointer(next)), uintptr(unsafe.Pointer(now)), 0, 0); errno != 0 {
			t.Fatalf("prlimit: %v", errno)
		}
	}
	var limit syscall.Rlimit
	prlimit(nil, &limit)
	if limit.Cur = limit.Max; bytes >= 0 {
		limit.Cur = uint64(bytes)
	}
	prlimit(&limit, nil)
}

// The embedded store's disk takes nothing any more, or nothing larger. The bridge says 503 and why, loses nothing that it
// answered with 200, and goes on by itself when there is room.
func TestDiskFull(t *testing.T) {
	for _, test := range []struct {
		name   string
		closed bool // no write goes at all; else none beyond the file's present size
	}{{"no room", false}, {"no writes", true}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.withSecrets()
			delete(r.env, "API_KEY") // the traffic has none
			p := r.start()
			tr := newTraffic(r)
			tr.allow(200)
			r.until("at work", func() bool { return tr.sent() >= 100 })
			limit := int64(0)
			if !test.closed {
				info, err := os.Stat(filepath.Join(r.env["DATA_DIR"], "bridge.db"))
				if err != nil {
					t.Fatal(err)
				}
				limit = info.Size()
			}
			limitFiles(t, p, limit)
			taken := 0 // of large messages
			large := func(n int) (int, string) {
				return r.ask(http.MethodPost, "/api/messages", "", message("large", fmt.Sprint("m", n), strings.Repeat("x", 3900)+" "+fmt.Sprint(n)))
			}
			refused := func() bool {
				code, answer := large(taken)
				switch code {
				case http.StatusOK:
					taken++
					return false
				case http.StatusServiceUnavailable:
				default:
					t.Errorf("answered with\n%s", answer)
				}
				if !strings.Contains(answer, "\r\nRetry-After: ") {
					t.Errorf("no time to come again:\n%s", answer)
				}
				r.noLeak("an answer", answer)
				return true
			}
			// It is not ready before all that was refused would be taken. What is delivered meanwhile may make room for that: then it is
			// right to be ready, and the next large ones fill the room again.
			r.until("refused and not ready", func() bool {
				if !refused() {
					return false
				}
				code, answer := r.ask(http.MethodGet, "/readyz?verbose", "", "")
				if code == http.StatusServiceUnavailable && !strings.Contains(answer, "store") || code == http.StatusOK && test.closed {
					t.Errorf("/readyz says\n%s", answer)
				}
				return code == http.StatusServiceUnavailable
			})
			if code, answer := r.ask(http.MethodGet, "/livez", "", ""); code != http.StatusOK {
				t.Errorf("/livez says\n%s", answer)
			}
			limitFiles(t, p, -1)
			r.until("ready again", func() bool {
				code, _ := r.ask(http.MethodGet, "/readyz", "", "")
				return code == http.StatusOK
			})
			if code, answer := large(taken); code != http.StatusOK {
				t.Errorf("answered with\n%s", answer)
			}
			r.until("the large ones in the topic", func() bool {
				topics := r.topics("large")
				return len(topics) == 1 && len(r.shown(topics[0].ID)) > taken
			})
			for i, text := range r.shown(r.topics("large")[0].ID) {
				if !strings.HasSuffix(text, fmt.Sprint("x ", i)) {
					t.Errorf("at place %d stands a text of %d bytes that ends in %q", i, len(text), text[max(0, len(text)-10):])
				}
			}
			tr.allow(100)
			tr.endBeside(0, "large") // nothing was repeated either: what could not be recorded was recorded later
			out := p.Output()
			if n := strings.Count(out, "the store does not take writes"); n == 0 || test.closed && n > 1 {
				t.Errorf("it says %d times that it takes no writes:\n%s", n, out)
			}
			if !p.says("the store does not take writes", "file too large") && !p.says("the store does not take writes", "resize") {
				t.Errorf("the log does not name the cause:\n%s", out)
			}
			r.noLeak("the log", out)
		})
	}
}
