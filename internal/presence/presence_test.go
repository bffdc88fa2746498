package presence

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/store/bolt"
)

// memory keeps rows, claims and the log, as atomically as a store does.
type memory struct {
	mu     sync.Mutex
	rows   map[string]map[string][]byte
	claims map[string]bridge.Seq
	log    []bridge.Entry
	writes int
	fault  error
	before func() // called before a commit
	asked  func() // called before the clock is read
}

func newMemory() *memory {
	return &memory{rows: map[string]map[string][]byte{}, claims: map[string]bridge.Seq{}}
}

func (m *memory) List(_ context.Context, table, _ string, _ int) ([]bridge.Row, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []bridge.Row
	for key, value := range m.rows[table] {
		out = append(out, bridge.Row{Table: table, Key: key, Value: value})
	}
	slices.SortFunc(out, func(a, b bridge.Row) int { return strings.Compare(a.Key, b.Key) })
	return out, m.fault
}

func (m *memory) Get(_ context.Context, table, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rows[table][key], m.fault
}

func (m *memory) Now(context.Context) (time.Time, error) {
	if m.asked != nil {
		m.asked()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Now(), m.fault
}

func (m *memory) Commit(_ context.Context, b bridge.Batch) (bridge.Result, error) {
	if m.before != nil {
		m.before()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fault != nil {
		return bridge.Result{}, m.fault
	}
	if b.Lease.Token == "lost" {
		return bridge.Result{}, bridge.ErrLeaseLost
	}
	for _, c := range b.Claims {
		if first, held := m.claims[c.Key]; held && !c.Soft {
			return bridge.Result{Duplicate: true, First: first}, nil
		}
	}
	for _, row := range b.If {
		if now, ok := m.rows[row.Table][row.Key]; ok != (row.Value != nil) || !bytes.Equal(now, row.Value) {
			return bridge.Result{}, bridge.ErrChanged
		}
	}
	m.writes++
	var res bridge.Result
	for _, e := range b.Events {
		seq := bridge.Seq(len(m.log) + 1)
		m.log = append(m.log, bridge.Entry{Seq: seq, Event: e})
		res.Seqs = append(res.Seqs, seq)
	}
	for _, c := range b.Claims {
		m.claims[c.Key] = bridge.Seq(len(m.log))
	}
	for _, row := range b.Rows {
		if m.rows[row.Table] == nil {
			m.rows[row.Table] = map[string][]byte{}
		}
		if m.rows[row.Table][row.Key] = row.Value; row.Value == nil {
			delete(m.rows[row.Table], row.Key)
		}
	}
	return res, nil
}

func account(name string) bridge.Account {
	return bridge.Account{Platform: "telegram", ID: name, Name: name}
}

func on(platform, name string) bridge.Account {
	return bridge.Account{Platform: platform, ID: name, Name: name}
}

// with is a write of a batch that asks nobody.
func with(b bridge.Batch) bridge.PresenceWrite {
	return bridge.PresenceWrite{Also: func(bridge.PresenceChange) bridge.Batch { return b }}
}

func status(t *testing.T, e bridge.Entry) bridge.OperatorStatus {
	t.Helper()
	var body bridge.OperatorStatus
	if err := json.Unmarshal(e.Event.Body, &body); err != nil {
		t.Fatal(err)
	}
	return body
}

// entries returns the log.
func (m *memory) entries(*testing.T) []bridge.Entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.log)
}

func (m *memory) restart(*testing.T) {}

// kept is the embedded store, with what a test wants of a store besides.
type kept struct {
	*bolt.Store
	path string
}

func newKept(t *testing.T) *kept {
	t.Helper()
	k := &kept{path: filepath.Join(t.TempDir(), "bridge.db")}
	k.open(t)
	return k
}

func (k *kept) open(t *testing.T) {
	t.Helper()
	s, err := bolt.Open(k.path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	k.Store = s
}

func (k *kept) restart(t *testing.T) {
	t.Helper()
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	k.open(t)
}

func (k *kept) entries(t *testing.T) []bridge.Entry {
	t.Helper()
	all, err := k.Read(t.Context(), 0, 10_000, 0)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// said is the last event, in a line: online or not, and every operator's status, reason and end, with the times of a zone.
func said(t *testing.T, log []bridge.Entry, zone *time.Location) string {
	t.Helper()
	for _, e := range slices.Backward(log) {
		if e.Event.Type == bridge.TypeOperatorStatus {
			body := status(t, e)
			for i := range body.Operators {
				op := &body.Operators[i]
				op.Since = op.Since.In(zone)
				if !op.Until.IsZero() {
					op.Until = op.Until.In(zone)
				}
			}
			return told(body)
		}
	}
	return "nothing"
}

func (m *memory) said(t *testing.T) string {
	t.Helper()
	return said(t, m.entries(t), time.UTC)
}

// changes counts the events that tell of the team.
func changes(log []bridge.Entry) int {
	n := 0
	for _, e := range log {
		if e.Event.Type == bridge.TypeOperatorStatus {
			n++
		}
	}
	return n
}

func told(body bridge.OperatorStatus) string {
	text := map[bool]string{true: "online", false: "away"}[body.Online]
	for _, op := range body.Operators {
		text += fmt.Sprintf(", %s %s %s since %s", op.Name, op.Status, op.Reason, op.Since.Format("02 15:04"))
		if !op.Until.IsZero() {
			text += " until " + op.Until.Format("02 15:04")
		}
	}
	return text
}

func TestSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemory()
		p := New(s, Options{})
		if err := p.Load(t.Context()); err != nil || p.Online() || len(s.log) != 0 {
			t.Fatalf("online: %v, %v, %d events", p.Online(), err, len(s.log))
		}
		start := time.Now().UTC()
		answer := bridge.Event{Type: bridge.TypeAnswer, Origin: bridge.OriginBridge, Body: json.RawMessage(`{}`)}
		also := bridge.Batch{
			Claims: []bridge.Claim{{Key: "update/1"}},
			Events: []bridge.Event{answer},
			Rows:   []bridge.Row{{Table: "cursors", Key: "telegram", Value: []byte("1")}},
			Lease:  bridge.Lease{Name: "telegram", Token: "held"},
		}
		var change bridge.PresenceChange
		res, err := p.Set(t.Context(), account("Ana"), bridge.StatusOnline, time.Time{}, bridge.PresenceWrite{
			Also: func(c bridge.PresenceChange) bridge.Batch { change = c; return also },
		})
		if err != nil || !change.Changed || change.Person.Called != "Ana" || len(res.Seqs) != 2 {
			t.Fatalf("%+v, %+v, %v", change, res, err)
		}
		if s.writes != 1 || s.log[0].Event.Type != bridge.TypeAnswer || s.log[1].Event.Type != bridge.TypeOperatorStatus ||
			string(s.rows["cursors"]["telegram"]) != "1" {
			t.Errorf("%d writes, log %+v", s.writes, s.log)
		}
		want := bridge.OperatorStatus{Online: true, Operators: []bridge.Operator{{
			ID: "telegram:Ana", Name: "Ana", Platform: "telegram", Status: bridge.StatusOnline, Since: start, Reason: "command",
		}}}
		if diff := cmp.Diff(want, status(t, s.log[1])); diff != "" || s.log[1].Event.Origin != bridge.OriginBridge {
			t.Error(diff)
		}
		if ops, _ := p.Operators(t.Context()); !p.Online() || !cmp.Equal(ops, want.Operators) {
			t.Errorf("online: %v, %+v", p.Online(), ops)
		}

		// The same update again.
		res, err = p.Set(t.Context(), account("Ana"), bridge.StatusOffline, time.Time{}, with(also))
		if err != nil || !res.Duplicate || res.First != 2 || !p.Online() || s.writes != 1 {
			t.Errorf("%+v, %v", res, err)
		}

		// The same status again: what goes with it is written, and nobody is told.
		time.Sleep(time.Minute)
		also.Claims[0].Key = "update/2"
		res, err = p.Set(t.Context(), account("Ana"), bridge.StatusOnline, time.Time{}, with(also))
		if err != nil || len(res.Seqs) != 1 || len(s.log) != 3 || s.said(t) != "online, Ana online command since 01 00:00" {
			t.Errorf("%+v, %v, %s", res, err, s.said(t))
		}

		// Another end of the same status is told, and is no new beginning; and so is another name.
		for i, c := range []struct {
			who   bridge.Account
			to    bridge.Status
			until time.Duration
			want  string
		}{
			{account("Ben"), bridge.StatusAway, time.Hour, "online, Ana online command since 01 00:00, Ben away command since 01 00:01 until 01 01:01"},
			{account("Ben"), bridge.StatusAway, time.Hour, "online, Ana online command since 01 00:00, Ben away command since 01 00:01 until 01 01:01"},
			{account("Ben"), bridge.StatusAway, 3 * time.Hour, "online, Ana online command since 01 00:00, Ben away command since 01 00:01 until 01 03:01"},
			{account("Ben"), bridge.StatusOnline, 0, "online, Ana online command since 01 00:00, Ben online command since 01 00:01"},
			{account("Ana"), bridge.StatusAway, 0, "online, Ana away command since 01 00:01, Ben online command since 01 00:01"},
			{account("Ben"), bridge.StatusOffline, 0, "away, Ana away command since 01 00:01, Ben offline command since 01 00:01"},
			{bridge.Account{Platform: "telegram", ID: "Ana", Name: "Ana B."}, bridge.StatusOnline, 0,
				"online, Ana B. online command since 01 00:01, Ben offline command since 01 00:01"},
		} {
			until := time.Time{}
			if c.until > 0 {
				until = time.Now().Add(c.until + time.Nanosecond)
			}
			events := changes(s.entries(t))
			before := s.said(t)
			if _, err := p.Set(t.Context(), c.who, c.to, until, bridge.PresenceWrite{}); err != nil {
				t.Fatal(err)
			}
			if got := s.said(t); got != c.want {
				t.Errorf("%d: got %s, want %s", i, got, c.want)
			}
			if n := changes(s.entries(t)) - events; before == c.want && n != 0 || before != c.want && n != 1 {
				t.Errorf("%d: %d events", i, n)
			}
			if p.Online() != strings.HasPrefix(c.want, "online") {
				t.Errorf("%d: online is %v", i, p.Online())
			}
		}
	})
}

func TestSetFails(t *testing.T) {
	s := newMemory()
	p := New(s, Options{})
	set := func(ctx context.Context, to bridge.Status, b bridge.Batch) error {
		_, err := p.Set(ctx, account("Ana"), to, time.Time{}, with(b))
		return err
	}
	for name, c := range map[string]struct {
		also bridge.Batch
		want error
	}{
		"the caller's condition": {bridge.Batch{If: []bridge.Row{{Table: "cursors", Key: "telegram", Value: []byte("7")}}}, bridge.ErrChanged},
		"lease":                  {bridge.Batch{Lease: bridge.Lease{Name: "telegram", Token: "lost"}}, bridge.ErrLeaseLost},
	} {
		if err := set(t.Context(), bridge.StatusOnline, c.also); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, to := range []bridge.Status{"busy", ""} {
		if err := set(t.Context(), to, bridge.Batch{}); err == nil {
			t.Errorf("%q is taken", to)
		}
	}
	s.fault = bridge.ErrUnavailable
	if err := set(t.Context(), bridge.StatusOnline, bridge.Batch{}); !errors.Is(err, bridge.ErrUnavailable) {
		t.Error(err)
	}
	if err := p.Load(t.Context()); !errors.Is(err, bridge.ErrUnavailable) {
		t.Error(err)
	}
	if _, err := p.Summary(t.Context()); !errors.Is(err, bridge.ErrUnavailable) {
		t.Error(err)
	}
	if p.Online() || len(s.log) != 0 {
		t.Error("something was written")
	}
	p.changing <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := set(ctx, bridge.StatusOnline, bridge.Batch{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Another bridge that is faster makes the change be worked out again, from what is there then.
func TestOvertaken(t *testing.T) {
	s := newMemory()
	one, two := New(s, Options{}), New(s, Options{})
	s.before = func() {
		s.before = nil
		if _, err := two.Set(t.Context(), account("Ben"), bridge.StatusOnline, time.Time{}, bridge.PresenceWrite{}); err != nil {
			t.Error(err)
		}
	}
	if _, err := one.Set(t.Context(), account("Ana"), bridge.StatusAway, time.Time{}, bridge.PresenceWrite{}); err != nil {
		t.Fatal(err)
	}
	if len(s.log) != 2 || len(status(t, s.log[1]).Operators) != 2 || !status(t, s.log[1]).Online {
		t.Errorf("%d events, %s", len(s.log), s.said(t))
	}
}

// A sign of life and a time-out that meet: whichever is first, nobody is away who has just shown themselves.
func TestSeenWhileTimingOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemory()
		one, two := New(s, Options{Timeout: time.Hour, OnReply: true}), New(s, Options{Timeout: time.Hour, OnReply: true})
		if _, err := one.Set(t.Context(), account("Ana"), bridge.StatusOnline, time.Time{}, bridge.PresenceWrite{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour - time.Millisecond)
		s.asked = func() { // after the rows were read, and before the time at which they are judged
			s.asked = nil
			if _, err := two.Seen(t.Context(), account("Ana"), false, bridge.PresenceWrite{}); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Millisecond)
		}
		if _, err := one.Seen(t.Context(), account("Ben"), true, bridge.PresenceWrite{}); err != nil {
			t.Fatal(err)
		}
		if got := s.said(t); got != "online, Ana online command since 01 00:00, Ben online reply since 01 01:00" {
			t.Error(got)
		}
	})
}

// Two bridges over one store: every event differs from the one before in exactly one operator, none is told twice, and the
// last one says what the rows say.
func TestTwoBridges(t *testing.T) {
	s := newMemory()
	bridges := []*Presence{New(s, Options{}), New(s, Options{})}
	statuses := []bridge.Status{bridge.StatusOnline, bridge.StatusAway, bridge.StatusOffline}
	told := make(chan bool, 1000)
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			for j := range 20 {
				changed := false
				_, err := bridges[i%2].Set(t.Context(), account(fmt.Sprint("op", i%4)), statuses[(i+j)%3], time.Time{}, bridge.PresenceWrite{
					Also: func(c bridge.PresenceChange) bridge.Batch {
						changed = c.Changed
						return bridge.Batch{Claims: []bridge.Claim{{Key: fmt.Sprintf("update/%d/%d", i, j)}}}
					},
				})
				if err != nil {
					t.Error(err)
				}
				told <- changed
			}
		})
	}
	wg.Wait()
	close(told)
	changes := 0
	for changed := range told {
		if changed {
			changes++
		}
	}
	if len(s.log) != changes || len(s.claims) != 240 {
		t.Errorf("%d events of %d changes, %d claims", len(s.log), changes, len(s.claims))
	}
	before := map[string]bridge.Status{}
	for _, e := range s.log {
		body := status(t, e)
		different, online := 0, false
		for _, op := range body.Operators {
			if before[op.ID] != op.Status {
				different++
			}
			before[op.ID] = op.Status
			online = online || op.Status == bridge.StatusOnline
		}
		if different != 1 || body.Online != online {
			t.Fatalf("%s: %d operators are different, online %v: %+v", e.Seq, different, body.Online, body)
		}
	}
	last := status(t, s.log[len(s.log)-1])
	fresh := New(s, Options{})
	if err := fresh.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, p := range append(bridges, fresh) {
		for _, e := range s.log {
			p.Observe(e)
		}
		ops, _ := p.Operators(t.Context())
		if diff := cmp.Diff(last.Operators, ops); diff != "" || p.Online() != last.Online {
			t.Error(diff)
		}
	}
	var row teamRow
	if err := json.Unmarshal(s.rows[table][teamKey], &row); err != nil || row.Version != uint64(len(s.log)) || row.Online != last.Online {
		t.Errorf("%+v, %v, for %d events", row, err, len(s.log))
	}
}

func TestObserve(t *testing.T) {
	p := New(newMemory(), Options{})
	event := func(seq bridge.Seq, origin, callback, body string) bridge.Entry {
		return bridge.Entry{Seq: seq, Event: bridge.Event{
			Type: bridge.TypeOperatorStatus, Origin: origin, Callback: callback, Body: json.RawMessage(body),
		}}
	}
	for _, c := range []struct {
		name string
		e    bridge.Entry
		want bool
	}{
		{"an app's wish", event(1, bridge.OriginApp, "", `{"online":true}`), false},
		{"for one callback", event(2, bridge.OriginBridge, "app", `{"online":true,"operators":[]}`), false},
		{"nonsense", event(3, bridge.OriginBridge, "", `[]`), false},
		{"another type", bridge.Entry{Seq: 4, Event: bridge.Event{Type: bridge.TypeOperatorMessage, Origin: bridge.OriginBridge,
			Body: json.RawMessage(`{"online":true}`)}}, false},
		{"online", event(6, bridge.OriginBridge, "", `{"online":true,"operators":[{"id":"app","status":"online"}]}`), true},
		{"an older one", event(5, bridge.OriginBridge, "", `{"online":false,"operators":[]}`), true},
		{"a newer one", event(7, bridge.OriginBridge, "", `{"online":false,"operators":[]}`), false},
	} {
		if p.Observe(c.e); p.Online() != c.want {
			t.Errorf("%s: online is %v", c.name, p.Online())
		}
	}
	p.Observe(event(8, bridge.OriginBridge, "", `{"online":true,"operators":[]}`))
	if err := p.Load(t.Context()); err != nil || !p.Online() {
		t.Errorf("Load put an older state over what an event told: %v", err)
	}
}

func TestSetApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemory()
		p := New(s, Options{Timeout: time.Hour})
		for _, online := range []bool{true, true, false, true} {
			if _, err := p.SetApp(t.Context(), online, bridge.PresenceWrite{}); err != nil || p.Online() != online {
				t.Errorf("online: %v, %v", p.Online(), err)
			}
		}
		ops, _ := p.Operators(t.Context())
		if len(s.log) != 3 || len(ops) != 1 || ops[0].ID != "app" || ops[0].Reason != "api" || ops[0].Name != "App" {
			t.Errorf("%d events, %+v", len(s.log), ops)
		}
		run(t, p)
		time.Sleep(100 * time.Hour)
		if !p.Online() {
			t.Error("the app is timed away")
		}
	})
}

// run lets a presence work until the end of the test.
func run(t *testing.T, p *Presence) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		p.Run(ctx)
		close(ended)
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-ended
	})
	t.Cleanup(stop)
	return stop
}

// A day of three operators, hour by hour, on a bubble's clock. At some steps the bridge ends, and another one begins later.
func TestTime(t *testing.T) {
	type step struct {
		at   string // of the bubble's clock, in Paris
		do   string // who, what and until when
		want string // what is told then; empty: nothing new
	}
	for _, c := range []struct {
		name    string
		options Options
		zone    string
		hours   string
		off     string // holidays
		start   string
		steps   []step
	}{
		{name: "time-out", options: Options{Timeout: 4 * time.Hour, OnReply: true}, zone: "UTC", start: "2026-11-23T08:00:00Z", steps: []step{
			{"23 08:00", "ana online", "online, ana online command since 23 08:00"},
			{"23 10:00", "ana seen", ""},
			{"23 13:59", "", ""},
			{"23 14:00", "", "away, ana away time-out since 23 14:00"},
			{"23 14:30", "ana seen", ""}, // looking around is not being there
			{"23 15:00", "ana answers", "online, ana online reply since 23 15:00"},
			{"23 16:00", "ana online", ""},
			{"23 20:00", "", "away, ana away time-out since 23 20:00"},
			{"23 21:00", "ana offline", "away, ana offline command since 23 21:00"},
			{"23 22:00", "ana answers", "online, ana online reply since 23 22:00"},
		}},
		{name: "no time-out, no coming by answers", zone: "UTC", start: "2026-11-23T08:00:00Z", steps: []step{
			{"23 08:00", "ana answers", ""},
			{"23 08:00", "ana online", "online, ana online command since 23 08:00"},
			{"25 08:00", "ana offline", "away, ana offline command since 25 08:00"},
			{"25 09:00", "ana answers", ""},
		}},
		{name: "durations", options: Options{Timeout: time.Hour, OnReply: true}, zone: "UTC", start: "2026-11-23T08:00:00Z", steps: []step{
			{"23 08:00", "ana online 23 12:00", "online, ana online command since 23 08:00 until 23 12:00"},
			{"23 11:59", "", ""},
			{"23 12:00", "", "away, ana away time-out since 23 12:00"},
			{"23 12:10", "ana away 23 12:30", "away, ana away command since 23 12:00 until 23 12:30"},
			{"23 12:30", "", "online, ana online command since 23 12:30"},
			{"23 13:00", "ana away 23 18:00", "away, ana away command since 23 13:00 until 23 18:00"},
			{"23 14:00", "ana answers", "online, ana online reply since 23 14:00"},
			{"23 14:10", "ana online 23 18:00", "online, ana online command since 23 14:00 until 23 18:00"},
			{"23 14:20", "ana online", "online, ana online command since 23 14:00"},
			{"23 15:20", "", "away, ana away time-out since 23 15:20"},
			{"23 23:00", "", ""},
		}},
		{name: "restart", options: Options{Timeout: 2 * time.Hour}, zone: "UTC", start: "2026-11-23T08:00:00Z", steps: []step{
			{"23 08:00", "ana online", "online, ana online command since 23 08:00"},
			{"23 08:00", "ben away 23 09:30", "online, ana online command since 23 08:00, ben away command since 23 08:00 until 23 09:30"},
			{"23 09:00", "ana seen", ""},
			{"23 09:00", "ends", ""},
			{"23 10:00", "begins", "online, ana online command since 23 08:00, ben online command since 23 09:30"},
			{"23 10:30", "ends", ""},
			{"24 09:00", "begins", "away, ana away time-out since 23 11:00, ben away time-out since 23 11:30"},
			{"24 10:00", "ends", ""},
			{"24 11:00", "begins", ""},
		}},
		{name: "hours", options: Options{OnReply: true}, zone: "Europe/Paris", hours: "Mon-Fri 09:00-12:00 13:00-18:00", off: "2026-11-25",
			start: "2026-11-23T08:00:00+01:00", steps: []step{
				{"23 08:00", "ana online", "online, ana online command since 23 08:00"}, // whatever the hours
				{"23 09:00", "", ""},
				{"23 12:00", "", "away, ana away hours since 23 12:00 until 23 13:00"},
				{"23 12:10", "ana answers", ""},
				{"23 13:00", "", "online, ana online hours since 23 13:00"},
				{"23 17:00", "ana away", "away, ana away command since 23 17:00"},
				{"23 18:00", "", ""},
				{"24 09:00", "", ""}, // who was away by their word stays so
				{"24 09:30", "ana answers", "online, ana online reply since 24 09:30"},
				{"24 12:00", "", "away, ana away hours since 24 12:00 until 24 13:00"},
				{"24 12:30", "ana online 24 12:45", "online, ana online command since 24 12:30 until 24 12:45"},
				{"24 12:45", "", "away, ana away hours since 24 12:45 until 24 13:00"},
				{"24 13:00", "", "online, ana online hours since 24 13:00"},
				{"24 17:00", "ana online 24 20:00", "online, ana online command since 24 13:00 until 24 20:00"}, // she has said until when
				{"24 18:00", "", ""},
				{"24 19:00", "ana online", "online, ana online command since 24 13:00"},
				{"25 09:00", "", ""}, // a holiday
				{"25 17:00", "ana offline", "away, ana offline command since 25 17:00"},
				{"25 18:00", "ana online", "online, ana online command since 25 18:00"},
				{"26 12:00", "", "away, ana away hours since 26 12:00 until 26 13:00"},
				{"26 12:05", "ends", ""},
				{"27 10:00", "begins", "online, ana online hours since 27 09:00"},
				{"27 17:50", "ana away 27 18:30", "away, ana away command since 27 17:50 until 27 18:30"},
				{"27 18:30", "", "away, ana away hours since 27 18:30 until 30 09:00"},
				{"30 09:00", "", "online, ana online hours since 30 09:00"},
			}},
		{name: "hours and a time-out", options: Options{Timeout: 4 * time.Hour}, zone: "UTC", hours: "Mon-Fri 09:00-18:00",
			start: "2026-11-23T10:00:00Z", steps: []step{
				{"23 16:00", "ana online", "online, ana online command since 23 16:00"},
				{"23 18:00", "", "away, ana away hours since 23 18:00 until 24 09:00"},
				{"23 20:00", "ana online", "online, ana online command since 23 20:00"},
				{"24 00:00", "", "away, ana away time-out since 24 00:00"},
				{"24 09:00", "", ""},
			}},
		{name: "the clock goes forward", zone: "Europe/Paris", hours: "Mon-Sun 01:00-02:30 09:00-18:00", start: "2026-03-28T12:00:00+01:00", steps: []step{
			{"28 12:00", "ana online", "online, ana online command since 28 12:00"},
			{"28 18:00", "", "away, ana away hours since 28 18:00 until 29 01:00"},
			{"29 01:00", "", "online, ana online hours since 29 01:00"},
			{"29 03:00", "", "away, ana away hours since 29 03:00 until 29 09:00"},
			{"29 09:00", "", "online, ana online hours since 29 09:00"},
			{"29 18:00", "", "away, ana away hours since 29 18:00 until 30 01:00"},
		}},
		{name: "the clock goes back", zone: "Europe/Paris", hours: "Mon-Sun 09:00-18:00", start: "2026-10-24T12:00:00+02:00", steps: []step{
			{"24 12:00", "ana online", "online, ana online command since 24 12:00"},
			{"24 18:00", "", "away, ana away hours since 24 18:00 until 25 09:00"},
			{"25 08:59", "", ""},
			{"25 09:00", "", "online, ana online hours since 25 09:00"},
			{"25 18:00", "", "away, ana away hours since 25 18:00 until 26 09:00"},
		}},
		{name: "the app keeps hours too", zone: "UTC", hours: "Mon-Fri 09:00-18:00", start: "2026-11-23T10:00:00Z", steps: []step{
			{"23 16:00", "app online", "online, App online api since 23 16:00"},
			{"23 18:00", "", "away, App away hours since 23 18:00 until 24 09:00"},
			{"24 09:00", "", "online, App online hours since 24 09:00"},
		}},
	} {
		for store, make := range map[string]func(t *testing.T) keeper{
			"memory": func(*testing.T) keeper { return newMemory() }, "bolt": func(t *testing.T) keeper { return newKept(t) },
		} {
			t.Run(c.name+", "+store, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					start, err := time.Parse(time.RFC3339, c.start)
					if err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Until(start))
					options := c.options
					options.Hours = hours(t, c.hours, c.off, c.zone)
					zone := options.Hours.Location()
					s := make(t)
					begin := func() (*Presence, func()) {
						p := New(s, options)
						if err := p.Load(t.Context()); err != nil {
							t.Fatal(err)
						}
						return p, run(t, p)
					}
					p, end := begin()
					defer func() {
						end()
						if k, ok := s.(*kept); ok {
							if err := k.Close(); err != nil {
								t.Error(err)
							}
						}
					}()
					moment := func(text string) time.Time {
						at, err := time.ParseInLocation("2006-01-02 15:04", time.Now().In(zone).Format("2006-01-")+text, zone)
						if err != nil {
							t.Fatal(err)
						}
						return at
					}
					last := "nothing"
					for _, step := range c.steps {
						time.Sleep(time.Until(moment(step.at)))
						synctest.Wait()
						who, what, _ := strings.Cut(step.do, " ")
						what, end2, _ := strings.Cut(what, " ")
						var until time.Time
						if end2 != "" {
							until = moment(end2)
						}
						err := error(nil)
						events := changes(s.entries(t))
						switch {
						case step.do == "":
							events = -1
						case step.do == "ends":
							end()
						case step.do == "begins":
							s.restart(t)
							p, end = begin()
						case who == "app":
							_, err = p.SetApp(t.Context(), what == "online", bridge.PresenceWrite{})
						case what == "seen" || what == "answers":
							_, err = p.Seen(t.Context(), account(who), what == "answers", bridge.PresenceWrite{})
						default:
							_, err = p.Set(t.Context(), account(who), bridge.Status(what), until, bridge.PresenceWrite{})
						}
						if err != nil {
							t.Fatal(err)
						}
						synctest.Wait()
						want := step.want
						if want == "" {
							want = last
						}
						got := said(t, s.entries(t), zone)
						if got != want {
							t.Errorf("%s %s: got %s, want %s", step.at, step.do, got, want)
						}
						if n := changes(s.entries(t)) - events; events >= 0 && (step.want == "" && n != 0 || step.want != "" && n != 1) {
							t.Errorf("%s %s: %d events", step.at, step.do, n)
						}
						last = got
					}
				})
			})
		}
	}
}

// keeper is a store of these tests.
type keeper interface {
	Store
	entries(t *testing.T) []bridge.Entry
	restart(t *testing.T)
}

// A store that fails for a while makes nobody miss what was due.
func TestRunOutlivesTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemory()
		p := New(s, Options{Timeout: time.Hour})
		if _, err := p.Set(t.Context(), account("ana"), bridge.StatusOnline, time.Time{}, bridge.PresenceWrite{}); err != nil {
			t.Fatal(err)
		}
		run(t, p)
		time.Sleep(59 * time.Minute)
		s.mu.Lock()
		s.fault = bridge.ErrUnavailable
		s.mu.Unlock()
		time.Sleep(10 * time.Minute)
		s.mu.Lock()
		s.fault = nil
		s.mu.Unlock()
		time.Sleep(2 * time.Second)
		if got := s.said(t); got != "away, ana away time-out since 01 01:00" {
			t.Error(got)
		}
	})
}

// Who is due is not looked up anew for each answer where there are hundreds in a second.
func TestManyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemory()
		p := New(s, Options{Timeout: time.Hour, OnReply: true})
		var asked atomic.Int32
		s.asked = func() { asked.Add(1) }
		run(t, p)
		const answers = 1000
		for range answers {
			time.Sleep(time.Millisecond)
			event := bridge.Event{Type: bridge.TypeOperatorMessage, Session: "s"}
			if _, err := p.Seen(t.Context(), account("ana"), true, with(bridge.Batch{Events: []bridge.Event{event}})); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if more := asked.Load() - answers; more > 15 {
			t.Errorf("the store was asked for the time %d times more than there were answers", more)
		}
		time.Sleep(time.Hour + time.Second)
		if got := s.said(t); got != "away, ana away time-out since 01 01:00" {
			t.Error(got)
		}
	})
}

func TestRetire(t *testing.T) {
	s := newMemory()
	p := New(s, Options{})
	retire := func() (fault string) {
		t.Helper()
		_, err := p.MarkAway(t.Context(), "telegram:ana", bridge.PresenceWrite{Also: func(c bridge.PresenceChange) bridge.Batch {
			fault = c.Fault
			return bridge.Batch{}
		}})
		if err != nil {
			t.Error(err)
		}
		return fault
	}
	if retire() == "" || len(s.log) != 0 {
		t.Error("nobody is retired")
	}
	if _, err := p.Set(t.Context(), account("ana"), bridge.StatusOnline, time.Time{}, bridge.PresenceWrite{}); err != nil {
		t.Fatal(err)
	}
	if retire() != "" || !strings.HasPrefix(s.said(t), "away, ana away time-out") {
		t.Error(s.said(t))
	}
	if retire() == "" || len(s.log) != 2 {
		t.Error("she is retired twice")
	}
}

func TestNames(t *testing.T) {
	s := newMemory()
	p := New(s, Options{})
	name := func(p *Presence, name, want string) {
		t.Helper()
		if _, err := p.Rename(t.Context(), account("ana"), name, bridge.PresenceWrite{}); err != nil {
			t.Fatal(err)
		}
		if got := status(t, s.log[len(s.log)-1]).Operators[0].Name; got != want {
			t.Errorf("%q: she is %s", name, got)
		}
	}
	name(p, "Anastasia", "Anastasia")
	name(p, "", "ana")
	// A platform that does not tell the name for the moment takes no known one away.
	who := account("ana")
	who.Name = bridge.Nameless
	if _, err := p.Set(t.Context(), who, bridge.StatusOnline, time.Time{}, bridge.PresenceWrite{}); err != nil {
		t.Fatal(err)
	}
	if got := status(t, s.log[len(s.log)-1]).Operators[0].Name; got != "ana" {
		t.Errorf("she is %s", got)
	}
	name(New(s, Options{PublicName: "Support"}), "Anastasia", "Support")
	people, err := p.People(t.Context())
	if err != nil || len(people) != 1 || people[0].Called != "ana" || people[0].Name != "Anastasia" || !people[0].Has("telegram:ana") ||
		people[0].Has("discord:ana") {
		t.Errorf("%+v, %v", people, err)
	}
}

func TestLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemory()
		p := New(s, Options{})
		ctx := t.Context()
		got := func(do func(w bridge.PresenceWrite) (bridge.Result, error)) (c bridge.PresenceChange) {
			t.Helper()
			if _, err := do(bridge.PresenceWrite{Also: func(now bridge.PresenceChange) bridge.Batch { c = now; return bridge.Batch{} }}); err != nil {
				t.Fatal(err)
			}
			return c
		}
		set := func(who bridge.Account, to bridge.Status) {
			t.Helper()
			if _, err := p.Set(ctx, who, to, time.Time{}, bridge.PresenceWrite{}); err != nil {
				t.Fatal(err)
			}
		}
		begin := func(who bridge.Account) string {
			t.Helper()
			return got(func(w bridge.PresenceWrite) (bridge.Result, error) { return p.Begin(ctx, end(who), w) }).Code
		}
		ask := func(who bridge.Account, code string) bridge.PresenceChange {
			t.Helper()
			return got(func(w bridge.PresenceWrite) (bridge.Result, error) { return p.Join(ctx, end(who), code, w) })
		}
		confirm := func(who bridge.Account) bridge.PresenceChange {
			t.Helper()
			return got(func(w bridge.PresenceWrite) (bridge.Result, error) { return p.Confirm(ctx, who, w) })
		}
		join := func(who bridge.Account, code string) bridge.PresenceChange {
			t.Helper()
			c := ask(who, code)
			if c.Fault == "" {
				c = confirm(c.Link.First.Account)
			}
			return c
		}
		leave := func(who bridge.Account) bridge.PresenceChange {
			t.Helper()
			return got(func(w bridge.PresenceWrite) (bridge.Result, error) { return p.Leave(ctx, who, w) })
		}
		ana, anna, ana3, ben := on("telegram", "ana"), on("discord", "anna"), on("slack", "ana3"), on("discord", "ben")
		set(ana, bridge.StatusAway)
		set(anna, bridge.StatusOnline)
		code := begin(ana)
		if c := join(ana, code); c.Fault == "" {
			t.Error("she is joined with herself")
		}
		for _, wrong := range []string{"", "AAAAAA", code[1:]} {
			if c := join(anna, wrong); c.Fault == "" {
				t.Errorf("the code %q is good", wrong)
			}
		}
		if c := join(anna, " "+strings.ToLower(code)+" "); c.Fault != "" || len(c.Person.Accounts) != 2 || c.Person.ID != "telegram:ana" ||
			c.Person.Status != bridge.StatusOnline {
			t.Errorf("%+v", c)
		}
		if c := join(ben, code); c.Fault == "" {
			t.Error("the code is good twice")
		}
		if c := confirm(ana); c.Fault == "" {
			t.Error("it is confirmed twice")
		}
		set(anna, bridge.StatusAway)
		if got := s.said(t); got != "away, ana away command since 01 00:00" {
			t.Error(got)
		}
		if c := join(ben, begin(anna)); c.Fault == "" {
			t.Error("two accounts on one platform are one person's")
		}
		late := begin(ana)
		time.Sleep(linkFor + time.Millisecond)
		if c := join(ana3, late); c.Fault == "" {
			t.Error("a code is good for ever")
		}
		old := begin(ana)
		next := begin(ana)
		if c := join(ana3, old); c.Fault == "" || len(s.rows[tableLinks]) != 1 {
			t.Errorf("a code is good after the next one, and %d are kept", len(s.rows[tableLinks]))
		}
		if c := join(ana3, next); c.Fault != "" || len(c.Person.Accounts) != 3 {
			t.Errorf("%+v", c)
		}
		set(ana3, bridge.StatusOnline)
		if c := leave(ana); c.Fault != "" || len(c.Person.Accounts) != 1 || c.Person.ID != "telegram:ana" || c.Person.Status != bridge.StatusOffline {
			t.Errorf("%+v", c)
		}
		if c := leave(ana); c.Fault == "" {
			t.Error("she leaves nobody")
		}
		people, err := p.People(ctx)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(people, func(who bridge.Person) bool { return who.Has("slack:ana3") })
		if i < 0 || people[i].ID != "discord:anna" || people[i].Status != bridge.StatusOnline || !people[i].Has("discord:anna") ||
			people[i].Has("telegram:ana") {
			t.Errorf("%+v", people)
		}
	})
}

// end is an account that is told of its links somewhere.
func end(who bridge.Account) bridge.LinkEnd {
	return bridge.LinkEnd{Account: who, At: bridge.Answer{Platform: who.Platform, Thread: "main"}}
}

// Two bridges on one store: of two who type a code at the same moment one is asked about and the other is told so; what one bridge
// was asked the other confirms, once; and a code that a version before this one gave joins nobody.
func TestLinkThroughTwoBridges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemory()
		bridges := []*Presence{New(s, Options{}), New(s, Options{})}
		ctx := t.Context()
		ana := on("telegram", "ana")
		for round := range 20 {
			var change bridge.PresenceChange
			w := bridge.PresenceWrite{Also: func(c bridge.PresenceChange) bridge.Batch { change = c; return bridge.Batch{} }}
			if _, err := bridges[round%2].Begin(ctx, end(ana), w); err != nil {
				t.Fatal(err)
			}
			code := change.Code
			changes := make([]bridge.PresenceChange, 2)
			both := func(do func(i int, w bridge.PresenceWrite) error) {
				var work sync.WaitGroup
				for i := range changes {
					work.Go(func() {
						w := bridge.PresenceWrite{Also: func(c bridge.PresenceChange) bridge.Batch { changes[i] = c; return bridge.Batch{} }}
						err := bridge.ErrChanged
						for errors.Is(err, bridge.ErrChanged) {
							err = do(i, w)
						}
						if err != nil {
							t.Error(err)
						}
					})
				}
				work.Wait()
			}
			var commits sync.WaitGroup // both have worked their change out before either writes it
			commits.Add(2)
			first := make([]sync.Once, 2)
			meet := func(i int) func(context.Context, bridge.Batch) (bridge.Result, error) {
				return func(ctx context.Context, b bridge.Batch) (bridge.Result, error) {
					first[i].Do(func() { commits.Done(); commits.Wait() })
					return s.Commit(ctx, b)
				}
			}
			who := []bridge.Account{on("discord", fmt.Sprint("ben", round)), on("slack", fmt.Sprint("eve", round))}
			both(func(i int, w bridge.PresenceWrite) error {
				w.Commit = meet(i)
				_, err := bridges[i].Join(ctx, end(who[i]), code, w)
				return err
			})
			asked := slices.IndexFunc(changes, func(c bridge.PresenceChange) bool { return c.Fault == "" })
			if asked < 0 || changes[1-asked].Fault == "" || changes[1-asked].Link == nil || changes[1-asked].Link.Second.Account != who[asked] {
				t.Fatalf("%+v", changes)
			}
			both(func(i int, w bridge.PresenceWrite) error {
				_, err := bridges[i].Confirm(ctx, ana, w)
				return err
			})
			if done := slices.IndexFunc(changes, func(c bridge.PresenceChange) bool { return c.Fault == "" }); done < 0 ||
				changes[1-done].Fault == "" || !changes[done].Person.Has(who[asked].Key()) || len(changes[done].Person.Accounts) != 2 {
				t.Fatalf("%+v", changes)
			}
			if _, err := bridges[0].Leave(ctx, who[asked], bridge.PresenceWrite{}); err != nil {
				t.Fatal(err)
			}
		}

		old := fmt.Sprintf(`{"account":{"platform":"telegram","id":"ana","name":"ana"},"until":%q}`, time.Now().Add(linkFor).Format(time.RFC3339Nano))
		if _, err := s.Commit(ctx, bridge.Batch{Rows: []bridge.Row{{Table: tableLinks, Key: "ABCDEF", Value: []byte(old)}}}); err != nil {
			t.Fatal(err)
		}
		var change bridge.PresenceChange
		w := bridge.PresenceWrite{Also: func(c bridge.PresenceChange) bridge.Batch { change = c; return bridge.Batch{} }}
		if _, err := bridges[0].Join(ctx, end(on("discord", "ben")), "ABCDEF", w); err != nil || change.Fault == "" {
			t.Errorf("%+v, %v", change, err)
		}
	})
}

func TestMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(newMemory(), Options{Hours: hours(t, "", "", "Europe/Paris")})
		time.Sleep(14*time.Hour + 30*time.Minute) // 2000-01-01 15:30 in Paris
		for text, want := range map[string]string{
			"2h": "01 17:30", "30m": "01 16:00", "1h30m": "01 17:00", "1h 30m": "01 17:00", "for 90 minutes": "01 17:00", "1 day": "02 15:30",
			"until 18:00": "01 18:00", "until 14:00": "02 14:00", "until 15:30": "02 15:30", "16:00": "01 16:00", "UNTIL 9:05": "02 09:05",
			"until 24:00": "02 00:00",
			"":            "", "2": "", "h": "", "-2h": "", "0m": "", "30s": "", "2x": "", "2h30": "", "99999999999h": "", "999999h": "", "32d": "", "31d1m": "",
			// In nanoseconds these are beyond 64 bits: two of them were 25 minutes.
			"213504d": "", "999999d": "", "213503d24h": "",
			"until": "", "until 25:00": "", "until tomorrow": "", "until 2h": "", "soon": "", "2h please": "", "12:00 13:00": "",
		} {
			until, ok, err := p.Moment(t.Context(), text)
			got := ""
			if ok {
				got = until.In(p.o.Hours.Location()).Format("02 15:04")
			}
			if got != want || err != nil {
				t.Errorf("%q: got %q, want %q, %v", text, got, want, err)
			}
		}
	})
}

func TestSummary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(newMemory(), Options{Timeout: 8 * time.Hour, Hours: hours(t, "Mon-Sun 08:00-12:00", "", "Europe/Paris")})
		text, err := p.Summary(t.Context())
		if err != nil || text != "nobody has said !online yet" {
			t.Errorf("%q, %v", text, err)
		}
		set := func(who bridge.Account, to bridge.Status, until time.Time) {
			t.Helper()
			if _, err := p.Set(t.Context(), who, to, until, bridge.PresenceWrite{}); err != nil {
				t.Fatal(err)
			}
		}
		set(account("zoe"), bridge.StatusOffline, time.Time{}) // at the bubble's beginning, 2000-01-01 00:00 UTC
		time.Sleep(24*time.Hour + 9*time.Hour + 5*time.Minute)
		set(account("Ben"), bridge.StatusAway, time.Now().Add(2*time.Hour))
		set(account("Ana\n\u202eevil"), bridge.StatusOnline, time.Time{})
		if _, err := p.Rename(t.Context(), account("Ana\n\u202eevil"), "Anastasia", bridge.PresenceWrite{}); err != nil {
			t.Fatal(err)
		}
		set(bridge.Account{Platform: "slack", ID: "U1"}, bridge.StatusOnline, time.Time{})
		if _, err := p.SetApp(t.Context(), true, bridge.PresenceWrite{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		want := `slack:U1 (Slack): online since 10:05 CET, by command
Ana evil, for visitors Anastasia (Telegram): online since 10:05 CET, by command
App: online since 10:05 CET, set by the app
Ben (Telegram): away since 10:05 CET, until 12:05 CET, by command
zoe (Telegram): offline since 2000-01-01 01:00 CET, by command`
		if text, err = p.Summary(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, text); diff != "" {
			t.Error(diff)
		}
		time.Sleep(time.Hour)
		want = `Ana evil, for visitors Anastasia (Telegram): away since 12:00 CET, until 2000-01-03 08:00 CET, by business hours
It is outside business hours until 2000-01-03 08:00 CET.`
		if text, err = p.Summary(t.Context()); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(text, "\n")
		if diff := cmp.Diff(want, lines[1]+"\n"+lines[len(lines)-1]); diff != "" {
			t.Error(diff)
		}
	})
}
