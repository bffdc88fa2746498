package onredis

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pocketping/bridge/internal/sandbox/soak"
	"github.com/pocketping/bridge/internal/store/redis/redistest"
)

// tag names the slot in which all keys of the bridge are.
const tag = "{default}"

// The slot in which everything is moves from node to node of a cluster, back and forth, while two bridges take 200 messages a
// second: all that is accepted is shown, in order. It goes by itself: beside it the others' leases would end for want of a processor.
func TestSlotMoves(t *testing.T) {
	rounds, moves := 1, 3
	if soak.Asked() {
		rounds, moves = 10, 8
	}
	for round := range rounds {
		cluster := redistest.StartCluster(t)
		r := newRig(t, cluster.URL())
		r.start()
		r.start()
		// Sessions' keys go one by one, and the bridge's others with them.
		tr := r.begin(40, 200, func() { cluster.Fill(tag, 100) })
		next := 0
		for range moves {
			next += 200
			r.until("at work", func() bool { return tr.taken() >= next })
			keys, took := cluster.Move(tag)
			next = tr.taken()
			t.Logf("%d keys moved in %v", keys, took.Round(time.Millisecond))
		}
		r.until("at work again", func() bool { return tr.taken() >= next+200 })
		tr.end()
		messages, callbacks := r.repeated()
		soak.Row(t, "round %d: %d accepted and shown over %d moves; %.1f %% of %d requests 503; nothing taken for %v at most; %d shown twice, %d callbacks again",
			round+1, tr.taken(), moves, 100*float64(tr.refused)/float64(tr.asked), tr.asked, tr.longest.Round(10*time.Millisecond), messages, callbacks)
	}
}

// One session's key is not what it should be: its messages are refused, and none of the others is lost.
func TestBrokenKey(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	admin := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer func() { _ = admin.Close() }()
	if err := admin.Set(t.Context(), "bridge:"+tag+":claims:broken", "not ours", 0).Err(); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, server.URL())
	r.start()
	const sessions, each = 39, 5
	var all sync.WaitGroup
	all.Go(func() {
		for i := range 20 {
			if code, err := r.post("broken", fmt.Sprint(i)); err != nil || code != http.StatusServiceUnavailable {
				t.Errorf("it is answered with %d, %v", code, err)
			}
		}
	})
	for s := range sessions {
		all.Go(func() {
			for i := range each {
				r.must(fmt.Sprint("v", s), fmt.Sprint(i))
			}
		})
	}
	all.Wait()
	r.until(fmt.Sprintf("all %d shown", sessions*each), func() bool { return r.count() == sessions*each })
}
