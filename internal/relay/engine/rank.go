package engine

import (
	"slices"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// changeDue is after which time edits and deletions of words do not stand behind words any more.
const changeDue = time.Minute

// rank is how urgent a partition is.
type rank uint8

const (
	rankUnseen rank = iota // words of a session of which nothing is shown yet
	rankWord               // words of any other
	rankChange             // and so on, as the urgencies say
	rankRequest
	rankNotice
	rankSign
)

// rank is how urgent what a partition has to do is: a session with words is as urgent as these, whatever stands in front of them.
func (t *partition) rank() rank {
	switch {
	case t.session.words > 0 && t.session.unseen:
		return rankUnseen
	case t.session.words > 0:
		return rankWord
	case t.head.urgency == UrgentWord: // of a kind that is no word's
		return rankNotice
	}
	return rankWord + rank(t.head.urgency)
}

// before says whether a partition goes before another one that is of another rank, or for another target. Words take turns: every
// second one is of a session of which nothing is shown yet.
func (q *queue) before(a, b *partition, now time.Time) bool {
	if a.next != b.next {
		return a.next
	}
	ra, rb := a.rankAt(now), b.rankAt(now)
	words := func(r rank) bool { return r <= rankWord }
	switch {
	case words(ra) != words(rb):
		return words(ra)
	case !words(ra) && ra != rb:
		return ra < rb
	case ra != rb && q.newTurn:
		return ra == rankUnseen
	}
	return a.head.Seq < b.head.Seq
}

// rankAt is rank, with changes that have waited for long as words.
func (t *partition) rankAt(now time.Time) rank {
	if r := t.rank(); r != rankChange || t.head.Age(now) < changeDue {
		return r
	}
	return rankWord
}

// overtake has a ready partition do the first of its session's words first, if that may overtake what stands in front of it, and says
// whether it does.
func (q *queue) overtake(t *partition) bool {
	if !t.head.yields || t.session.words == 0 {
		return false
	}
	for _, it := range t.session.items {
		if it.done[t.target] || !slices.Contains(q.targets(it.Queued), t.target) {
			continue
		}
		if it.kind == bridge.KindMessage {
			q.ready.remove(t)
			t.head = it
			q.ready.push(t)
			return true
		}
		if !it.yields {
			return false
		}
	}
	return false
}

// seen notes that something of a session is shown.
func (q *queue) seen(session string) {
	if s := q.sessions[session]; s != nil && s.unseen {
		q.lift(s)
		s.unseen = false
		q.lower(s)
	}
}

// rankOf fills in how urgent an event is.
func (l *Lane) rankOf(it *item, e bridge.Entry) {
	it.urgency = UrgentNotice
	if it.kind == bridge.KindMessage {
		it.urgency = UrgentWord
	}
	if r, ok := l.sink.(Ranker); ok {
		it.urgency, it.yields = r.Urgency(e), r.Yields(e)
	}
}

// noteUnseen notes, with the first word that waits in a session, whether nothing of it is shown yet: what else waits there, such as its
// announcement, does not tell. Called under the lock.
func (l *Lane) noteUnseen(it *item) {
	r, ok := l.sink.(Ranker)
	if !ok || it.kind != bridge.KindMessage {
		return
	}
	s := l.queue.sessions[it.queueKey()]
	switch {
	case s == nil:
		l.queue.sessionOf(it).unseen = r.Unseen(it.Session)
	case s.words == 0 && s.unseen != r.Unseen(it.Session):
		l.queue.lift(s)
		s.unseen = !s.unseen
		l.queue.lower(s)
	}
}
