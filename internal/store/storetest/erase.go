package storetest

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/store"
)

// testErase: of some entries nothing is left but that they were there; all others, and all that is appended meanwhile, stay as they
// were, where they were.
func testErase(t *testing.T, s store.Store, _ Place) {
	const n = 450
	var before []bridge.Entry
	for i := range n {
		e := bridge.Event{Type: bridge.TypeVisitorMessage, Origin: bridge.OriginApp, Session: fmt.Sprint("s", i%3), Body: []byte(fmt.Sprintf(`{"n":%d}`, i))}
		res, err := s.Commit(t.Context(), bridge.Batch{Events: []bridge.Event{e}})
		if err != nil {
			t.Fatal(err)
		}
		before = append(before, bridge.Entry{Seq: res.Seqs[0], Event: e})
	}
	ended := make(chan error)
	go func() {
		_, err := s.Commit(t.Context(), bridge.Batch{Events: []bridge.Event{{Type: bridge.TypeNewSession, Session: "late", Body: []byte(`{}`)}}})
		ended <- err
	}()
	gone, err := s.Erase(t.Context(), func(e bridge.Entry) bool { return e.Event.Session == "s1" })
	if err != nil || gone != n/3 {
		t.Fatalf("%d erased, %v", gone, err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	last, err := s.Last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	after, err := s.Read(t.Context(), 0, 2*n, 0)
	if err != nil || len(after) != n+1 || after[n].Event.Session != "late" || after[n].Seq != last {
		t.Fatalf("%d entries, %v", len(after), err)
	}
	for i, e := range after[:n] {
		want := before[i].Event
		if want.Session == "s1" {
			want = bridge.Erased()
		}
		if e.Seq != before[i].Seq || e.Event.Type != want.Type || e.Event.Session != want.Session || !bytes.Equal(e.Event.Body, want.Body) {
			t.Fatalf("entry %d is %+v, want %+v", i, e, want)
		}
	}
	if gone, err := s.Erase(t.Context(), func(e bridge.Entry) bool { return e.Event.Session == "s1" }); err != nil || gone != 0 {
		t.Errorf("again: %d, %v", gone, err)
	}
	res, err := s.Commit(t.Context(), bridge.Batch{Events: []bridge.Event{{Type: bridge.TypeNewSession, Session: "later", Body: []byte(`{}`)}}})
	if err != nil || res.After != last || res.Seqs[0] <= last {
		t.Errorf("the log goes on with %+v, %v", res, err)
	}
}

// testOwned: a session's rows are listed, and no others.
func testOwned(t *testing.T, s store.Store, _ Place) {
	_, err := s.Commit(t.Context(), bridge.Batch{Rows: []bridge.Row{
		{Table: "a", Key: "1", Value: []byte("x"), Session: "mine"}, {Table: "by-b", Key: "2/mine", Value: []byte{}, Session: "mine"},
		{Table: "a", Key: "3", Value: []byte("y"), Session: "another"}, {Table: "a", Key: "4", Value: []byte("z")},
		{Table: "a", Key: "5", Value: []byte("w"), Session: "mine"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), bridge.Batch{Rows: []bridge.Row{{Table: "a", Key: "5"}}}); err != nil {
		t.Fatal(err)
	}
	rows, err := s.Owned(t.Context(), "mine")
	found := map[string]string{}
	for _, row := range rows {
		found[row.Table+" "+row.Key] = string(row.Value)
	}
	if _, there := found["by-b 2/mine"]; err != nil || len(found) != 2 || found["a 1"] != "x" || !there {
		t.Errorf("%q, %v", found, err)
	}
	if rows, err := s.Owned(t.Context(), ""); err != nil || len(rows) != 0 {
		t.Errorf("of no session: %v, %v", rows, err)
	}
}

// testForgetClaims: claims without a session are removed by a text in their keys, whatever characters it has.
func testForgetClaims(t *testing.T, s store.Store, _ Place) {
	const odd = `s*[1]?\`
	claims := []bridge.Claim{{Key: "edited\n" + odd + "\nx"}, {Key: "edited\ns1\nx"}, {Session: odd, Key: "m1"}, {Key: odd}}
	for _, c := range claims {
		if _, err := s.Commit(t.Context(), bridge.Batch{Claims: []bridge.Claim{c}}); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.ForgetClaims(t.Context(), odd); err != nil || n != 2 {
		t.Errorf("%d went, %v", n, err)
	}
	for i, want := range []bool{false, true, true, false} {
		at, err := s.Claimed(t.Context(), claims[i].Session, claims[i].Key)
		if err != nil || (at[0] != 0) != want {
			t.Errorf("claim %d: %v, %v", i, at, err)
		}
	}
}
