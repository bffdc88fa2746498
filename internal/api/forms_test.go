package api

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

const onlineBody = `{"type":"operator_status","online":true}`

func zip(t *testing.T, text string) string {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// The forms that clients in the field send are read.
func TestForms(t *testing.T) {
	d := newDesk()
	o := d.options(t)
	o.MaxBody = 2000
	base := serve(t, o)
	bomb := `{"type":"operator_status","online":true,"x":"` + strings.Repeat("x", 100_000) + `"}`
	if len(zip(t, bomb)) > 1000 {
		t.Fatal("it is not small enough to be let in")
	}
	for _, c := range []struct {
		name, path, body string
		header           []string
		status           int
		code             string
	}{
		{name: "a byte order mark", path: "/api/events", body: "\ufeff" + onlineBody, status: 200},
		{name: "gzip", path: "/api/events", body: zip(t, onlineBody), header: []string{"Content-Encoding", "gzip"}, status: 200},
		{name: "gzip by its old name", path: "/api/events", body: zip(t, onlineBody), header: []string{"Content-Encoding", "X-GZIP"}, status: 200},
		{name: "gzip with a mark", path: "/api/events", body: zip(t, "\ufeff"+onlineBody), header: []string{"Content-Encoding", "gzip"}, status: 200},
		{name: "no encoding, said", path: "/api/events", body: onlineBody, header: []string{"Content-Encoding", "identity"}, status: 200},
		{name: "gzip that grows too large", path: "/api/events", body: zip(t, bomb), header: []string{"Content-Encoding", "gzip"}, status: 413, code: "too_large"},
		{name: "gzip cut short", path: "/api/events", body: zip(t, onlineBody)[:30], header: []string{"Content-Encoding", "gzip"}, status: 400, code: "bad_body"},
		{name: "another encoding", path: "/api/events", body: onlineBody, header: []string{"Content-Encoding", "zstd"}, status: 415, code: "unsupported_encoding"},
		{name: "two encodings", path: "/api/events", body: zip(t, onlineBody), header: []string{"Content-Encoding", "gzip", "Content-Encoding", "gzip"}, status: 415, code: "unsupported_encoding"},
		{name: "UTF-16", path: "/api/events", body: "\xff\xfe{\x00}\x00", status: 400, code: "bad_json"},
		{name: "a doubled slash", path: "//api/events", body: onlineBody, status: 200},
		{name: "doubled slashes", path: "///api//events", body: onlineBody, status: 200},
		{name: "a slash at the end", path: "/api/events/", body: onlineBody, status: 200},
		{name: "slashes all over", path: "//api/operator//status//", body: onlineBody, status: 200},
		{name: "a way up", path: "/api/x/../events", body: onlineBody, status: 404, code: "not_found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(d.inbound())
			r, err := http.NewRequestWithContext(t.Context(), "POST", base+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i < len(c.header); i += 2 {
				r.Header.Add(c.header[i], c.header[i+1])
			}
			got := do(t, r)
			if got.status != c.status {
				t.Fatalf("%d %s", got.status, got.body)
			}
			if c.status != 200 {
				if code, _ := got.problem(t); code != c.code {
					t.Errorf("code %s", code)
				}
				return
			}
			if taken := d.inbound(); len(taken) != before+1 || string(taken[before].Body) != onlineBody {
				t.Errorf("%d are taken, the last one of %q", len(taken)-before, taken[len(taken)-1].Body)
			}
		})
	}
}

// However its slashes are written, a path below /api wants the key.
func TestSlashesOpenNoDoor(t *testing.T) {
	d := newDesk()
	o := d.options(t)
	o.APIKeys = []bridge.Secret{"0123456789abcdef"}
	base := serve(t, o)
	for _, path := range []string{"//api/presence", "/api/presence/", "/api//presence", "//%61pi/presence", "/./api/presence", "//api//presence//"} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := do(t, r); got.status == http.StatusOK {
			t.Errorf("%s: %d", path, got.status)
		}
	}
	// A slash within a name stays in it.
	if _, err := http.NewRequestWithContext(t.Context(), "PUT", base, nil); err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), "PUT", base+"//api/callbacks/a%2F%2Fb", strings.NewReader(`{"url":"https://a.example"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer 0123456789abcdef")
	if got := do(t, r); got.status != http.StatusCreated || !strings.Contains(got.body, `"id":"a//b"`) {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// An id that is not ours is older than all; an empty one is none.
func TestForeignLastEventID(t *testing.T) {
	for id, gap := range map[string]bool{
		"": false, "5": true, "undefined": true, "evt_0": true, "\xff": true, "EVT_0000000000000001": true, strings.Repeat("9", 300): true,
	} {
		for _, logged := range []int{0, 2} {
			synctest.Test(t, func(t *testing.T) {
				d := newClockDesk()
				d.feed.add(operators("s", logged)...)
				p := bubble(t, d.options(t))
				open := p.follow(t, "", "Last-Event-ID", id)
				open.want(t, ": open")
				if gap {
					open.want(t, "event: gap")
					if line := open.next(t); !strings.HasPrefix(line, "data: ") {
						t.Errorf("%q: %s", id, line)
					}
					same(t, idsOf(d.feed.all()), open.ids(t, logged))
				}
				d.feed.add(operator("s", 9, 1))
				same(t, []string{d.feed.Newest().String()}, open.ids(t, 1))
			})
		}
	}
	synctest.Test(t, func(t *testing.T) {
		d := newClockDesk()
		d.feed.add(operators("s", 3)...)
		p := bubble(t, d.options(t))
		// An empty header does not hide the id in the address.
		open := p.follow(t, "?lastEventId="+d.feed.all()[0].Seq.String(), "Last-Event-ID", "")
		open.want(t, ": open")
		same(t, idsOf(d.feed.all()[1:]), open.ids(t, 2))
	})
}

// A client that sends all of a body that is too large, and only then reads, gets the answer.
func TestTooLargeIsAnswered(t *testing.T) {
	d := newDesk()
	base := serve(t, d.options(t))
	for _, chunked := range []bool{false, true} {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		const size = 16 << 20
		length := "Content-Length: 16777216"
		if chunked {
			length = "Transfer-Encoding: chunked"
		}
		head := "POST /api/events HTTP/1.1\r\nHost: localhost\r\n" + length + "\r\n\r\n"
		if chunked {
			head += "1000000\r\n"
		}
		if _, err := io.WriteString(conn, head); err != nil {
			t.Fatal(err)
		}
		piece := bytes.Repeat([]byte("x"), 1<<20)
		for range size / len(piece) {
			if _, err := conn.Write(piece); err != nil {
				t.Fatalf("chunked %v: the connection was cut while the body was sent: %v", chunked, err)
			}
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("chunked %v: no answer: %v", chunked, err)
		}
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("chunked %v: %d", chunked, resp.StatusCode)
		}
		_ = resp.Body.Close()
		_ = conn.Close()
	}
}

// Who sends on for ever is not listened to for ever, and who sends half a body is told that the rest did not come.
func TestSlowBodiesAreAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := bubble(t, newDesk().options(t))
		conn := p.dial()
		start := time.Now()
		if _, err := io.WriteString(conn, "POST /api/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("after %s: %v", time.Since(start), err)
		}
		if resp.StatusCode != http.StatusRequestTimeout || time.Since(start) < readTimeout {
			t.Errorf("%d after %s", resp.StatusCode, time.Since(start))
		}
		_ = resp.Body.Close()
		_ = conn.Close()
	})
	synctest.Test(t, func(t *testing.T) {
		p := bubble(t, newDesk().options(t))
		conn := p.dial()
		start := time.Now()
		if _, err := io.WriteString(conn, "POST /api/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 16777216\r\n\r\n{"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Fatalf("%v %v", resp, err)
		}
		_ = resp.Body.Close()
		if _, err := conn.Read(make([]byte, 1)); err == nil || time.Since(start) > lingerFor+2*time.Second {
			t.Errorf("the connection is open after %s: %v", time.Since(start), err)
		}
		_ = conn.Close()
	})
}
