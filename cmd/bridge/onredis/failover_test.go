package onredis

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pocketping/bridge/internal/sandbox/soak"
	"github.com/pocketping/bridge/internal/store/redis/redistest"
)

// lostItsEnd is what a bridge says when the log has.
const lostItsEnd = "the log has lost its end"

// fill has some visitors write, and waits until all of it is shown and told.
func (r *rig) fill(name string, messages int) {
	r.t.Helper()
	before := r.count()
	for i := range messages {
		r.must(fmt.Sprint("v", i%10), fmt.Sprint(name, "-", i))
	}
	r.until("all shown", func() bool { return r.count() == before+messages })
	r.quiet(before + messages)
}

// once checks that nothing was shown or told twice.
func (r *rig) once(when string) {
	r.t.Helper()
	if messages, callbacks := r.repeated(); messages+callbacks > 0 {
		r.t.Errorf("%s: %d of %d messages were shown again, %d callbacks came again", when, messages, r.count(), callbacks)
	}
}

// afterLoss looks at a bridge whose store came back without its end: it goes on, and so does the one that follows it.
func (r *rig) afterLoss(p *process) {
	r.t.Helper()
	r.until("noticed", func() bool { return p.says(lostItsEnd) })
	r.fill("after", 20)
	r.once("after the loss")
	p.Exit()
	r.mu.Lock()
	r.bridges = r.bridges[:0]
	r.mu.Unlock()
	r.start()
	r.fill("restarted", 20)
	r.once("after a restart")
}

// A quiet master dies, and its last message with it.
func TestQuietMasterDies(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinels(t, 0)
	r := newRig(t, s.URL())
	p := r.start()
	r.fill("before", 100)
	s.Synced()
	s.Replica.Kill()
	r.fill("lost", 5)
	s.Master.Kill()
	s.Replica.Restart()
	s.Promoted()
	r.afterLoss(p)
}

// The file that Redis appends to loses its end in a crash.
func TestFileIsCut(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r := newRig(t, server.URL())
	p := r.start()
	r.fill("before", 200)
	server.Kill()
	server.CutFile(40_000)
	server.Restart()
	r.afterLoss(p)
}

// Redis comes back from a snapshot.
func TestSnapshotIsRestored(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "no")
	admin := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer func() { _ = admin.Close() }()
	r := newRig(t, server.URL())
	p := r.start()
	r.fill("before", 50)
	if err := admin.Save(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	r.fill("since", 100)
	server.Kill()
	server.Restart()
	r.afterLoss(p)
}

// The master dies under traffic, and with it what came in the last moments; the clock of the next one is 20 seconds behind.
func TestNextMasterIsBehind(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinels(t, 20*time.Second)
	r := newRig(t, s.URL())
	r.start()
	tr := r.begin(20, 100, func() {})
	r.until("at work", func() bool { return tr.taken() >= 300 })
	s.Replica.Kill()
	next := tr.taken() + 100
	r.until("more taken", func() bool { return tr.taken() >= next })
	s.Master.Kill()
	s.Replica.Restart()
	s.Promoted()
	next = tr.taken() + 300
	r.until("at work again", func() bool { return tr.taken() >= next })
	tr.end()
	messages, callbacks := r.repeated()
	soak.Row(t, "%d accepted and shown; nothing taken for %v at most; %d shown twice, %d callbacks again",
		tr.taken(), tr.longest.Round(10*time.Millisecond), messages, callbacks)
	if messages > 0 || callbacks > 0 {
		t.Errorf("%d messages were shown again, %d callbacks came again", messages, callbacks)
	}
}

// A bridge that was killed and starts again on the same machine does not wait for its own lease, however long that lasts.
func TestKilledAndStartedAgain(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	admin := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer func() { _ = admin.Close() }()
	r := newRig(t, server.URL())
	p := r.start()
	r.fill("before", 10)
	p.Kill()
	leases, err := admin.Keys(t.Context(), "bridge:"+tag+":lease:lane/*").Result()
	if err != nil || len(leases) == 0 {
		t.Fatalf("the leases are %q, %v", leases, err)
	}
	for _, lease := range leases {
		if err := admin.Persist(t.Context(), lease).Err(); err != nil {
			t.Fatal(err)
		}
	}
	r.mu.Lock()
	r.bridges = r.bridges[:0]
	r.mu.Unlock()
	began := time.Now()
	r.start()
	listening := time.Since(began)
	r.fill("after", 1)
	soak.Row(t, "first delivery %v after the start, %v after it listened",
		time.Since(began).Round(10*time.Millisecond), (time.Since(began) - listening).Round(10*time.Millisecond))
}
