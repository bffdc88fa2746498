package site_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	"github.com/pocketping/bridge/internal/callback"
	"github.com/pocketping/bridge/internal/files"
	"github.com/pocketping/bridge/internal/presence"
	"github.com/pocketping/bridge/internal/relay"
	"github.com/pocketping/bridge/internal/site"
	"github.com/pocketping/bridge/internal/site/sitetest"
	"github.com/pocketping/bridge/internal/store"
	"github.com/pocketping/bridge/internal/store/bolt"
)

// hung ends a test in which nothing happens any more.
const hung = 3 * time.Minute

const origin = "https://shop.example.com"

// rig is a door with a relay behind it, one platform in memory, and the embedded store.
type rig struct {
	t        *testing.T
	store    store.Store
	relay    *relay.Relay
	people   *presence.Presence
	platform *bridgetest.Platform
	door     *site.Door
	said     *lines
	stop     func()
	closing  chan struct{}
	options  site.Options // the door's
	dir      string       // of visitors' files
	url      string       // of the server, where there is one
	updates  int
}

// lines is what is logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
	t    *testing.T
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// newRig opens a door. adjust changes its options.
func newRig(t *testing.T, adjust ...func(*site.Options)) *rig {
	t.Helper()
	st, err := bolt.Open(filepath.Join(t.TempDir(), "bridge.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := onStore(t, st, adjust...)
	stop := r.stop
	r.stop = sync.OnceFunc(func() {
		stop()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

func onStore(t *testing.T, st store.Store, adjust ...func(*site.Options)) *rig {
	t.Helper()
	r := &rig{t: t, store: st, said: &lines{t: t}, platform: bridgetest.NewPlatform("telegram"), closing: make(chan struct{})}
	r.platform.Bears.MaxFile = 1 << 20
	log := slog.New(slog.NewTextHandler(r.said, nil))
	r.dir = t.TempDir()
	uploads := site.NewUploads(site.UploadOptions{Store: st, Dir: r.dir, Most: 1 << 20, PerDay: 4 << 20, Log: log})
	depot := files.NewDepot(files.DepotOptions{Dir: t.TempDir(), Log: log})
	r.people = presence.New(st, presence.Options{OnReply: true, Log: log})
	r.relay = relay.New(relay.Options{
		Store: st, Presence: r.people, Receivers: callback.New(callback.Options{Store: st, Log: log}), Platforms: []bridge.Platform{r.platform},
		OpenThread: relay.OpenOnMessage, Transcripts: true, Log: log, Files: opened{uploads}, Depot: depot,
	})
	if err := r.relay.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.people.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	o := site.Options{
		Ingester: r.relay, Feed: r.relay.Feed(), Ephemeral: r.relay.Ephemeral, Transcripts: r.relay, Store: st, Presence: r.people,
		Uploads: uploads, Waiting: r.relay.AnswerWaiting, Origins: []string{origin}, Path: "/pocketping", Log: log, Closing: r.closing,
		Address: func(req *http.Request) string { return req.Header.Get("X-Forwarded-For") },
	}
	for _, adjust := range adjust {
		adjust(&o)
	}
	r.options = o
	var err error
	if r.door, err = site.New(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	var work sync.WaitGroup
	for _, run := range []func(context.Context){r.relay.Run, r.people.Run, r.door.Run} {
		work.Go(func() { run(ctx) })
	}
	r.stop = sync.OnceFunc(func() {
		close(r.closing)
		end()
		work.Wait()
		r.door.Wait()
		depot.Close()
	})
	t.Cleanup(r.stop)
	return r
}

// opened is the relay's way to visitors' files.
type opened struct{ uploads *site.Uploads }

func (o opened) Fetch(ctx context.Context, a bridge.Attachment, _ int64) (bridge.File, io.Closer, error) {
	file, closer, ok, err := o.uploads.Open(ctx, a)
	if err == nil && !ok {
		err = errors.New("it is no file of a page")
	}
	return file, closer, err
}

func (opened) Link(platform string, a bridge.Attachment) string {
	return "https://chat.example.com/files/" + platform + "/" + a.BridgeFileID
}

// serve serves pages on the loopback.
func (r *rig) serve() *rig {
	srv := httptest.NewServer(r.door)
	r.url = srv.URL + "/pocketping"
	r.t.Cleanup(srv.Close)
	r.t.Cleanup(r.stop) // before the server, which waits for streams
	return r
}

// page loads a page, and closes it with the test.
func (r *rig) page(o sitetest.Options, s *sitetest.Storage) *sitetest.Widget {
	r.t.Helper()
	w := r.pageOf(o, s)
	if err := w.Load(nil); err != nil {
		r.t.Fatal(err)
	}
	return w
}

func (r *rig) pageOf(o sitetest.Options, s *sitetest.Storage) *sitetest.Widget {
	o.Endpoint = r.url
	if o.Origin == "" {
		o.Origin = origin
	}
	if o.Pace == 0 {
		o.Pace = 20
	}
	o.Log = r.t.Logf
	if s == nil {
		s = &sitetest.Storage{}
	}
	w := sitetest.New(o, s)
	r.t.Cleanup(w.Stop)
	return w
}

// shows waits until a page shows what is wanted.
func (r *rig) shows(w *sitetest.Widget, what string, shows func(sitetest.State) bool) {
	r.t.Helper()
	if !w.Until(hung, shows) {
		r.t.Fatalf("the page does not show %s; it shows %+v", what, w.State())
	}
}

// until waits for what is no page's.
func (r *rig) until(what string, is func() bool) {
	r.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(hung)
	for !is() {
		select {
		case <-tick.C:
		case <-end:
			r.t.Fatalf("not %s in time", what)
		}
	}
}

// thread is the session's thread on the platform, once it is there.
func (r *rig) thread(session string) bridge.ThreadID {
	r.t.Helper()
	r.until("a thread", func() bool { return len(r.platform.Threads(session)) > 0 })
	return r.platform.Threads(session)[0]
}

// operator does something on the platform, as an operator.
func (r *rig) operator(session string, u bridge.Update) {
	r.t.Helper()
	r.updates++
	u.ID, u.Thread, u.Author = fmt.Sprint("u", r.updates), r.thread(session), bridge.Author{ID: "7", Name: "Ana"}
	in, _ := r.relay.Inbox("telegram")
	if err := in.Accept(r.t.Context(), u); err != nil {
		r.t.Fatal(err)
	}
}

// answers has an operator write.
func (r *rig) answers(session, id, text string) {
	r.t.Helper()
	r.operator(session, bridge.Update{Kind: bridge.UpdateMessage, Message: bridge.MessageID(id), Text: text})
}

// log returns the events of a type.
func (r *rig) log(of bridge.Type) (out []bridge.Entry) {
	r.t.Helper()
	entries, err := r.store.Read(context.Background(), 0, 100_000, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range entries {
		if e.Event.Type == of {
			out = append(out, e)
		}
	}
	return out
}

// ask makes one request without a server, as a page of the origin.
func (r *rig) ask(method, path, body string, header ...string) *httptest.ResponseRecorder {
	r.t.Helper()
	req := httptest.NewRequest(method, "/pocketping"+path, strings.NewReader(body))
	req.Header.Set("Origin", origin)
	for i := 0; i < len(header); i += 2 {
		if req.Header.Del(header[i]); header[i+1] != "" {
			req.Header.Set(header[i], header[i+1])
		}
	}
	w := httptest.NewRecorder()
	r.door.ServeHTTP(w, req)
	return w
}

// asked is ask for an answer of 200.
func (r *rig) asked(method, path, body string, header ...string) map[string]any {
	r.t.Helper()
	got := r.ask(method, path, body, header...)
	var v map[string]any
	if err := json.Unmarshal(got.Body.Bytes(), &v); err != nil || got.Code != http.StatusOK {
		r.t.Fatalf("%s %s: %d %s", method, path, got.Code, got.Body)
	}
	return v
}

// connected returns a new session's id.
func (r *rig) connected(more string, header ...string) string {
	r.t.Helper()
	id, _ := r.asked("POST", "/connect", `{"visitorId":"v1","sessionId":null,"metadata":{"url":"https://shop.example.com/"}`+more+`}`, header...)["sessionId"].(string)
	return id
}
