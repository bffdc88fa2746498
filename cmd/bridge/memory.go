package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// How much memory the collector leaves to garbage. Most garbage is of requests, and with a small heap a fixed share of it would
// be cleared many times a second; so it is about garbageRoom, but no more than gcMost percent of what is in use. A large heap is
// that of a long backlog or of many open pages, which is in use: there it is half as much again. There is no limit on the whole. One below
// what is in use would have the collector run all the time, and nobody but the owner of the machine knows a better one: GOMEMLIMIT
// and GOGC, where they are set, go before all this.
const (
	garbageRoom = 32 << 20
	gcMost      = 400
	gcLeast     = 50
)

// tune sets the collector by the heap in use until ctx ends. It looks after each collection: within a second many pages may open.
func tune(ctx context.Context, getenv func(string) string) {
	if getenv("GOGC") != "" || getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetGCPercent(gcMost)
	collected := make(chan struct{}, 1)
	tellCollected(ctx, collected)
	go func() {
		now := gcMost
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		for {
			select {
			case <-ctx.Done():
				return
			case <-collected:
			}
			metrics.Read(live)
			if live[0].Value.Kind() != metrics.KindUint64 {
				return
			}
			next := gcPercent(live[0].Value.Uint64())
			// A change stops the world for a moment.
			if next*10 < now*9 || next*9 > now*10 || next != now && (next == gcLeast || next == gcMost) {
				now = next
				debug.SetGCPercent(now)
			}
		}
	}()
}

// tellCollected tells c of each collection until ctx ends, by an object that nobody holds.
func tellCollected(ctx context.Context, c chan<- struct{}) {
	runtime.AddCleanup(&struct{ _ [64]byte }{}, func(c chan<- struct{}) {
		select {
		case c <- struct{}{}:
		default: // it is told already
		}
		if ctx.Err() == nil {
			tellCollected(ctx, c)
		}
	}, c)
}

// gcPercent is the collector's setting for so much memory in use.
func gcPercent(live uint64) int {
	if live == 0 {
		return gcMost
	}
	return int(min(max(100*garbageRoom/live, gcLeast), gcMost))
}
