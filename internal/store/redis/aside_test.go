package redis

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/store/redis/redistest"
)

// hearing is what a bridge hears from the others.
type hearing struct {
	*Aside
	mu  sync.Mutex
	all []string
}

func (h *hearing) heard() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.all)
}

// Bridges on one database hear each other and not themselves; those on another database hear nothing of it. With the few rights that the
// documentation names it is the same, and a lost connection is made again.
func TestAside(t *testing.T) {
	server := redistest.Start(t)
	user := withFewRights(t, server)
	ctx, end := context.WithCancel(t.Context())
	var work sync.WaitGroup
	t.Cleanup(work.Wait)
	t.Cleanup(end)
	at := func(url string) *hearing {
		h := &hearing{Aside: opened(t, url, Options{}).Aside(slog.New(slog.NewTextHandler(t.Output(), nil)))}
		work.Go(func() {
			h.Run(ctx, func(text []byte) {
				h.mu.Lock()
				defer h.mu.Unlock()
				h.all = append(h.all, string(text))
			})
		})
		return h
	}
	// The cleanups end the listening before the stores are closed.
	one, two, few, other := at(server.URL()), at(server.URL()), at("redis://"+user), at(strings.TrimSuffix(server.URL(), "/0")+"/1")
	tell := func(from *hearing, text string, to ...*hearing) {
		t.Helper()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for hung := time.After(2 * time.Minute); ; {
			// It is told until it is heard: who does not listen yet, or not any more, does not hear it.
			if err := from.Tell(ctx, []byte(text)); err != nil && !strings.Contains(err.Error(), "closed") {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(to, func(h *hearing) bool { return !slices.Contains(h.heard(), text) }) {
				return
			}
			select {
			case <-tick.C:
			case <-hung:
				t.Fatalf("%q is not heard by all", text)
			}
		}
	}
	tell(one, "from one", two, few)
	tell(few, "from few", one, two)
	if err := plain(t, server.URL()).Do(ctx, "CLIENT", "KILL", "TYPE", "pubsub").Err(); err != nil {
		t.Fatal(err)
	}
	tell(two, "again, from two", one, few)
	if slices.Contains(one.heard(), "from one") || slices.Contains(few.heard(), "from few") || slices.Contains(two.heard(), "again, from two") {
		t.Error("a bridge hears itself")
	}
	// A user without the rights for it has a store all the same.
	if err := plain(t, server.URL()).Do(ctx, "ACL", "SETUSER", "bridge", "resetchannels", "-publish", "-subscribe").Err(); err != nil {
		t.Fatal(err)
	}
	if err := few.Tell(ctx, []byte("without rights")); err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("without rights: %v", err)
	}
	if err := few.store.Ping(ctx); err != nil {
		t.Error(err)
	}
	if got := other.heard(); len(got) > 0 {
		t.Errorf("a bridge on another database hears %q", got)
	}
}
