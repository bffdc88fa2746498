package stats

import (
	"maps"
	"slices"
)

// durations are how many there are of each length, in milliseconds rounded to three digits: a day has a few hundred lengths at most,
// whatever comes, and none is wrong by more than half a percent.
type durations map[int64]int

// add counts a length. One below zero, of clocks that disagree, counts as none.
func (d *durations) add(milliseconds int64) {
	if *d == nil {
		*d = durations{}
	}
	(*d)[rounded(max(milliseconds, 0))]++
}

// rounded leaves a number its first three digits.
func rounded(n int64) int64 {
	unit := int64(1)
	for n/unit >= 1000 {
		unit *= 10
	}
	return (n + unit/2) / unit * unit
}

// merge adds what others are.
func (d durations) merge(others durations) {
	for length, n := range others {
		d[length] += n
	}
}

// median is the length in the middle in seconds, or what is between the two that are; nil: there is none.
func (d durations) median() *float64 {
	n := d.count()
	if n == 0 {
		return nil
	}
	seconds := (d.at((n-1)/2) + d.at(n/2)) / 2
	return &seconds
}

// ninetieth is the length in seconds that nine of ten do not go beyond; nil: there is none.
func (d durations) ninetieth() *float64 {
	n := d.count()
	if n == 0 {
		return nil
	}
	seconds := d.at((9*n+9)/10 - 1)
	return &seconds
}

func (d durations) count() (n int) {
	for _, of := range d {
		n += of
	}
	return n
}

// at is the length at a place in their order, in seconds.
func (d durations) at(place int) float64 {
	lengths := slices.Sorted(maps.Keys(d))
	for _, length := range lengths {
		if place -= d[length]; place < 0 {
			return float64(length) / 1000
		}
	}
	return 0
}
