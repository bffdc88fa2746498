package presence

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pocketping/bridge/internal/bridge"
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
}

func newMemory() *memory {
	return &memory{rows: map[string]map[string][]byte{}, claims: map[string]bridge.Seq{}}
}

func (m *memory) List(_ context.Context, table string) ([]bridge.Row, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []bridge.Row
	for key, value := range m.rows[table] {
		out = append(out, bridge.Row{Table: table, Key: key, Value: value})
	}
	slices.SortFunc(out, func(a, b bridge.Row) int { return strings.Compare(a.Key, b.Key) })
	return out, m.fault
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

func operator(name string, s bridge.Status) bridge.Operator {
	return bridge.Operator{ID: "telegram:" + name, Name: name, Platform: "telegram", Status: s, Reason: "command"}
}

func status(t *testing.T, e bridge.Entry) bridge.OperatorStatus {
	t.Helper()
	var body bridge.OperatorStatus
	if err := json.Unmarshal(e.Event.Body, &body); err != nil {
		t.Fatal(err)
	}
	return body
}

func TestChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemory()
		p := New(s)
		if err := p.Load(t.Context()); err != nil || p.Online() {
			t.Fatalf("online: %v, %v", p.Online(), err)
		}
		start := time.Now().UTC()
		answer := bridge.Event{Type: bridge.TypeAnswer, Origin: bridge.OriginBridge, Body: json.RawMessage(`{}`)}
		also := bridge.Batch{
			Claims: []bridge.Claim{{Key: "update/1"}},
			Events: []bridge.Event{answer},
			Rows:   []bridge.Row{{Table: "cursors", Key: "telegram", Value: []byte("1")}},
			Lease:  bridge.Lease{Name: "telegram", Token: "held"},
		}
		team, changed, res, err := p.Change(t.Context(), operator("Ana", bridge.StatusOnline), also)
		if err != nil || !changed || !team.Online || len(res.Seqs) != 2 {
			t.Fatalf("%+v, %v, %+v, %v", team, changed, res, err)
		}
		if s.writes != 1 || s.log[0].Event.Type != bridge.TypeAnswer || s.log[1].Event.Type != bridge.TypeOperatorStatus ||
			string(s.rows["cursors"]["telegram"]) != "1" {
			t.Errorf("%d writes, log %+v", s.writes, s.log)
		}
		ana := operator("Ana", bridge.StatusOnline)
		ana.Since = start
		want := bridge.OperatorStatus{Online: true, Operators: []bridge.Operator{ana}}
		if diff := cmp.Diff(want, status(t, s.log[1])); diff != "" || s.log[1].Event.Origin != bridge.OriginBridge {
			t.Error(diff)
		}
		if ops, _ := p.Operators(t.Context()); !p.Online() || !cmp.Equal(ops, want.Operators) {
			t.Errorf("online: %v, %+v", p.Online(), ops)
		}

		// The same update again.
		_, changed, res, err = p.Change(t.Context(), operator("Ana", bridge.StatusOffline), also)
		if err != nil || changed || !res.Duplicate || res.First != 2 || !p.Online() || s.writes != 1 {
			t.Errorf("%v, %+v, %v", changed, res, err)
		}

		// The same status again: what goes with it is written, and nobody is told.
		time.Sleep(time.Minute)
		also.Claims[0].Key = "update/2"
		team, changed, res, err = p.Change(t.Context(), operator("Ana", bridge.StatusOnline), also)
		if err != nil || changed || len(res.Seqs) != 1 || len(s.log) != 3 || !team.Operators[0].Since.Equal(start) {
			t.Errorf("%+v, %v, %+v, %v", team, changed, res, err)
		}
		writes := s.writes
		if _, changed, _, err := p.Change(t.Context(), operator("Ana", bridge.StatusOnline), bridge.Batch{}); err != nil || changed ||
			s.writes != writes {
			t.Errorf("%v, %v, %d writes for nothing", changed, err, s.writes-writes)
		}
		renamed := operator("Ana", bridge.StatusOnline)
		renamed.Name = "Ana B."
		if _, changed, _, err := p.Change(t.Context(), renamed, bridge.Batch{}); err != nil || changed || s.writes != writes+1 {
			t.Errorf("%v, %v, %d writes", changed, err, s.writes-writes)
		}

		// Another end of the same status is told, and is no new beginning.
		away := operator("Ben", bridge.StatusAway)
		away.Until = time.Now().Add(time.Hour + time.Nanosecond)
		for i, wantChanged := range []bool{true, false, true} {
			if i == 2 {
				time.Sleep(time.Minute)
				away.Until = time.Now().Add(3 * time.Hour)
			}
			team, changed, _, err = p.Change(t.Context(), away, bridge.Batch{})
			if err != nil || changed != wantChanged || !team.Operators[1].Since.Equal(start.Add(time.Minute)) {
				t.Errorf("%d: %+v, %v, %v", i, team, changed, err)
			}
		}

		// The team is online while anybody is.
		for _, step := range []struct {
			op     bridge.Operator
			online bool
		}{
			{operator("Ben", bridge.StatusOnline), true},
			{operator("Ana", bridge.StatusAway), true},
			{operator("Ben", bridge.StatusOffline), false},
			{operator("Ana", bridge.StatusOffline), false},
			{operator("Ana", bridge.StatusOnline), true},
		} {
			team, changed, _, err := p.Change(t.Context(), step.op, bridge.Batch{})
			if err != nil || !changed || team.Online != step.online || p.Online() != step.online ||
				status(t, s.log[len(s.log)-1]).Online != step.online {
				t.Errorf("%s %s: %+v, %v, %v", step.op.Name, step.op.Status, team, changed, err)
			}
		}
	})
}

func TestChangeFails(t *testing.T) {
	s := newMemory()
	p := New(s)
	for name, c := range map[string]struct {
		op   bridge.Operator
		also bridge.Batch
		want error
	}{
		"the caller's condition": {
			operator("Ana", bridge.StatusOnline),
			bridge.Batch{If: []bridge.Row{{Table: "cursors", Key: "telegram", Value: []byte("7")}}}, bridge.ErrChanged,
		},
		"lease": {operator("Ana", bridge.StatusOnline), bridge.Batch{Lease: bridge.Lease{Name: "telegram", Token: "lost"}}, bridge.ErrLeaseLost},
	} {
		if _, changed, _, err := p.Change(t.Context(), c.op, c.also); !errors.Is(err, c.want) || changed {
			t.Errorf("%s: %v, %v", name, changed, err)
		}
	}
	for _, op := range []bridge.Operator{operator("Ana", "busy"), operator("Ana", ""), {ID: "team", Status: "online"}, {Status: "online"}} {
		if _, err := p.Set(t.Context(), op, bridge.Batch{}); err == nil {
			t.Errorf("%+v is taken", op)
		}
	}
	s.fault = bridge.ErrUnavailable
	if _, err := p.Set(t.Context(), operator("Ana", bridge.StatusOnline), bridge.Batch{}); !errors.Is(err, bridge.ErrUnavailable) {
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
	p.turn <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Set(ctx, operator("Ana", bridge.StatusOnline), bridge.Batch{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Another bridge that is faster makes the change be worked out again, from what is there then.
func TestOvertaken(t *testing.T) {
	s := newMemory()
	one, two := New(s), New(s)
	s.before = func() {
		s.before = nil
		if _, err := two.Set(t.Context(), operator("Ben", bridge.StatusOnline), bridge.Batch{}); err != nil {
			t.Error(err)
		}
	}
	team, changed, _, err := one.Change(t.Context(), operator("Ana", bridge.StatusOffline), bridge.Batch{})
	if err != nil || !changed || !team.Online || len(team.Operators) != 2 || len(s.log) != 2 {
		t.Errorf("%+v, %v, %v", team, changed, err)
	}
	if got := status(t, s.log[1]); !got.Online || len(got.Operators) != 2 {
		t.Errorf("%+v", got)
	}
}

// Two bridges over one store: every event differs from the one before in exactly one operator, none is told twice, and the
// last one says what the rows say.
func TestTwoBridges(t *testing.T) {
	s := newMemory()
	bridges := []*Presence{New(s), New(s)}
	statuses := []bridge.Status{bridge.StatusOnline, bridge.StatusAway, bridge.StatusOffline}
	told := make(chan bool, 1000)
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			for j := range 20 {
				op := operator(fmt.Sprint("op", i%4), statuses[(i+j)%3])
				also := bridge.Batch{Claims: []bridge.Claim{{Key: fmt.Sprintf("update/%d/%d", i, j)}}}
				_, changed, _, err := bridges[i%2].Change(t.Context(), op, also)
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
	fresh := New(s)
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
	p := New(newMemory())
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
	s := newMemory()
	p := New(s)
	for _, online := range []bool{true, true, false} {
		if _, err := p.SetApp(t.Context(), online); err != nil || p.Online() != online {
			t.Errorf("online: %v, %v", p.Online(), err)
		}
	}
	ops, _ := p.Operators(t.Context())
	if len(s.log) != 2 || len(ops) != 1 || ops[0].ID != "app" || ops[0].Reason != "api" || ops[0].Name != "App" {
		t.Errorf("%d events, %+v", len(s.log), ops)
	}
}

func TestSummary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(newMemory())
		text, err := p.Summary(t.Context())
		if err != nil || text != "nobody has said /online yet" {
			t.Errorf("%q, %v", text, err)
		}
		set := func(op bridge.Operator) {
			t.Helper()
			if _, err := p.Set(t.Context(), op, bridge.Batch{}); err != nil {
				t.Fatal(err)
			}
		}
		set(operator("zoe", bridge.StatusOffline)) // at the bubble's beginning, 2000-01-01 00:00 UTC
		time.Sleep(24*time.Hour + 9*time.Hour + 5*time.Minute)
		away := operator("Ben", bridge.StatusAway)
		away.Until = time.Now().Add(2 * time.Hour)
		set(away)
		set(operator("Ana\n\u202eevil", bridge.StatusOnline))
		set(bridge.Operator{ID: "slack:U1", Platform: "slack", Status: bridge.StatusOnline})
		if _, err := p.SetApp(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		want := `slack:U1 (slack): online since 09:05 UTC
Ana evil (telegram): online since 09:05 UTC, by command
App: online since 09:05 UTC, set by the app
Ben (telegram): away since 09:05 UTC, until 11:05 UTC, by command
zoe (telegram): offline since 2000-01-01 00:00 UTC, by command`
		if text, err = p.Summary(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, text); diff != "" {
			t.Error(diff)
		}
	})
}
