package engine

import (
	"slices"

	"github.com/pocketping/bridge/internal/bridge"
)

// cursor returns the Seq up to which everything is finished, if besides the finished events the given ones are.
func (q *queue) cursor(also ...*item) bridge.Seq {
	for _, it := range q.order {
		if !it.over() && !slices.Contains(also, it) {
			return it.Seq - 1
		}
	}
	return q.fed
}

// droppedMost is how many marks are remembered of events that are finished and forgotten otherwise.
const droppedMost = 8192

// allFinished returns the cursor, and marks for what is finished behind it, whether or not the store knows.
func (q *queue) allFinished() (cursor bridge.Seq, done []bridge.Mark) {
	first := slices.IndexFunc(q.order, func(it *item) bool { return !it.finished })
	if first < 0 {
		cursor, first = q.fed, len(q.order)
	} else {
		cursor = q.order[first].Seq - 1
	}
	for _, m := range q.dropped {
		if m.Seq > cursor {
			done = append(done, m)
		}
	}
	for _, it := range q.order[first:] {
		done = append(done, it.marks()...)
	}
	for _, m := range q.stored { // that were not read again
		if m.Seq > q.fed {
			done = append(done, m)
		}
	}
	return cursor, done
}

// unfinished returns how many events are not finished. It is looked at with each page of the log.
func (q *queue) unfinished() int { return len(q.order) - q.ended }

// waiting returns how many events are unfinished, and the oldest of them.
func (q *queue) waiting() (int, bridge.Seq) {
	first := slices.IndexFunc(q.order, func(it *item) bool { return !it.finished })
	if first < 0 {
		return 0, 0
	}
	return q.unfinished(), q.order[first].Seq
}
