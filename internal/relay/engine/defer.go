package engine

import (
	"slices"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// deferItem defers an event until what it refers to is there. Called under the lock.
func (l *Lane) deferItem(it *item, p *Deferral) {
	if p.Seq > 0 && p.Seq <= l.queue.fed {
		// What it refers to waits in the same session queue, or is finished.
		l.queue.detach(it)
		it.placed = true
		l.queue.behind(it, l.queue.find(it.Session, p.Seq))
		return
	}
	l.queue.detach(it)
	key := it.Session + "\n" + p.Key
	l.deferred[key] = append(l.deferred[key], it)
	back := func() {
		if i := slices.Index(l.deferred[key], it); i >= 0 {
			if l.deferred[key] = slices.Delete(l.deferred[key], i, i+1); len(l.deferred[key]) == 0 {
				delete(l.deferred, key)
			}
			if !it.finished {
				l.queue.behind(it, nil)
			}
		}
	}
	if len(p.Ready) > 0 {
		l.whenReady(p.Ready, p.AtMost, back)
		return
	}
	q := l.queue
	time.AfterFunc(p.AtMost, func() {
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
func (l *Lane) whenReady(files []<-chan struct{}, atMost time.Duration, do func()) {
	quit, q := l.workers.quit, l.queue
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

// resumeDeferred puts the events that waited for a claim directly behind the event that took it. Called under the lock.
func (l *Lane) resumeDeferred(key string, seq bridge.Seq) {
	items := l.deferred[key]
	if len(items) == 0 {
		return
	}
	delete(l.deferred, key)
	other := l.queue.find(items[0].Session, seq)
	for _, it := range items {
		if it.finished {
			continue
		}
		it.placed = true
		l.queue.behind(it, other)
		other = it
	}
}

// endFilesWait lets what waits for its files in a session queue go on without them.
func (q *queue) endFilesWait(key string) {
	if s := q.sessions[key]; s != nil {
		for t := range s.partitions.all() {
			if t.forFiles && !t.busy {
				t.forFiles, t.notBefore = false, time.Time{}
				q.place(t)
			}
		}
	}
}

// wordsBehind says whether a person's word without files waits behind an event in its session queue.
func (q *queue) wordsBehind(it *item) bool {
	s := q.sessions[it.Session]
	return s != nil && slices.ContainsFunc(s.items[slices.Index(s.items, it)+1:], func(other *item) bool { return other.isText })
}
