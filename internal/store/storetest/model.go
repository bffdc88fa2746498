package storetest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/store"
)

// model is a store as simple as it can be: maps, and everything at once. Nothing in it expires.
type model struct {
	log    []bridge.Entry
	last   bridge.Seq
	claims map[[2]string]modelClaim // by session and key
	words  map[string]bridge.Seq
	rows   map[[2]string]bridge.Row // by table and key
	lanes  map[string]bridge.LaneState
	leases map[string]string
}

type modelClaim struct {
	at    bridge.Seq // 0: taken without events, at a time that the model does not know
	first bridge.Seq
	sum   string
}

func newModel() *model {
	return &model{
		claims: make(map[[2]string]modelClaim),
		words:  make(map[string]bridge.Seq),
		rows:   make(map[[2]string]bridge.Row),
		lanes:  make(map[string]bridge.LaneState),
		leases: make(map[string]string),
	}
}

// commit says what a store must answer, but for the Seqs. They are taken from what it did answer.
func (m *model) commit(b bridge.Batch, got bridge.Result) (bridge.Result, error) {
	if b.Lease != (bridge.Lease{}) {
		if token, ok := m.leases[b.Lease.Name]; !ok || token != b.Lease.Token {
			return bridge.Result{}, bridge.ErrLeaseLost
		}
	}
	var duplicate *modelClaim
	for _, c := range b.Claims {
		held, ok := m.claims[[2]string{c.Session, c.Key}]
		switch {
		case !ok || c.Soft || c.Moves:
		case c.Sum != "" && held.sum != "" && c.Sum != held.sum:
			return bridge.Result{}, bridge.ErrConflict
		case duplicate == nil:
			duplicate = &held
		}
	}
	if duplicate != nil {
		return bridge.Result{Duplicate: true, First: duplicate.first}, nil
	}
	for _, r := range b.If {
		row, ok := m.rows[[2]string{r.Table, r.Key}]
		if ok != (r.Value != nil) || string(row.Value) != string(r.Value) {
			return bridge.Result{}, bridge.ErrChanged
		}
	}

	for _, t := range b.IfTaken { // that it is not, which is all that is drawn
		if _, ok := m.claims[[2]string{t.Session, t.Key}]; ok {
			return bridge.Result{}, bridge.ErrChanged
		}
	}

	claims, before := slices.Clone(b.Claims), m.last
	for i, e := range b.Events {
		seq := m.last + 1
		if i < len(got.Seqs) {
			seq = max(seq, got.Seqs[i])
		}
		m.last = seq
		m.log = append(m.log, bridge.Entry{Seq: seq, Event: e})
		if e.Session != "" {
			m.words[e.Session] = seq
			if e.Opens {
				claims = append(claims, bridge.Claim{Session: e.Session, Key: "session", Soft: true})
			}
		}
	}
	result := bridge.Result{}
	for _, e := range m.log[len(m.log)-len(b.Events):] {
		result.Seqs = append(result.Seqs, e.Seq)
	}
	var first bridge.Seq
	if len(result.Seqs) > 0 {
		result.After = before
		first = result.Seqs[0]
	}
	for _, c := range claims {
		key := [2]string{c.Session, c.Key}
		if _, ok := m.claims[key]; !ok || !c.Soft {
			m.claims[key] = modelClaim{at: first, first: first, sum: c.Sum}
		}
		m.begin(c.Session)
	}
	for _, r := range b.Rows {
		if r.Value == nil {
			delete(m.rows, [2]string{r.Table, r.Key})
			continue
		}
		m.rows[[2]string{r.Table, r.Key}] = r
		m.begin(r.Session)
	}
	if p := b.Progress; p.Lane != "" {
		lane := m.lanes[p.Lane]
		lane.Known = true
		if p.Cursor > lane.Cursor {
			lane.Cursor = p.Cursor
		}
		for _, mark := range p.Done {
			if !slices.Contains(lane.Done, mark) {
				lane.Done = append(lane.Done, mark)
			}
		}
		lane.Done = slices.DeleteFunc(slices.Clone(lane.Done), func(mark bridge.Mark) bool { return mark.Seq <= lane.Cursor })
		slices.SortFunc(lane.Done, compareMarks)
		m.lanes[p.Lane] = lane
	}
	return result, nil
}

func compareMarks(a, b bridge.Mark) int {
	if a.Seq != b.Seq {
		return int(a.Seq) - int(b.Seq)
	}
	if a.Target < b.Target {
		return -1
	}
	return 1
}

func (m *model) begin(session string) {
	if _, ok := m.words[session]; !ok && session != "" {
		m.words[session] = m.last // the store says now, which no test asks for
	}
}

func (m *model) forget(session string) {
	delete(m.words, session)
	for key := range m.claims {
		if key[0] == session {
			delete(m.claims, key)
		}
	}
	for key, row := range m.rows {
		if row.Session == session {
			delete(m.rows, key)
		}
	}
}

func testModel(t *testing.T, place func(t *testing.T) Place) {
	rapid.Check(t, func(rt *rapid.T) {
		p := place(t)
		s := p.Open(t)
		defer func() {
			if err := s.Close(); err != nil {
				rt.Errorf("Close: %v", err)
			}
		}()
		m := newModel()
		fail := func(err error) {
			if err != nil {
				rt.Fatal(err)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"commit": func(rt *rapid.T) {
				b := drawBatch(rt)
				got, err := s.Commit(t.Context(), b)
				last := m.last
				want, wantErr := m.commit(b, got)
				if !errors.Is(err, wantErr) || wantErr == nil && err != nil {
					rt.Fatalf("Commit: %v, want %v", err, wantErr)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					rt.Fatalf("Commit (-want +got):\n%s", diff)
				}
				for _, seq := range got.Seqs {
					if seq <= last {
						rt.Fatalf("%d comes after %d", seq, last)
					}
					last = seq
				}
			},
			"acquire": func(rt *rapid.T) {
				l := drawLease(rt)
				token, held := m.leases[l.Name]
				got, err := s.Acquire(t.Context(), l, time.Hour)
				fail(err)
				if want := !held || token == l.Token; got != want {
					rt.Fatalf("Acquire: %v, want %v", got, want)
				}
				if got {
					m.leases[l.Name] = l.Token
				}
			},
			"release": func(rt *rapid.T) {
				l := drawLease(rt)
				fail(s.Release(t.Context(), l))
				if m.leases[l.Name] == l.Token {
					delete(m.leases, l.Name)
				}
			},
			"forget session": func(rt *rapid.T) {
				session := drawSession(rt)
				fail(s.ForgetSession(t.Context(), session))
				if session != "" {
					m.forget(session)
				}
			},
			"forget lane": func(rt *rapid.T) {
				name := rapid.SampledFrom(lanes()).Draw(rt, "lane")
				var lease bridge.Lease
				var want error
				if rapid.Bool().Draw(rt, "leased") {
					lease = drawLease(rt)
					if token, ok := m.leases[lease.Name]; !ok || token != lease.Token {
						want = bridge.ErrLeaseLost
					}
				}
				if err := s.ForgetLane(t.Context(), name, lease); !errors.Is(err, want) || want == nil && err != nil {
					rt.Fatalf("ForgetLane: %v, want %v", err, want)
				}
				if want == nil {
					delete(m.lanes, name)
				}
			},
			"trim": func(rt *rapid.T) {
				n := rapid.IntRange(0, len(m.log)).Draw(rt, "trimmed")
				before := m.last + 1
				if n < len(m.log) {
					before = m.log[n].Seq
				}
				fail(s.Trim(t.Context(), before))
				m.log = m.log[n:]
			},
			"reopen": func(rt *rapid.T) {
				if rapid.IntRange(0, 4).Draw(rt, "reopened") > 0 {
					return
				}
				fail(s.Close())
				s = p.Open(t)
				// A lease need not outlive its process.
				m.leases = make(map[string]string)
				for _, name := range leaseNames() {
					for _, token := range leaseTokens() {
						fail(s.Release(t.Context(), bridge.Lease{Name: name, Token: token}))
					}
				}
			},
			"": func(rt *rapid.T) { compare(rt, t, s, m) },
		})
	})
}

// compare holds everything that can be asked of the store against the model.
func compare(rt *rapid.T, t *testing.T, s store.Store, m *model) {
	equal := func(what string, got, want any, err error) {
		if err != nil {
			rt.Fatalf("%s: %v", what, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatalf("%s (-want +got):\n%s", what, diff)
		}
	}
	last, err := s.Last(t.Context())
	equal("Last", last, m.last, err)
	size, oldest, err := s.LogSize(t.Context())
	equal("LogSize", size, len(m.log), err)
	if len(m.log) > 0 {
		equal("LogSize", oldest, m.log[0].Seq, nil)
	}
	entries, err := s.Read(t.Context(), 0, len(m.log)+1, 0)
	equal("Read", append([]bridge.Entry{}, entries...), append([]bridge.Entry{}, m.log...), err)
	for _, table := range tables() {
		var want []bridge.Row
		for _, key := range rowKeys() {
			if row, ok := m.rows[[2]string{table, key}]; ok {
				want = append(want, bridge.Row{Table: table, Key: key, Value: row.Value})
			}
			value, err := s.Get(t.Context(), table, key)
			equal("Get", value, m.rows[[2]string{table, key}].Value, err)
		}
		rows, err := all(t, s, table)
		equal("List", append([]bridge.Row{}, rows...), append([]bridge.Row{}, want...), err)
	}
	for _, name := range lanes() {
		lane, err := s.Lane(t.Context(), name)
		want := m.lanes[name]
		lane.Done, want.Done = append([]bridge.Mark{}, lane.Done...), append([]bridge.Mark{}, want.Done...)
		equal("Lane", lane, want, err)
	}
	names, err := s.Lanes(t.Context())
	equal("Lanes", append([]string{}, names...), append([]string{}, slices.Sorted(maps.Keys(m.lanes))...), err)
	for _, session := range sessions() {
		claimed, err := s.Claimed(t.Context(), session, claimKeys()...)
		want := make([]bridge.Seq, len(claimKeys()))
		for i, key := range claimKeys() {
			if c, ok := m.claims[[2]string{session, key}]; ok {
				if want[i] = c.at; c.at == 0 && err == nil {
					if claimed[i] == 0 {
						rt.Fatalf("Claimed: %s of %s is not taken", key, session)
					}
					want[i] = claimed[i]
				}
			}
		}
		equal("Claimed", claimed, want, err)
	}
}

// Few names, so that they meet.
func sessions() []string    { return []string{"", "a", "aa", "b"} }
func claimKeys() []string   { return []string{"k", "l", "session", bridge.SaidKey} }
func tables() []string      { return []string{"t", "by-t"} }
func rowKeys() []string     { return []string{"1", "11", "2"} }
func lanes() []string       { return []string{"x", "xx"} }
func leaseNames() []string  { return []string{"one", "two"} }
func leaseTokens() []string { return []string{"1", "2"} }

func drawSession(rt *rapid.T) string { return rapid.SampledFrom(sessions()).Draw(rt, "session") }

func drawLease(rt *rapid.T) bridge.Lease {
	return bridge.Lease{
		Name:  rapid.SampledFrom(leaseNames()).Draw(rt, "lease"),
		Token: rapid.SampledFrom(leaseTokens()).Draw(rt, "token"),
	}
}

func drawValue(rt *rapid.T) []byte {
	return rapid.SampledFrom([][]byte{nil, {}, []byte("1"), []byte("2:\x00")}).Draw(rt, "value")
}

func drawRow(rt *rapid.T) bridge.Row {
	return bridge.Row{
		Table:   rapid.SampledFrom(tables()).Draw(rt, "table"),
		Key:     rapid.SampledFrom(rowKeys()).Draw(rt, "key"),
		Value:   drawValue(rt),
		Session: drawSession(rt),
	}
}

func drawBatch(rt *rapid.T) bridge.Batch {
	var b bridge.Batch
	few := func(limit int, what string, draw func()) {
		for range rapid.IntRange(0, limit).Draw(rt, what) {
			draw()
		}
	}
	few(2, "claims", func() {
		moves := rapid.IntRange(0, 3).Draw(rt, "moves") == 0
		b.Claims = append(b.Claims, bridge.Claim{
			Session: drawSession(rt),
			Key:     rapid.SampledFrom(claimKeys()).Draw(rt, "claim"),
			Sum:     rapid.SampledFrom([]string{"", "1", "2"}).Draw(rt, "sum"),
			Soft:    !moves && rapid.Bool().Draw(rt, "soft"),
			Moves:   moves,
		})
	})
	if rapid.IntRange(0, 2).Draw(rt, "said") == 0 {
		b.Claims = append(b.Claims, bridge.Claim{Session: drawSession(rt), Key: bridge.SaidKey, Moves: true})
	}
	few(1, "conditions", func() { b.If = append(b.If, drawRow(rt)) })
	if rapid.IntRange(0, 3).Draw(rt, "if taken") == 0 { // that it is not: when it was is not known here
		b.IfTaken = []bridge.Taken{{Session: "a", Key: rapid.SampledFrom(claimKeys()).Draw(rt, "if claim")}}
	}
	few(2, "events", func() {
		e := event(drawSession(rt), fmt.Sprint(rapid.IntRange(0, 9).Draw(rt, "text")))
		e.Opens = rapid.Bool().Draw(rt, "opens")
		e.By = rapid.SampledFrom([]string{"", "Ana", "\"é\""}).Draw(rt, "by")
		e.Blocked = rapid.Bool().Draw(rt, "blocked")
		b.Events = append(b.Events, e)
	})
	few(3, "rows", func() { b.Rows = append(b.Rows, drawRow(rt)) })
	if rapid.IntRange(0, 3).Draw(rt, "leased") == 0 {
		b.Lease = drawLease(rt)
	}
	if rapid.Bool().Draw(rt, "progress") {
		b.Progress.Lane = rapid.SampledFrom(lanes()).Draw(rt, "lane")
		b.Progress.Cursor = bridge.Seq(rapid.IntRange(0, 5).Draw(rt, "cursor"))
		few(3, "marks", func() {
			b.Progress.Done = append(b.Progress.Done, bridge.Mark{
				Seq:    bridge.Seq(rapid.IntRange(1, 6).Draw(rt, "mark")),
				Target: rapid.SampledFrom([]string{"", "p", "q"}).Draw(rt, "target"),
			})
		})
	}
	return b
}
