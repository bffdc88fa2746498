package main

import (
	"math"
	"testing"
)

func TestGCPercent(t *testing.T) {
	const mib = 1 << 20
	for live, want := range map[uint64]int{
		0: 400, 1: 400, 10 * mib: 400, 48 * mib: 400, 96 * mib: 200, 192 * mib: 100, 1000 * mib: 100, math.MaxUint64: 100,
	} {
		if got := gcPercent(live); got != want {
			t.Errorf("with %d in use: %d, want %d", live, got, want)
		}
	}
}
