package api

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestManyStreams: a thousand readers each get everything, in order, and cost little.
func TestManyStreams(t *testing.T) {
	const (
		streams  = 1000
		events   = 50
		perEach  = 100 << 10 // bytes of memory; well above what it takes, with the race detector too
		patience = time.Minute
	)
	d := newClockDesk()
	o := d.options(t)
	o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil)) // without a line for each
	closing := make(chan struct{})
	o.Closing = closing
	ts := httptest.NewUnstartedServer(nil)
	ts.Config = Server(New(o), o.Logger, nil)
	ts.Start()
	t.Cleanup(ts.Close)

	memory := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	before := memory()
	conns := make([]net.Conn, streams)
	for i := range conns {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", ts.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "GET /api/events/stream HTTP/1.1\r\nHost: b\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		conns[i] = conn
	}
	// What is read up to here, and not a byte more, so that the readers cost nothing yet.
	one, opening := make([]byte, 1), make([]byte, 0, 1024)
	for _, conn := range conns {
		for opening = opening[:0]; !strings.HasSuffix(string(opening), ": open\n\n\r\n"); opening = append(opening, one[0]) {
			if _, err := conn.Read(one); err != nil {
				t.Fatalf("%q: %v", opening, err)
			}
		}
	}
	each := (memory() - before) / streams
	t.Logf("%d streams: %d bytes of memory each, both ends of the connection and %d goroutines in all", streams, each, runtime.NumGoroutine())
	if each > perEach {
		t.Errorf("a stream takes %d bytes of memory", each)
	}

	got := make([][]string, streams)
	var readers, told sync.WaitGroup
	told.Add(streams)
	for i, conn := range conns {
		readers.Go(func() {
			// The chunk that was begun ends the opening; from here on the chunks are read as the body of another answer.
			head := strings.NewReader("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReaderSize(io.MultiReader(head, conn), 512), nil)
			if err != nil {
				t.Error(err)
				told.Done()
				return
			}
			defer func() { _ = resp.Body.Close() }()
			scan := bufio.NewScanner(resp.Body)
			for scan.Scan() {
				if id, ok := strings.CutPrefix(scan.Text(), "id: "); ok {
					got[i] = append(got[i], id)
				}
				if strings.HasPrefix(scan.Text(), "data: ") && len(got[i]) == events {
					told.Done()
				}
			}
			// The last write has a second, which a busy machine may not have for a thousand of them.
			if err := scan.Err(); err != nil && (len(got[i]) < events || !errors.Is(err, io.ErrUnexpectedEOF)) {
				t.Errorf("it ended with %v", err)
			}
			if len(got[i]) < events {
				told.Done()
			}
		})
	}
	start := time.Now()
	for n := range events {
		d.feed.add(operator("s", n, 100))
	}
	told.Wait()
	t.Logf("%d events at all of them in %s", events, time.Since(start))
	start = time.Now()
	close(closing)
	readers.Wait()
	t.Logf("all ended in %s", time.Since(start))
	want := idsOf(d.feed.all())
	for i := range got {
		if diff := cmp.Diff(want, got[i]); diff != "" {
			t.Fatalf("stream %d: -want +got\n%s", i, diff)
		}
	}
}
