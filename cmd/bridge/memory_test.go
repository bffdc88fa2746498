package main

import (
	"math"
	"testing"
)

func TestGCPercent(t *testing.T) {
	const mib = 1 << 20
	for live, want := range map[uint64]int{
		0: 400, 1: 400, 10 * mib: 400, 12 * mib: 400, 24 * mib: 200, 96 * mib: 50, 1000 * mib: 50, math.MaxUint64: 50,
	} {
		if got := gcPercent(live); got != want {
			t.Errorf("with %d in use: %d, want %d", live, got, want)
		}
	}
}
