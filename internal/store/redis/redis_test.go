package redis

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/store"
	"github.com/pocketping/bridge/internal/store/redis/redistest"
	"github.com/pocketping/bridge/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, url string, o Options) *Store {
	t.Helper()
	s, err := Open(context.Background(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func opened(t testing.TB, url string, o Options) *Store {
	t.Helper()
	s := open(t, url, o)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// plain returns a client for what a Store does not do.
func plain(t testing.TB, url string) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func message(session, text string) bridge.Event {
	body, err := json.Marshal(map[string]string{"text": text})
	if err != nil {
		panic(err)
	}
	return bridge.Event{Type: bridge.TypeVisitorMessage, Origin: bridge.OriginApp, Session: session, Body: body}
}

func batch(key string) bridge.Batch {
	return bridge.Batch{Claims: []bridge.Claim{{Session: "s", Key: key}}, Events: []bridge.Event{message("s", key)}}
}

func TestStore(t *testing.T) {
	server := redistest.Start(t)
	faults := monitor(t, server)
	user := withFewRights(t, server)
	var database atomic.Int64
	storetest.Run(t, func(t *testing.T) storetest.Place {
		number := int(database.Add(1))
		url := server.Database(number)
		return storetest.Place{
			// Who watches the server makes it slow where values are large.
			Open: func(t *testing.T) store.Store {
				return open(t, fmt.Sprintf("redis://%s/%d", user, number)+"?read_timeout=30s&write_timeout=30s", Options{})
			},
			Shared: true,
			Ended:  endedOn(url),
			Lose: func(t *testing.T) {
				if err := plain(t, url).FlushDB(t.Context()).Err(); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
	// Clusters and Redis's likes want every key of a script named.
	if err := faults(); err != nil {
		t.Error(err)
	}
}

// endedOn opens a store as a process that has ended; nil where nobody can know that it has.
func endedOn(url string) func(t *testing.T) store.Store {
	ended := store.ThisProcess()
	if ended == (store.Process{}) {
		return nil
	}
	ended.ID, ended.Started = 1<<22+1, 1 // no process's id has more than 22 bits
	return func(t *testing.T) store.Store { return open(t, url, Options{process: ended}) }
}

// TestStoreClock runs what there is on clocks on a stand-in whose clock can be moved.
func TestStoreClock(t *testing.T) {
	storetest.RunClock(t, func(t *testing.T) storetest.Place {
		server := miniredis.RunT(t)
		var offset time.Duration
		server.ClockTTL(true)
		return storetest.Place{
			// Its Lua is slow.
			Open: func(t *testing.T) store.Store {
				return open(t, "redis://"+server.Addr()+"?read_timeout=30s", Options{})
			},
			Shared: true,
			Lose:   func(*testing.T) { server.FlushAll() },
			Advance: func(d time.Duration) {
				offset += d
				server.SetTime(time.Now().Add(offset))
			},
		}
	})
}

// TestStoreCluster runs the suite on a cluster of one node.
func TestStoreCluster(t *testing.T) {
	server := redistest.Start(t, "--cluster-enabled", "yes")
	user := withFewRights(t, server)
	admin := plain(t, server.URL())
	if err := admin.ClusterAddSlotsRange(t.Context(), 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the cluster is up", func() bool {
		info, err := admin.ClusterInfo(t.Context()).Result()
		return err == nil && strings.Contains(info, "cluster_state:ok")
	})
	storetest.Run(t, func(t *testing.T) storetest.Place {
		if err := admin.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		return storetest.Place{
			Open: func(t *testing.T) store.Store {
				return open(t, "redis+cluster://"+user+","+server.Addr, Options{})
			},
			Shared: true,
		}
	})
	s := opened(t, "redis://"+server.Addr+"?cluster=true", Options{})
	if r, err := s.Commit(t.Context(), batch("a")); err != nil || len(r.Seqs) != 1 {
		t.Errorf("Commit: %+v, %v", r, err)
	}
}

// eventually calls until it is true; the deadline only ends a test that hangs.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(2 * time.Minute); !is(); <-again.C {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func unavailable(t *testing.T, err error, cause string) {
	t.Helper()
	if !errors.Is(err, bridge.ErrUnavailable) || !strings.Contains(err.Error(), cause) {
		t.Errorf("%v, want unavailable for %s", err, cause)
	}
}

// TestKill kills Redis while many commit, twice. What was answered is there after each restart, in order, and the store
// works on without being opened again. With everysec Redis may answer before it has written, while a sync takes long.
func TestKill(t *testing.T) {
	server := redistest.Start(t, "--appendfsync", "always")
	s := opened(t, server.URL(), Options{})
	const writers = 16
	var mu sync.Mutex
	answered := make(map[string]bridge.Seq)
	for round := range 2 {
		var done atomic.Int64
		killed := make(chan struct{})
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := 0; ; i++ {
					key := fmt.Sprint(round, "/", w, "/", i)
					r, err := s.Commit(context.Background(), batch(key))
					if err != nil {
						unavailable(t, err, "redis: ")
						return
					}
					mu.Lock()
					answered[key] = r.Seqs[0]
					mu.Unlock()
					if done.Add(1) == 500 {
						close(killed)
					}
				}
			})
		}
		<-killed
		server.Kill()
		wg.Wait()
		unavailable(t, s.Ping(t.Context()), "connection refused")

		server.Restart()
		r, err := s.Commit(t.Context(), batch(fmt.Sprint("after ", round)))
		if err != nil || len(r.Seqs) != 1 {
			t.Fatalf("Commit: %+v, %v", r, err)
		}
		entries, err := s.Read(t.Context(), 0, 1_000_000, 0)
		if err != nil {
			t.Fatal(err)
		}
		found := make(map[bridge.Seq]bridge.Event, len(entries))
		for _, e := range entries {
			found[e.Seq] = e.Event
		}
		for key, seq := range answered {
			if want := message("s", key); string(found[seq].Body) != string(want.Body) {
				t.Fatalf("%s is not at %d but %s", key, seq, found[seq].Body)
			}
		}
	}
	t.Logf("%d commits were answered", len(answered))
}

func TestReadThroughRestart(t *testing.T) {
	server := redistest.Start(t)
	s := opened(t, server.URL(), Options{})
	ended := make(chan error)
	go func() {
		_, err := s.Read(t.Context(), 0, 1, time.Minute)
		ended <- err
	}()
	eventually(t, "a blocked read", func() bool {
		info, err := s.write.Info(t.Context(), "clients").Result()
		return err == nil && strings.Contains(info, "blocked_clients:1")
	})
	server.Kill()
	unavailable(t, <-ended, "redis: ")
	server.Restart()
	if _, err := s.Commit(t.Context(), batch("a")); err != nil {
		t.Fatal(err)
	}
	if entries, err := s.Read(t.Context(), 0, 1, time.Minute); err != nil || len(entries) != 1 {
		t.Errorf("Read: %v, %v", entries, err)
	}
}

func TestFull(t *testing.T) {
	server := redistest.Start(t)
	s := opened(t, server.URL(), Options{})
	admin := plain(t, server.URL())
	if _, err := s.Commit(t.Context(), batch("before")); err != nil {
		t.Fatal(err)
	}
	if err := admin.ConfigSet(t.Context(), "maxmemory", "1mb").Err(); err != nil {
		t.Fatal(err)
	}
	b := batch("full")
	b.Rows = []bridge.Row{{Table: "t", Key: "k", Value: []byte("x"), Session: "s"}, {Table: "t", Key: "gone"}}
	_, err := s.Commit(t.Context(), b)
	unavailable(t, err, "OOM")
	unavailable(t, s.Ping(t.Context()), "OOM")
	if entries, err := s.Read(t.Context(), 0, 10, 0); err != nil || len(entries) != 1 {
		t.Errorf("Read: %v, %v", entries, err)
	}
	if value, err := s.Get(t.Context(), "t", "k"); err != nil || value != nil {
		t.Errorf("Get: %q, %v", value, err)
	}
	if err := admin.ConfigSet(t.Context(), "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Commit(t.Context(), b); err != nil || r.Duplicate {
		t.Errorf("Commit: %+v, %v", r, err)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestReplica(t *testing.T) {
	server := redistest.Start(t)
	var log bytes.Buffer
	s := opened(t, server.URL(), Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	admin := plain(t, server.URL())
	if err := admin.ReplicaOf(t.Context(), "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := s.Commit(t.Context(), batch("a"))
		unavailable(t, err, "READONLY")
	}
	unavailable(t, s.Ping(t.Context()), "READONLY")
	if err := admin.ReplicaOf(t.Context(), "NO", "ONE").Err(); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "b"} {
		if r, err := s.Commit(t.Context(), batch(key)); err != nil || r.Duplicate {
			t.Errorf("Commit: %+v, %v", r, err)
		}
	}
	if n := strings.Count(log.String(), "the store does not take writes"); n != 1 {
		t.Errorf("the outage is said %d times:\n%s", n, &log)
	}
	if n := strings.Count(log.String(), "the store takes writes again"); n != 1 {
		t.Errorf("its end is said %d times:\n%s", n, &log)
	}
}

// TestPaused has a Redis that does not answer: nobody waits for longer than they want to.
func TestPaused(t *testing.T) {
	server := redistest.Start(t)
	s := opened(t, server.URL()+"?read_timeout=300ms", Options{})
	if _, err := s.Commit(t.Context(), batch("before")); err != nil {
		t.Fatal(err)
	}
	server.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := s.Commit(ctx, batch("left"))
	unavailable(t, err, "the caller left")
	if _, err := s.Read(ctx, 0, 1, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Read: %v", err)
	}
	_, err = s.Commit(t.Context(), batch("paused"))
	unavailable(t, err, "timeout")
	// Of many at once, too, whose connections are not enough for all.
	var wg sync.WaitGroup
	start := time.Now()
	for range 100 {
		wg.Go(func() {
			if err := s.Ping(t.Context()); !errors.Is(err, bridge.ErrUnavailable) {
				t.Errorf("Ping: %v", err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("100 pings took %v", took)
	} else {
		t.Logf("100 pings took %v", took)
	}
	server.Resume()
	// Each was written or was not, once.
	for _, key := range []string{"left", "paused", "after"} {
		if _, err := s.Commit(t.Context(), batch(key)); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := s.Read(t.Context(), 0, 100, 0)
	if err != nil || len(entries) != 4 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
}

func TestScriptsFlushed(t *testing.T) {
	server := redistest.Start(t)
	replica := redistest.Start(t, "--replicaof", "127.0.0.1", portOf(server))
	eventually(t, "a replica", func() bool {
		n, err := plain(t, server.URL()).Wait(t.Context(), 1, time.Second).Result()
		return err == nil && n == 1
	})
	for _, wait := range []int{0, 1} {
		s := opened(t, server.URL(), Options{Wait: wait})
		for i := range 3 {
			if err := plain(t, server.URL()).ScriptFlush(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			if r, err := s.Commit(t.Context(), batch(fmt.Sprint(wait, i))); err != nil || r.Duplicate {
				t.Errorf("Commit: %+v, %v", r, err)
			}
		}
	}
	replica.Kill()
}

func portOf(s *redistest.Server) string {
	_, port, _ := strings.Cut(s.Addr, ":")
	return port
}

func TestWait(t *testing.T) {
	server := redistest.Start(t)
	s := opened(t, server.URL(), Options{Wait: 1, waiting: 50 * time.Millisecond})
	_, err := s.Commit(t.Context(), batch("a"))
	unavailable(t, err, "0 of the 1 replicas")
	// A duplicate of what no replica has is not answered either.
	_, err = s.Commit(t.Context(), batch("a"))
	unavailable(t, err, "0 of the 1 replicas")

	redistest.Start(t, "--replicaof", "127.0.0.1", portOf(server))
	var r bridge.Result
	eventually(t, "a commit with a replica", func() bool {
		r, err = s.Commit(t.Context(), batch("a"))
		return err == nil
	})
	if !r.Duplicate || r.First == 0 {
		t.Errorf("Commit: %+v", r)
	}
	eventually(t, "another one", func() bool {
		r, err = s.Commit(t.Context(), batch("b"))
		return err == nil
	})
	if !r.Duplicate && len(r.Seqs) != 1 {
		t.Errorf("Commit: %+v", r)
	}
}

// TestSeqIsOfTheLog: which Seq is next is what the log says, whatever the key says that earlier versions ask.
func TestSeqIsOfTheLog(t *testing.T) {
	server := redistest.Start(t)
	s := opened(t, server.URL(), Options{})
	admin := plain(t, server.URL())
	// The newest Seq is ahead of the clock, as after a clock that was put right.
	ahead := bridge.SeqAt(time.Now().Add(time.Hour))
	if err := admin.XAdd(t.Context(), &redis.XAddArgs{Stream: keyLog, ID: text(ahead) + "-0", Values: []any{"e", "{}\n"}}).Err(); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bridge.Seq{ahead + 1, ahead + 2, ahead + 3} {
		r, err := s.Commit(t.Context(), batch(fmt.Sprint(i)))
		if err != nil || r.Seqs[0] != want || r.After != want-1 {
			t.Fatalf("Commit: %+v, %v; want %d", r, err, want)
		}
	}
	// A key that stands still, or is lost, changes nothing; nor does it that the log is trimmed.
	if err := s.Trim(t.Context(), ahead+100); err != nil {
		t.Fatal(err)
	}
	for i, do := range []func() error{
		func() error { return admin.Set(t.Context(), keySeq, uint64(ahead), 0).Err() },
		func() error { return admin.Del(t.Context(), keySeq).Err() },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
		want := ahead + 4 + bridge.Seq(i)
		if r, err := opened(t, server.URL(), Options{}).Commit(t.Context(), batch(fmt.Sprint("x", i))); err != nil || r.Seqs[0] != want || r.After != want-1 {
			t.Errorf("Commit: %+v, %v; want %d", r, err, want)
		}
	}
}

// TestSeqAfterLoss: the log loses its end, or all of it, and the server's clock is behind. Nothing is given again that a
// bridge has seen or could have been given, or that a lane has finished; and the answer names the entry that the log does have.
func TestSeqAfterLoss(t *testing.T) {
	server := redistest.Start(t)
	admin := plain(t, server.URL())
	s, other := opened(t, server.URL(), Options{}), opened(t, server.URL(), Options{})
	var given []bridge.Seq
	for i := range 3 {
		r, err := s.Commit(t.Context(), batch(fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		given = append(given, r.Seqs...)
	}
	// The server's clock can't be moved; what a bridge knows of it can.
	ahead := bridge.SeqAt(time.Now().Add(time.Hour))
	lose := func() {
		t.Helper()
		pipe := admin.TxPipeline()
		pipe.Del(t.Context(), keyLog, keySeq)
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: keyLog, ID: text(given[0]) + "-0", Values: []any{"e", "{}\n"}})
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s.clock.observe(ahead)
	lose()
	r, err := s.Commit(t.Context(), batch("seen"))
	if err != nil || r.Seqs[0] != ahead+1 || r.After != given[0] {
		t.Errorf("Commit: %+v, %v; want %d after %d", r, err, ahead+1, given[0])
	}
	lose()
	other.clock.is(ahead)
	if r, err = other.Commit(t.Context(), batch("told")); err != nil || r.Seqs[0] <= ahead || r.After != given[0] {
		t.Errorf("Commit: %+v, %v; want more than %d after %d", r, err, ahead, given[0])
	}
	// A process that is new knows the cursors that the store has.
	if _, err := s.Commit(t.Context(), bridge.Batch{Progress: bridge.Progress{Lane: "l", Cursor: ahead + 7}}); err != nil {
		t.Fatal(err)
	}
	lose()
	fresh := opened(t, server.URL(), Options{})
	if state, err := fresh.Lane(t.Context(), "l"); err != nil || state.Cursor != ahead+7 {
		t.Fatalf("Lane: %+v, %v", state, err)
	}
	if r, err := fresh.Commit(t.Context(), batch("cursor")); err != nil || r.Seqs[0] <= ahead+7 || r.After != given[0] {
		t.Errorf("Commit: %+v, %v; want more than %d after %d", r, err, ahead+7, given[0])
	}
	if err := admin.Del(t.Context(), keySeq, keyLog).Err(); err != nil {
		t.Fatal(err)
	}
	if r, err := opened(t, server.URL(), Options{}).Commit(t.Context(), batch("empty")); err != nil || r.Seqs[0] <= ahead+7 || r.After != 0 {
		t.Errorf("Commit: %+v, %v; want more than %d", r, err, ahead+7)
	}
}

func TestKeys(t *testing.T) {
	server := redistest.Start(t)
	s := opened(t, server.URL(), Options{})
	admin := plain(t, server.URL())
	b := batch("m")
	b.Claims = append(b.Claims, bridge.Claim{Key: "free"})
	b.Rows = []bridge.Row{{Table: "t", Key: "k", Value: []byte("v"), Session: "s"}}
	b.Progress = bridge.Progress{Lane: "l", Done: []bridge.Mark{{Seq: 1}}}
	if _, err := s.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Acquire(t.Context(), bridge.Lease{Name: "l", Token: "1"}, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	keys, err := admin.Keys(t.Context(), "*").Result()
	if err != nil || len(keys) != 11 {
		t.Errorf("%d keys, %v: %q", len(keys), err, keys)
	}
	for _, key := range keys {
		if !strings.HasPrefix(key, prefix) {
			t.Errorf("%s", key)
		}
	}
	for key, limit := range map[string]time.Duration{
		keyClaim + "free": bridge.ClaimTTL, keyLease + "l": 10 * time.Second, keyPing: time.Minute,
	} {
		if ttl, err := admin.PTTL(t.Context(), key).Result(); err != nil || ttl > limit || ttl < limit-9*time.Second {
			t.Errorf("%s lives for %v, %v", key, ttl, err)
		}
	}
	if err := s.ForgetSession(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	if keys, err = admin.Keys(t.Context(), "*").Result(); err != nil || len(keys) != 7 {
		t.Errorf("%d keys, %v: %q", len(keys), err, keys)
	}
}

func TestInspect(t *testing.T) {
	const snapshots, nothing, silent = "snapshots only", "persists nothing", "does not tell"
	for _, test := range []struct {
		name string
		args []string
		acl  []string // of a user u
		want string   // error
		log  []string // nil: nothing is said
	}{
		{name: "good"},
		{name: "snapshots", args: []string{"--appendonly", "no", "--save", "60 1"}, log: []string{snapshots, "appendonly yes"}},
		{name: "nothing", args: []string{"--appendonly", "no"}, log: []string{nothing, "appendonly yes"}},
		{name: "eviction", args: []string{"--maxmemory-policy", "allkeys-lru"}, want: "CONFIG SET maxmemory-policy noeviction"},
		{name: "no config", acl: []string{"+@all", "-config"}},
		{name: "no config, eviction", args: []string{"--maxmemory-policy", "volatile-ttl"}, acl: []string{"+@all", "-config"},
			want: "volatile-ttl"},
		{name: "no config, nothing", args: []string{"--appendonly", "no"}, acl: []string{"+@all", "-config"}, log: []string{nothing}},
		{name: "no config, no info", acl: []string{"+@all", "-config", "-info"}, log: []string{silent, "maxmemory-policy", "appendonly"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := redistest.Start(t, test.args...)
			url := server.URL()
			if test.acl != nil {
				rules := append([]string{"on", ">p", "~*"}, test.acl...)
				if err := plain(t, url).ACLSetUser(t.Context(), "u", rules...).Err(); err != nil {
					t.Fatal(err)
				}
				url = "redis://u:p@" + server.Addr
			}
			var log bytes.Buffer
			s, err := Open(t.Context(), url, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("Open: %v, want %s", err, test.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			for _, want := range test.log {
				if !strings.Contains(log.String(), want) {
					t.Errorf("not said: %s\n%s", want, &log)
				}
			}
			if test.log == nil && log.Len() > 0 {
				t.Errorf("said: %s", &log)
			}
		})
	}
}

func TestPasswordIsNeverShown(t *testing.T) {
	server := redistest.Start(t)
	if err := plain(t, server.URL()).ACLSetUser(t.Context(), "u", "on", ">right%5ecret", "~bridge:*", "+@all", "-set").Err(); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{
		"redis://u:wrong5ecret@" + server.Addr:              "WRONGPASS",
		"redis://u:right%255ecret@" + server.Addr:           "can't run this command", // of the commit below
		"redis://:5ecret@127.0.0.1:1":                       "connection refused",
		"redis+sentinel://:5ecret@127.0.0.1:1/m":            "redis: ",
		"redis+cluster://:5ecret@127.0.0.1:1,127.0.0.1:2":   "redis: ",
		"redis://u:5ecret/more@host:6379":                   "%XX",
		"redis://u:5ecret#more@host:6379":                   "%XX",
		"redis://u:5ecret?more@host:6379":                   "%XX",
		"redis://u:5ecret%zz@host:6379":                     "%XX",
		"redis://u:5ecret@host:port":                        "%XX",
		"redis://u:5ecret@host:6379/notanumber":             "database number",
		"redis://u:5ecret@host:6379?what=1":                 "options behind ?",
		"redis://u:5ecret@host:6379?read_timeout=long":      "read_timeout",
		"redis+cluster://u:5ecret@host:6379/3":              "a cluster has only 0",
		"redis+sentinel://u:5ecret@host:6379":               "names no master",
		"redis://u:5ecret@a:1,b:2":                          "several hosts",
		"redis://u:5ecret@a:1?sentinel_password=5ecret":     "redis+sentinel",
		"redis+sentinel://a:1/m?sentinel_password=5ecret&x": "options behind ?",
		"redis+other://u:5ecret@a:1":                        "+sentinel or +cluster",
		"http://u:5ecret@a:1":                               "must begin with",
		"u:5ecret@a:1":                                      "must begin with",
	} {
		s, err := Open(t.Context(), url, Options{})
		if err == nil {
			_, err = s.Commit(t.Context(), batch("a"))
			_ = s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "5ecret") {
			t.Errorf("%s: %v, want %s", url, err, want)
		}
	}
}

func TestParse(t *testing.T) {
	for _, test := range []struct {
		url, hosts, user, password, master string
		db                                 int
		cluster, tls                       bool
	}{
		{url: "redis://h", hosts: "h:6379"},
		{url: "redis://u:p%40@[::1]:7000/3", hosts: "[::1]:7000", user: "u", password: "p@", db: 3},
		{url: "rediss://h:1?db=2", hosts: "h:1", db: 2, tls: true},
		{url: "redis+sentinel://:p@a:1,b,[::1]:3/main/4", hosts: "a:1 b:26379 [::1]:3", password: "p", master: "main", db: 4},
		{url: "rediss+sentinel://a:1?master=main&db=4", hosts: "a:1", master: "main", db: 4, tls: true},
		{url: "rediss+cluster://a:1,b:2", hosts: "a:1 b:2", cluster: true, tls: true},
		{url: "redis://a:1,b:2?cluster=true", hosts: "a:1 b:2", cluster: true},
		{url: "unix://u:p@/run/redis.sock?db=1", hosts: "localhost:6379", user: "u", password: "p", db: 1},
	} {
		got, err := parse(test.url)
		if err != nil {
			t.Errorf("%s: %v", test.url, err)
			continue
		}
		o := got.options
		if strings.Join(got.hosts, " ") != test.hosts || o.Username != test.user || o.Password != test.password ||
			got.master != test.master || o.DB != test.db || got.cluster != test.cluster || (o.TLSConfig != nil) != test.tls {
			t.Errorf("%s: %+v, user %s, password %s, db %d, tls %v", test.url, got, o.Username, o.Password, o.DB, o.TLSConfig != nil)
		}
	}
}

func TestSocket(t *testing.T) {
	socket := t.TempDir() + "/s"
	redistest.Start(t, "--unixsocket", socket)
	s := opened(t, "unix://"+socket+"?db=1", Options{})
	if _, err := s.Commit(t.Context(), batch("a")); err != nil {
		t.Error(err)
	}
}

// TestSentinel finds the master by Sentinel, and the next one after the first is gone.
func TestSentinel(t *testing.T) {
	master := redistest.Start(t)
	replica := redistest.Start(t, "--replicaof", "127.0.0.1", portOf(master))
	config := filepath.Join(t.TempDir(), "sentinel.conf")
	if err := os.WriteFile(config, []byte("sentinel monitor main 127.0.0.1 "+portOf(master)+" 1\n"+
		"sentinel down-after-milliseconds main 200\nsentinel failover-timeout main 2000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sentinel := redistest.Start(t, config, "--sentinel")
	s := opened(t, "redis+sentinel://"+sentinel.Addr+"/main", Options{Wait: 1})
	var first bridge.Result
	eventually(t, "a commit that the replica has", func() (ok bool) {
		var err error
		first, err = s.Commit(t.Context(), batch("a"))
		return err == nil
	})
	admin := redis.NewSentinelClient(&redis.Options{Addr: sentinel.Addr})
	t.Cleanup(func() { _ = admin.Close() })
	eventually(t, "Sentinel knows the replica", func() bool {
		replicas, err := admin.Replicas(t.Context(), "main").Result()
		return err == nil && len(replicas) == 1 && replicas[0]["flags"] == "slave"
	})
	master.Kill()
	other := opened(t, replica.URL(), Options{})
	eventually(t, "the replica is the master", func() bool { return other.Ping(t.Context()) == nil })
	// The client hears of it from Sentinel. What REDIS_WAIT wants there is nobody to give any more.
	eventually(t, "the next master", func() bool {
		_, err := s.Commit(t.Context(), batch("b"))
		return err != nil && strings.Contains(err.Error(), "0 of the 1 replicas")
	})
	if r, err := other.Commit(t.Context(), batch("a")); err != nil || !r.Duplicate || first.First == 0 && r.First != first.Seqs[0] {
		t.Errorf("Commit: %+v, %v; want a duplicate of %+v", r, err, first)
	}
}

// BenchmarkCommit is the cost of an accept: 64 goroutines, each with an event of 500 bytes and a claim.
func BenchmarkCommit(b *testing.B) {
	for _, fsync := range []string{"everysec", "always"} {
		b.Run(fsync, func(b *testing.B) {
			s := opened(b, redistest.Start(b, "--appendfsync", fsync).URL(), Options{})
			var n atomic.Int64
			body := json.RawMessage(`{"text":"` + strings.Repeat("x", 490) + `"}`)
			b.SetParallelism(32) // of 2 processors
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := n.Add(1)
					session := fmt.Sprint("session-", i%1000)
					_, err := s.Commit(context.Background(), bridge.Batch{
						Claims: []bridge.Claim{{Session: session, Key: fmt.Sprint("visitor_message/", i)}},
						Events: []bridge.Event{{Type: bridge.TypeVisitorMessage, Origin: bridge.OriginApp, Session: session, Body: body}},
					})
					if err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkAdd is the floor that one XADD for each request sets.
func BenchmarkAdd(b *testing.B) {
	for _, fsync := range []string{"everysec", "always"} {
		b.Run(fsync, func(b *testing.B) {
			c := plain(b, redistest.Start(b, "--appendfsync", fsync).URL())
			body := strings.Repeat("x", 600)
			b.SetParallelism(32)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := c.XAdd(context.Background(), &redis.XAddArgs{Stream: "log", Values: []any{"e", body}}).Err(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
