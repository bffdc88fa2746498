package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/sandbox/soak"
	"github.com/pocketping/bridge/internal/store/bolt"
	"github.com/pocketping/bridge/internal/store/filltest"
	"github.com/pocketping/bridge/internal/store/redis"
	"github.com/pocketping/bridge/internal/store/redis/redistest"
)

// leave has a bridge serve two sessions, one that was answered and one that waits, and returns all that is left of them, and
// what is left that is of no session.
func leave(t *testing.T) (sessions []filltest.Session, rest []bridge.Row) {
	t.Helper()
	ids := []string{"model-answered", "model-waiting"}
	r := newRig(t)
	server := redistest.Start(t)
	r.env["REDIS_URL"] = server.URL()
	r.start()
	if code, answer := r.ask(http.MethodPut, "/api/callbacks/web-1", "", fmt.Sprintf(`{"url":%q}`, r.app.url)); code != http.StatusCreated {
		t.Fatal(answer)
	}
	for _, session := range ids {
		for i := range 3 {
			body := message(session, fmt.Sprint("m", i), "I have a question about what is in stock, number "+fmt.Sprint(i))
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.process().base+"/api/messages", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-PocketPing-Callback", "web-1")
			resp, err := r.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		r.until("in the topic", func() bool { return len(r.topics(session)) == 1 && len(r.shown(r.topics(session)[0].ID)) == 3 })
	}
	r.telegram.Say(r.chat, r.topics("model-answered")[0].ID, r.ana.ID, "It is.")
	r.until("answered", func() bool { return len(r.app.of("operator_message")) > 0 })
	r.until("in order", func() bool { return filltest.InOrder(t, server.Addr) })
	if code := r.process().Exit(); code != 0 {
		t.Fatalf("it ended with %d", code)
	}
	return filltest.Left(t, server.Addr, ids...)
}

// resident returns how much memory a process has, and how much of that no file stands behind, in MiB.
func resident(t *testing.T, p *proc) (all, anonymous int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 {
			n, _ := strconv.Atoi(fields[1])
			switch fields[0] {
			case "VmRSS:":
				all = n >> 10
			case "RssAnon:":
				anonymous = n >> 10
			}
		}
	}
	return all, anonymous
}

// accepts returns how many messages a bridge without platforms takes in a second, of so many sessions that lie evenly among the stored ones.
func accepts(r *rig, stored, active int, d time.Duration) float64 {
	var taken atomic.Int64
	var clients sync.WaitGroup
	run := rand.Uint64()
	begun := time.Now()
	for range 32 {
		clients.Go(func() {
			for time.Since(begun) < d {
				n := taken.Add(1)
				session := filltest.ID(rand.IntN(active) * (stored / active))
				if code, _, err := r.post("/api/messages", message(session, fmt.Sprint("x", run, "-", n), "one more question")); err != nil || code != http.StatusOK {
					r.t.Errorf("%d %v", code, err)
					return
				}
			}
		})
	}
	clients.Wait()
	return float64(taken.Load()) / time.Since(begun).Seconds()
}

// TestStoredSessions starts a bridge on a store with very many sessions: it works at once, with little memory, and reads of them
// what it needs.
func TestStoredSessions(t *testing.T) {
	many := 50_000
	if soak.Asked() {
		many = 1_000_000
	} else {
		t.Parallel()
	}
	like, rest := leave(t)
	for _, kind := range []string{"bolt", "redis"} {
		t.Run(kind, func(t *testing.T) {
			var few float64
			for _, n := range []int{1000, many} {
				r := newRig(t)
				r.env["UNANSWERED_AFTER"] = "24h" // the stored sessions are all of one moment
				var server *redistest.Server
				if kind == "bolt" {
					r.env["DATA_DIR"] = t.TempDir()
					s, err := bolt.Open(filepath.Join(r.env["DATA_DIR"], "bridge.db"), bolt.Options{})
					if err != nil {
						t.Fatal(err)
					}
					filltest.Fill(t, s, filltest.Committing(s), n, like, rest)
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
				} else {
					server = redistest.Start(t)
					r.env["REDIS_URL"] = server.URL()
					s, err := redis.Open(t.Context(), server.URL(), redis.Options{})
					if err != nil {
						t.Fatal(err)
					}
					client := goredis.NewClient(&goredis.Options{Addr: server.Addr, ReadTimeout: time.Minute})
					filltest.Fill(t, s, filltest.Piping(client), n, like, rest)
					_ = client.Close()
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
					watchRedis(t, server)
				}
				begun := time.Now()
				p := r.start()
				listens := time.Since(begun)
				r.must("/api/messages", message("fresh", "m1", "hello"))
				r.until("in the topic", func() bool { return len(r.topics("fresh")) == 1 })
				shown := time.Since(begun)
				r.telegram.Say(r.chat, r.topics("fresh")[0].ID, r.ana.ID, "hello to you")
				r.until("answered", func() bool { return len(r.app.of("operator_message")) == 1 })
				answered := time.Since(begun)
				// They are counted a moment after the start, and a new one after its first word; a busy machine takes its time.
				count, said := fmt.Sprint(n+1, " open conversations"), ""
				for asked := 1; !strings.Contains(said, count); asked++ {
					<-time.After(200 * time.Millisecond) // each question is work for the bridge that counts
					r.telegram.Say(r.chat, 0, r.ana.ID, "/status")
					r.until("told how many there are: "+count, func() bool {
						said = fmt.Sprint(r.telegram.Messages(r.chat, 0))
						return strings.Count(said, " open conversations") == asked
					})
					if asked == 1000 {
						t.Fatalf("with %d sessions it says %s", n, said[len(said)-1000:])
					}
				}
				all, anonymous := resident(t, p)
				result := fmt.Sprintf("%d stored: listens after %.2f s, shows after %.2f s, answers after %.2f s; %d MiB resident, %d MiB of it its own",
					n, listens.Seconds(), shown.Seconds(), answered.Seconds(), all, anonymous)
				if kind == "redis" {
					result += "; " + redisSaw(t, server)
				}
				if code := p.Exit(); code != 0 {
					t.Errorf("it ended with %d:\n%s", code, p.Output())
				}
				if !soak.Asked() {
					t.Log(result)
					continue
				}
				for name := range r.telegramEnv() {
					delete(r.env, name)
				}
				p = r.launch()
				r.mu.Lock()
				r.proc = p
				r.mu.Unlock()
				rate := accepts(r, n, 1000, 10*time.Second)
				all, anonymous = resident(t, p)
				result += fmt.Sprintf("; takes %.0f messages a second of 1000 of them, then %d MiB resident, %d MiB of it its own", rate, all, anonymous)
				if n == many {
					result += fmt.Sprintf("; %.2f of what it takes with 1000 stored", rate/few)
					result += fmt.Sprintf("; %.0f a second of any of them, each of which is read and written by itself", accepts(r, n, n, 10*time.Second))
				}
				if few = rate; kind == "redis" {
					result += "; " + redisSaw(t, server)
				}
				p.Exit()
				soak.Row(t, "%s", result)
			}
		})
	}
}

// watchRedis begins to look at what a server does, when it has written its file anew for what the loader has put into it: a fork of all that
// slows it down.
func watchRedis(t *testing.T, server *redistest.Server) {
	t.Helper()
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr})
	defer func() { _ = client.Close() }()
	for {
		info, err := client.InfoMap(t.Context(), "persistence").Result()
		if err != nil {
			t.Fatal(err)
		}
		if at := info["Persistence"]; at["aof_rewrite_in_progress"] == "0" && at["aof_rewrite_scheduled"] == "0" && at["rdb_bgsave_in_progress"] == "0" {
			break
		}
		<-time.After(50 * time.Millisecond)
	}
	for _, args := range [][]any{
		{"config", "set", "slowlog-log-slower-than", 50_000}, {"config", "set", "slowlog-max-len", 1000},
		{"slowlog", "reset"}, {"config", "resetstat"},
	} {
		if err := client.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// redisSaw says what a server has done since, and fails the test when that grows with what is stored.
func redisSaw(t *testing.T, server *redistest.Server) string {
	t.Helper()
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr})
	defer func() { _ = client.Close() }()
	stats, err := client.InfoMap(t.Context(), "stats", "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, whole := range []string{"cmdstat_hgetall", "cmdstat_smembers", "cmdstat_keys"} {
		if calls := stats["Commandstats"][whole]; calls != "" {
			t.Errorf("%s: %s", whole, calls)
		}
	}
	out, err := strconv.Atoi(stats["Stats"]["total_net_output_bytes"])
	if err != nil || out > 4<<20 && !soak.Asked() {
		t.Errorf("%d bytes were read, %v", out, err)
	}
	slow, err := client.SlowLogGet(t.Context(), -1).Result()
	if err != nil {
		t.Fatal(err)
	}
	// How long a command took is said and fails nothing: on a machine that does other things as well, any of them waits its turn.
	longest := time.Duration(0)
	for _, one := range slow {
		longest = max(longest, one.Duration)
		t.Logf("slow: %v %.200q", one.Duration, one.Args)
	}
	return fmt.Sprintf("%d KiB read from Redis, %d commands over 50 ms, the longest %v", out>>10, len(slow), longest)
}
