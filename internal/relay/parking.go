package relay

import (
	"slices"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// parking says what an event waits for.
type parking struct {
	claim  string            // the session's claim that it refers to
	seq    bridge.Seq        // where the claim is in the log; 0: not accepted yet
	atMost time.Duration     // then it is looked at again
	files  []<-chan struct{} // it is looked at, too, when all of these are closed; none: it waits for the claim
}

// hold parks an event until what it refers to is there. Called under the lock.
func (l *lane) hold(it *item, p *parking) {
	if p.seq > 0 && p.seq <= l.queue.fed {
		// What it refers to waits in the same stream, or is finished.
		l.queue.take(it)
		it.placed = true
		l.queue.behind(it, l.queue.find(it.session, p.seq))
		return
	}
	l.queue.take(it)
	key := it.session + "\n" + p.claim
	l.parked[key] = append(l.parked[key], it)
	back := func() {
		if i := slices.Index(l.parked[key], it); i >= 0 {
			if l.parked[key] = slices.Delete(l.parked[key], i, i+1); len(l.parked[key]) == 0 {
				delete(l.parked, key)
			}
			if !it.finished {
				l.queue.behind(it, nil)
			}
		}
	}
	if len(p.files) > 0 {
		l.whenReady(p.files, p.atMost, back)
		return
	}
	q := l.queue
	time.AfterFunc(p.atMost, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.queue == q {
			back()
			l.wake()
		}
	})
}

// whenReady calls do, under the lock, when all files are ready, or after a while, unless the ownership has ended. Called under
// the lock.
func (l *lane) whenReady(files []<-chan struct{}, atMost time.Duration, do func()) {
	quit, q := l.quit, l.queue
	go func() {
		late := time.NewTimer(atMost)
		defer late.Stop()
	waiting:
		for _, ready := range files {
			select {
			case <-ready:
			case <-late.C:
				break waiting
			case <-quit:
				return
			}
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.queue == q {
			do()
			l.wake()
		}
	}()
}

// unpark puts the events that waited for a claim directly behind the event that took it. Called under the lock.
func (l *lane) unpark(key string, seq bridge.Seq) {
	items := l.parked[key]
	if len(items) == 0 {
		return
	}
	delete(l.parked, key)
	other := l.queue.find(items[0].session, seq)
	for _, it := range items {
		if it.finished {
			continue
		}
		it.placed = true
		l.queue.behind(it, other)
		other = it
	}
}

// wordsBehind says whether a person's word without files waits behind an event in its session.
func (l *lane) wordsBehind(it *item) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queue.wordsBehind(it)
}

// endFilesWait lets what waits for its files in a stream go on without them.
func (q *queue) endFilesWait(key string) {
	if s := q.streams[key]; s != nil {
		for _, t := range s.tracks {
			if t.forFiles && !t.busy {
				t.forFiles, t.notBefore = false, time.Time{}
				q.place(t)
			}
		}
	}
}

// wordsBehind says whether a person's word without files waits behind an event in its stream.
func (q *queue) wordsBehind(it *item) bool {
	s := q.streams[it.session]
	if s == nil {
		return false
	}
	i := slices.Index(s.items, it)
	return slices.ContainsFunc(s.items[i+1:], func(other *item) bool {
		return other.isText
	})
}
