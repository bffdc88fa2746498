package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pocketping/bridge/internal/export"
	"github.com/pocketping/bridge/internal/sandbox/soak"
)

// webApp is an app server that refuses one session's events for good and another's for a while, and counts what it takes.
type webApp struct {
	*app
	down atomic.Bool
	good atomic.Bool
}

func newWebApp(t *testing.T) (*webApp, string) {
	w := &webApp{app: newApp(t)}
	w.down.Store(true)
	srv := httptest.NewServer(w)
	t.Cleanup(srv.Close)
	return w, srv.URL
}

func (w *webApp) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	switch {
	case err != nil:
		rw.WriteHeader(http.StatusBadRequest)
	case strings.Contains(string(body), `"dead"`) && !w.good.Load():
		rw.WriteHeader(http.StatusUnprocessableEntity)
	case strings.Contains(string(body), `"waits"`) && w.down.Load():
		rw.WriteHeader(http.StatusServiceUnavailable)
	default:
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		w.app.ServeHTTP(rw, r)
	}
}

// bound posts a visitor's message of a session that is an app server's.
func (r *rig) bound(session, id, callback string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.process().base+"/api/messages", strings.NewReader(message(session, id, "hello")))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("X-PocketPing-Callback", callback)
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		r.t.Fatalf("%d", resp.StatusCode)
	}
}

// eachSession does something for many sessions, some at a time.
func eachSession(many int, do func(session string)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < many; i = int(next.Add(1)) - 1 {
				do(fmt.Sprintf("seed-%05d", i))
			}
		})
	}
	all.Wait()
}

// ran runs one command of the program beside the bridges, and fails the test if it does.
func (r *rig) ran(args ...string) {
	r.t.Helper()
	p := r.launch(args...)
	<-p.Ended
	if code := p.Cmd.ProcessState.ExitCode(); code != 0 {
		r.t.Fatalf("bridge %s ends with %d:\n%s", strings.Join(args, " "), code, p.Output())
	}
}

// copied makes a copy of a bridge that works, and looks that it is whole and that the bridge goes on.
func (r *rig) copied(p *proc) {
	r.t.Helper()
	name := filepath.Join(r.t.TempDir(), "copy.ndjson")
	r.ran("export", "-to", name, "-url", p.base)
	file, err := os.Open(name)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	read, err := export.NewReader(file)
	for err == nil {
		_, err = read.Next()
	}
	if !errors.Is(err, io.EOF) || read.Lines() < 1000 {
		r.t.Errorf("a copy has %d lines, and %v", read.Lines(), err)
	}
	r.must("/api/messages", message("seed-00001", "m1", "first"))
}

// comeAgain has the sessions send what they sent, and something new; each is shown once, in the thread that there was. It returns the
// sessions.
func (r *rig) comeAgain(many int) (sessions []string) {
	r.t.Helper()
	var mu sync.Mutex
	eachSession(many, func(session string) {
		if again := r.must("/api/messages", message(session, "m1", "first")); !again.Duplicate {
			r.t.Errorf("%s is taken for new: %+v", session, again)
		}
		r.must("/api/messages", message(session, "m2", "second"))
		mu.Lock()
		defer mu.Unlock()
		sessions = append(sessions, session)
	})
	missing := map[string]bool{}
	for _, session := range sessions {
		missing[session] = true
	}
	look := func() (topics map[string][]string) {
		topics = map[string][]string{}
		for _, topic := range r.telegram.Topics(r.chat) {
			if missing[topic.Name] {
				topics[topic.Name] = append(topics[topic.Name], strings.Join(r.shown(topic.ID), " "))
			}
		}
		return topics
	}
	r.eventually(func() bool {
		for session, shown := range look() {
			if slices.Equal(shown, []string{"first second"}) {
				delete(missing, session)
			}
		}
		return len(missing) == 0
	})
	if len(missing) > 0 {
		r.t.Errorf("%d sessions are not shown as they have to be: %q", len(missing), look())
	}
	return sessions
}

// toldOnce looks that streams, the last of them open still, told everything that the callback was told since the first began, in order and
// once.
func (r *rig) toldOnce(told []string, last *listener) {
	r.t.Helper()
	var want []string
	for _, kind := range []string{"operator_message", "message_delivered"} {
		for _, e := range r.app.of(kind) {
			if e.ID >= told[0] {
				want = append(want, e.ID)
			}
		}
	}
	slices.Sort(want)
	r.until("told: the last", func() bool { return slices.Contains(last.ids(), want[len(want)-1]) })
	told = append(told, last.ids()...)
	for i := 1; i < len(told); i++ {
		if told[i] <= told[i-1] {
			r.t.Errorf("%s is told after %s", told[i], told[i-1])
		}
	}
	for _, id := range want {
		if _, ok := slices.BinarySearch(told, id); !ok {
			r.t.Errorf("%s is told to the callback and by no stream", id)
		}
	}
}

// TestMovedToAnotherStore moves a bridge that works from its file to Redis and back, while visitors and operators write: what waits is
// delivered there, what was done is not done again, and whoever comes again is known.
func TestMovedToAnotherStore(t *testing.T) {
	many := 500
	if soak.Asked() {
		many = 10_000
	} else {
		t.Parallel()
	}
	r := newRig(t)
	web, webURL := newWebApp(t)
	for name, value := range map[string]string{
		"PRESENCE_ON_REPLY": "false", "TRANSCRIPTS": "on", "UNANSWERED_AFTER": "24h", "DATA_DIR": t.TempDir(), "SECRETS_KEY": "a key of 32 characters, as it has to be",
	} {
		r.env[name] = value
	}
	r.start()
	r.answer(http.MethodPut, "/api/callbacks/web", fmt.Sprintf(`{"url":%q,"events":["session_closed","csat_request"]}`, webURL), http.StatusCreated, nil)
	r.telegram.Say(r.chat, 0, r.ana.ID, "/online")
	r.telegram.Say(r.chat, 0, r.ana.ID, "/canned add hi Hello there")
	eachSession(many, func(session string) { r.must("/api/messages", message(session, "m1", "first")) })
	r.until("shown: every session", func() bool { return len(r.telegram.Topics(r.chat)) >= many })
	for _, session := range []string{"dead", "waits"} {
		r.bound(session, "m1", "web")
		r.until("shown: "+session, func() bool { return len(r.topics(session)) == 1 })
	}
	r.telegram.Say(r.chat, r.topics("dead")[0].ID, r.ana.ID, "/csat")
	r.telegram.Say(r.chat, r.topics("waits")[0].ID, r.ana.ID, "/close")
	var dead, waiting listed
	left := func() bool {
		r.answer(http.MethodGet, "/api/deliveries?state=failed", "", http.StatusOK, &dead)
		r.answer(http.MethodGet, "/api/deliveries?state=waiting&lane=callbacks", "", http.StatusOK, &waiting)
		return slices.ContainsFunc(waiting.Deliveries, func(d struct{ ID, State, Lane, Target, EventID, Type, SessionID, MessageID, Reason, Detail string }) bool {
			return d.SessionID == "waits"
		}) && len(dead.Deliveries) == 1
	}
	r.until("one given up and one waiting", left)

	tr := newTraffic(r)
	var told []string // by streams, one after the other
	stream := r.listenTo(r.process(), "")
	moves := []map[string]string{{}, {"DATA_DIR": t.TempDir(), "REDIS_URL": ""}}
	stores()["redis"](t, moves[0])
	for i, settings := range moves {
		old := r.process()
		tr.allow(150)
		r.until("at work", func() bool { return len(tr.budget) < 50 && len(stream.ids()) > 20 })
		name := filepath.Join(t.TempDir(), "moved.ndjson")
		args := []string{"export", "-final", "-to", name}
		if i == 0 { // the file is the bridge's own
			args = append(args, "-url", old.base)
			r.copied(old)
		}
		r.ran(args...)
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", info, err)
		}
		code, said := r.ask(http.MethodPost, "/api/messages", "", message("late", "m1", "late"))
		if code != http.StatusServiceUnavailable || !strings.Contains(said, "Retry-After: ") {
			t.Errorf("after the cut: %s", said)
		}
		maps.Copy(r.env, settings)
		r.ran("import", "-from", name)
		if p := r.launch("import", "-from", name); p.Cmd.ProcessState.ExitCode() != 1 || !strings.Contains(p.Output(), "is not empty") {
			t.Errorf("a second import ends with %d and says %s", p.Cmd.ProcessState.ExitCode(), p.Output())
		}
		r.start()
		old.Exit()
		<-stream.ended
		told = append(told, stream.ids()...)
		stream = r.listenAfter(r.process(), "", told[len(told)-1])
		tr.allow(100)
	}
	tr.endBeside(0, append(r.comeAgain(many), "dead", "waits")...)
	r.toldOnce(told, stream)

	if !left() {
		t.Errorf("left: %+v %+v", dead, waiting)
	}
	web.down.Store(false)
	web.good.Store(true)
	r.process().Kill() // what waited long is tried again by the next one at once
	r.start()
	r.answer(http.MethodPost, "/api/deliveries/retry?lane=callbacks", "", http.StatusAccepted, nil)
	r.until("taken: what was given up and what waited", func() bool { return len(web.of("csat_request")) == 1 && len(web.of("session_closed")) == 1 })
	if code, said := r.ask(http.MethodGet, "/api/callbacks/web", "", ""); code != http.StatusOK {
		t.Errorf("the registration: %s", said)
	}
	if code, said := r.ask(http.MethodGet, "/api/presence", "", ""); code != http.StatusOK || !strings.Contains(said, `"status":"online"`) {
		t.Errorf("presence: %s", said)
	}
	if code, said := r.ask(http.MethodGet, "/api/sessions/seed-00003/messages", "", ""); code != http.StatusOK || !strings.Contains(said, "first") || !strings.Contains(said, "second") {
		t.Errorf("a transcript: %s", said)
	}
	r.telegram.Say(r.chat, r.topics("seed-00003")[0].ID, r.ana.ID, "!hi")
	r.until("sent: the canned reply", func() bool {
		return slices.ContainsFunc(r.app.of("operator_message"), func(e received) bool { return e.Content == "Hello there" })
	})
	soak.Row(t, "%d sessions, and %d messages meanwhile", many, tr.sent())
}
