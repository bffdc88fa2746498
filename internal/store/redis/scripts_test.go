package redis

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/store/redis/redistest"
)

// TestBrokenKey posts for forty sessions at once, one of which has a key that is not ours. Its commits alone fail, and each
// answer names the entry that stands before its own.
func TestBrokenKey(t *testing.T) {
	for name, breakIt := range map[string]struct {
		key string
		of  func(i int) bridge.Batch
	}{
		"claims of an accept": {keyClaims + "s0", func(i int) bridge.Batch {
			return bridge.Batch{Claims: []bridge.Claim{{Session: "s0", Key: fmt.Sprint(i)}}, Events: []bridge.Event{message("s0", fmt.Sprint(i))}}
		}},
		"claims": {keyClaims + "s0", func(i int) bridge.Batch {
			return bridge.Batch{Claims: []bridge.Claim{{Session: "s0", Key: fmt.Sprint(i), Soft: true}}, Events: []bridge.Event{message("", "x")}}
		}},
		"a claim": {keyClaim + "broken", func(int) bridge.Batch {
			return bridge.Batch{Claims: []bridge.Claim{{Key: "broken"}}, Events: []bridge.Event{message("", "x")}}
		}},
		"a row's table": {keyRows + "broken", func(int) bridge.Batch {
			return bridge.Batch{Events: []bridge.Event{message("", "x")}, Rows: []bridge.Row{{Table: "broken", Key: "k", Value: []byte("v")}}}
		}},
		"a condition": {keyRows + "broken", func(int) bridge.Batch {
			return bridge.Batch{Events: []bridge.Event{message("", "x")}, If: []bridge.Row{{Table: "broken", Key: "k"}}}
		}},
		"what a session owns": {keyOwned + "s0", func(int) bridge.Batch {
			return bridge.Batch{Events: []bridge.Event{message("", "x")}, Rows: []bridge.Row{{Table: "t", Key: "k", Value: []byte("v"), Session: "s0"}}}
		}},
		"a lane's marks": {keyDone + "l", func(int) bridge.Batch {
			return bridge.Batch{Events: []bridge.Event{message("", "x")}, Progress: bridge.Progress{Lane: "l", Done: []bridge.Mark{{Seq: 1}}}}
		}},
		"a lease": {keyLease + "l", func(int) bridge.Batch {
			return bridge.Batch{Events: []bridge.Event{message("", "x")}, Lease: bridge.Lease{Name: "l", Token: "1"}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			s := opened(t, server.URL(), Options{})
			// A list is what nothing of ours is.
			if err := plain(t, server.URL()).RPush(t.Context(), breakIt.key, "not ours").Err(); err != nil {
				t.Fatal(err)
			}
			const sessions, rounds = 40, 10
			before := map[bridge.Seq]bridge.Seq{}
			var mu sync.Mutex
			var all sync.WaitGroup
			for w := range sessions {
				all.Go(func() {
					for i := range rounds {
						if w == 0 {
							_, err := s.Commit(t.Context(), breakIt.of(i))
							unavailable(t, err, "WRONGTYPE")
							continue
						}
						session := fmt.Sprint("s", w)
						r, err := s.Commit(t.Context(), bridge.Batch{
							Claims: []bridge.Claim{{Session: session, Key: fmt.Sprint(i)}}, Events: []bridge.Event{message(session, fmt.Sprint(i))},
						})
						if err != nil || len(r.Seqs) != 1 {
							t.Errorf("Commit: %+v, %v", r, err)
							continue
						}
						mu.Lock()
						before[r.Seqs[0]] = r.After
						mu.Unlock()
					}
				})
			}
			all.Wait()
			entries, err := s.Read(t.Context(), 0, 1000, 0)
			if err != nil || len(entries) != (sessions-1)*rounds {
				t.Errorf("the log has %d entries, %v; want %d", len(entries), err, (sessions-1)*rounds)
			}
			last := bridge.Seq(0)
			for _, e := range entries {
				if after, ok := before[e.Seq]; !ok || after != last {
					t.Fatalf("entry %d (answered: %v) was said to stand behind %d; it stands behind %d", e.Seq, ok, after, last)
				}
				last = e.Seq
			}
		})
	}
}

// TestBrokenLog: when a key that every commit needs is not ours, nothing is written.
func TestBrokenLog(t *testing.T) {
	for _, key := range []string{keySeq, keyLog, keyWords, keyLanes} {
		server := redistest.Start(t)
		s := opened(t, server.URL(), Options{})
		admin := plain(t, server.URL())
		if err := admin.RPush(t.Context(), key, "not ours").Err(); err != nil {
			t.Fatal(err)
		}
		for _, b := range []bridge.Batch{batch("a"), {Events: []bridge.Event{message("s", "x")}}} {
			_, err := s.Commit(t.Context(), b)
			unavailable(t, err, "WRONGTYPE")
		}
		if keys, err := admin.Keys(t.Context(), "*").Result(); err != nil || len(keys) != 1 {
			t.Errorf("there is %q, %v", keys, err)
		}
	}
}

// TestNoRights: a user who may not append loses no claim by trying.
func TestNoRights(t *testing.T) {
	server := redistest.Start(t)
	admin := plain(t, server.URL())
	for _, rule := range []string{"-xadd", "+xadd"} {
		if err := admin.ACLSetUser(t.Context(), "u", "on", ">p", "~*", "+@all", rule).Err(); err != nil {
			t.Fatal(err)
		}
		s := opened(t, "redis://u:p@"+server.Addr, Options{})
		for _, b := range []bridge.Batch{batch("a"), {Claims: []bridge.Claim{{Key: "free"}}, Events: []bridge.Event{message("s", "x")}}} {
			r, err := s.Commit(t.Context(), b)
			if rule == "-xadd" {
				unavailable(t, err, "the user of REDIS_URL needs the commands")
			} else if err != nil || r.Duplicate {
				t.Errorf("Commit: %+v, %v", r, err)
			}
		}
	}
}

// monitor watches what scripts do: each command within one must be for a key that the call names. The function that it
// returns ends that, and returns the first fault.
func monitor(t *testing.T, server *redistest.Server) func() error {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprint(conn, "MONITOR\r\n"); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(conn)
	if ok, err := lines.ReadString('\n'); err != nil || ok != "+OK\r\n" {
		t.Fatalf("MONITOR: %q, %v", ok, err)
	}
	const last = "the last command"
	watched := make(chan error, 1)
	go func() {
		defer func() { _ = conn.Close() }()
		var named []string
		var fault error
		for scripts := 0; ; {
			line, err := lines.ReadString('\n')
			if err != nil {
				watched <- err
				return
			}
			where, words := monitored(line)
			key := words[1]
			switch name := strings.ToLower(words[0]); {
			case name == "ping" && key == last:
				if fault == nil && scripts < 1000 {
					fault = fmt.Errorf("only %d scripts ran", scripts)
				}
				watched <- fault
				return
			case name == "eval" || name == "evalsha":
				n, _ := strconv.Atoi(words[2])
				named = words[3 : 3+n]
				scripts++
				continue
			case !strings.HasSuffix(where, " lua") || name == "time":
				continue
			case name == "xinfo":
				key = words[2]
			}
			if fault == nil && !slices.Contains(named, key) {
				fault = fmt.Errorf("%.200q is for a key that its script was not given: %.500q", words, named)
			}
		}
	}()
	return func() error {
		if err := plain(t, server.URL()).Do(t.Context(), "ping", last).Err(); err != nil {
			return err
		}
		return <-watched
	}
}

// monitored takes a line of MONITOR apart: +time [database client] "word" "word" …
func monitored(line string) (where string, words []string) {
	line = strings.TrimSuffix(line, "\r\n")
	_, rest, _ := strings.Cut(line, "[")
	where, rest, _ = strings.Cut(rest, "] ")
	for rest != "" {
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			break
		}
		word, _ := strconv.Unquote(quoted)
		words = append(words, word)
		rest = strings.TrimPrefix(rest[len(quoted):], " ")
	}
	return where, append(words, "")
}

// TestOwnersAreTidied: a row that another session gets, or nobody, is soon off the list of the one that had it.
func TestOwnersAreTidied(t *testing.T) {
	server := redistest.Start(t)
	s := opened(t, server.URL(), Options{})
	row := func(key, owner string) bridge.Row {
		return bridge.Row{Table: "t", Key: key, Value: []byte("v"), Session: owner}
	}
	for _, rows := range [][]bridge.Row{
		{row("moved", "a"), row("freed", "a"), row("gone", "a"), row("own", "a"), row("kept", "a")},
		{row("moved", "b"), row("freed", ""), {Table: "t", Key: "gone"}, {Table: "t", Key: "own", Session: "a"}},
	} {
		if _, err := s.Commit(t.Context(), bridge.Batch{Rows: rows}); err != nil {
			t.Fatal(err)
		}
	}
	admin := plain(t, server.URL())
	eventually(t, "a owns one row", func() bool {
		members, err := admin.SMembers(t.Context(), keyOwned+"a").Result()
		return err == nil && slices.Equal(members, []string{"t\x00kept"})
	})
	if members, err := admin.SMembers(t.Context(), keyOwned+"b").Result(); err != nil || !slices.Equal(members, []string{"t\x00moved"}) {
		t.Errorf("b owns %q, %v", members, err)
	}
}

// TestForgetLooksAgain: a session that came to own more meanwhile stays until that is gone too.
func TestForgetLooksAgain(t *testing.T) {
	s := opened(t, redistest.Start(t).URL(), Options{})
	r, err := s.Commit(t.Context(), bridge.Batch{
		Events: []bridge.Event{message("s", "x")},
		Rows:   []bridge.Row{{Table: "t", Key: "k", Value: []byte("v"), Session: "s"}, {Table: "u", Key: "k", Value: []byte("v"), Session: "s"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	args := []any{text(r.Seqs[0] + 1), 1, "s", 1, 1, "t", 1, "k"}
	keys := []string{keyWords, keyClaims + "s", keyOwned + "s", keyRows + "t", keyIndex + "t"}
	if n, err := forgetScript.Run(t.Context(), s.write, keys, args...).Int(); err != nil || n != 0 {
		t.Errorf("without table u: %d, %v", n, err)
	}
	if value, err := s.Get(t.Context(), "t", "k"); err != nil || value != nil {
		t.Errorf("Get: %q, %v", value, err)
	}
	if claimed, err := s.Claimed(t.Context(), "s", "m"); err != nil || len(claimed) != 1 {
		t.Errorf("Claimed: %v, %v", claimed, err)
	}
	if n, err := s.Forget(t.Context(), r.Seqs[0]+1); err != nil || n != 1 {
		t.Errorf("Forget: %d, %v", n, err)
	}
	if value, err := s.Get(t.Context(), "u", "k"); err != nil || value != nil {
		t.Errorf("Get: %q, %v", value, err)
	}
}

// TestLeaseOfAnEarlierVersion: a lease that says nothing of a process is in doubt.
func TestLeaseOfAnEarlierVersion(t *testing.T) {
	server := redistest.Start(t)
	s := opened(t, server.URL(), Options{})
	if err := plain(t, server.URL()).Set(t.Context(), keyLease+"l", "TOKEN", time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	if held, err := s.Acquire(t.Context(), bridge.Lease{Name: "l", Token: "1"}, time.Minute); err != nil || held {
		t.Errorf("Acquire: %v, %v", held, err)
	}
}
