package onsite

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/pocketping/bridge/internal/sandbox/soak"
)

// TestManyPages counts what 5000 open pages take, and how long a message then takes to be accepted and to be pushed. A few of them are
// opened where it is not asked for the long count.
func TestManyPages(t *testing.T) {
	pages, seconds := 100, 1
	if soak.Asked() {
		pages, seconds = 5000, 20
	}
	r := newRig(t, "bolt")
	r.env = slices.DeleteFunc(r.env, func(v string) bool { return strings.HasSuffix(v, "_RATE=off") }) // the platforms' paces are kept
	p := r.start(r.port)
	base := "http://127.0.0.1:" + r.port + "/pocketping"
	client := &http.Client{Timeout: hung, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	post := func(from, path, body string) (string, time.Duration) {
		req, err := http.NewRequest(http.MethodPost, base+path, strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return "", 0
		}
		req.Header.Set("Origin", origin)
		req.Header.Set("X-Forwarded-For", from)
		begun := time.Now()
		resp, err := client.Do(req)
		if err != nil {
			t.Error(err)
			return "", 0
		}
		defer func() { _ = resp.Body.Close() }()
		var text bytes.Buffer
		_, _ = text.ReadFrom(resp.Body)
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", path, resp.StatusCode, text.String())
		}
		return text.String(), time.Since(begun)
	}
	address := func(i int) string { return fmt.Sprintf("10.%d.%d.1", i/250, i%250) }
	sessions := make([]string, pages)
	var mu sync.Mutex
	pushed := map[string]time.Time{} // text → when a page has it
	var work sync.WaitGroup
	slots := make(chan bool, 32)
	for i := range pages {
		slots <- true
		work.Go(func() {
			defer func() { <-slots }()
			text, _ := post(address(i), "/connect", fmt.Sprintf(`{"visitorId":"v%d","sessionId":null}`, i))
			_, rest, _ := strings.Cut(text, `"sessionId":"`)
			sessions[i], _, _ = strings.Cut(rest, `"`)
			conn, resp, err := websocket.DefaultDialer.Dial("ws://127.0.0.1:"+r.port+"/pocketping/stream?sessionId="+sessions[i],
				http.Header{"Origin": {origin}, "X-Forwarded-For": {address(i)}})
			if err != nil {
				t.Error(err)
				return
			}
			_ = resp.Body.Close()
			t.Cleanup(func() { _ = conn.Close() })
			go func() {
				for {
					_, text, err := conn.ReadMessage()
					if err != nil {
						return
					}
					if _, rest, ok := strings.Cut(string(text), `"content":"push `); ok && bytes.HasPrefix(text, []byte(`{"type":"message"`)) {
						name, _, _ := strings.Cut(rest, `"`)
						mu.Lock()
						pushed["push "+name] = time.Now()
						mu.Unlock()
					}
				}
			}()
		})
	}
	work.Wait()
	resident := func() string {
		status, err := os.ReadFile("/proc/" + strconv.Itoa(p.Cmd.Process.Pid) + "/status")
		if err != nil {
			t.Fatal(err)
		}
		_, rss, _ := strings.Cut(string(status), "VmRSS:")
		rss, _, _ = strings.Cut(rss, "\n")
		return strings.TrimSpace(rss)
	}
	open := resident()

	var took []time.Duration
	tick := time.NewTicker(5 * time.Millisecond) // 200 a second
	defer tick.Stop()
	begun := map[string]time.Time{}
	for i := range 200 * seconds {
		<-tick.C
		work.Go(func() {
			text := fmt.Sprint("push ", i)
			mu.Lock()
			begun[text] = time.Now()
			mu.Unlock()
			_, d := post(address(i%pages), "/message", fmt.Sprintf(`{"sessionId":%q,"content":%q,"attachmentIds":[]}`, sessions[i%pages], text))
			mu.Lock()
			took = append(took, d)
			mu.Unlock()
		})
	}
	work.Wait()
	if !r.until(func() bool { mu.Lock(); defer mu.Unlock(); return len(pushed) == len(begun) }) {
		t.Errorf("%d of %d messages are pushed", len(pushed), len(begun))
	}
	mu.Lock()
	defer mu.Unlock()
	var push []time.Duration
	for text, at := range pushed {
		push = append(push, at.Sub(begun[text]))
	}
	slices.Sort(took)
	slices.Sort(push)
	of := func(all []time.Duration, part float64) time.Duration {
		return all[int(part*float64(len(all)-1))].Round(time.Millisecond / 10)
	}
	soak.Row(t, "%d open pages: RSS %s, with messages %s; at 200 messages a second accepted in %s (p50), %s (p99), on the page in %s (p50), %s (p99)",
		pages, open, resident(), of(took, 0.5), of(took, 0.99), of(push, 0.5), of(push, 0.99))
}
