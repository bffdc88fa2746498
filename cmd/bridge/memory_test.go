package main

import (
	"math"
	"runtime"
	"testing"
)

func TestGCPercent(t *testing.T) {
	const mib = 1 << 20
	for live, want := range map[uint64]int{
		0: 400, 1: 400, 8 * mib: 400, 16 * mib: 200, 32 * mib: 100, 64 * mib: 50, 1000 * mib: 50, math.MaxUint64: 50,
	} {
		if got := gcPercent(live); got != want {
			t.Errorf("with %d in use: %d, want %d", live, got, want)
		}
	}
}

// Collections are told of, again and again.
func TestCollectionsAreTold(t *testing.T) {
	told := make(chan struct{}, 1)
	tellCollected(t.Context(), told)
	for n := 0; n < 3; {
		runtime.GC()
		select {
		case <-told:
			n++
		default: // a moment later
			runtime.Gosched()
		}
	}
}
