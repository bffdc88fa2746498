package engine

import (
	"container/heap"
	"slices"
	"time"
	"unique"

	"github.com/pocketping/bridge/internal/bridge"
)

// queue holds the unfinished events of a lane while this process owns it, and says which is next. Each session, and the events of none,
// has a queue in order; beside it stand, in session queues of their own, those of its events that hold up nothing. Each target of a
// session queue has its own partition, which does one thing at a time and keeps its own back-off. A queue has no goroutines and no
// clock; the lane calls it under its lock.
type queue struct {
	targets  func(Queued) []string
	waits    func(Queued) bool       // whether an event that nobody is to get waits for the first who will
	atOnce   func(target string) int // how many things may be done for a target at the same time; nil: any number
	fed      bridge.Seq              // the last event looked at
	order    []*item                 // by Seq, from the lowest unfinished one
	ended    int                     // of order, the finished ones
	dropped  []bridge.Mark           // of the last finished ones that are behind the cursor and no longer in order
	stored   []bridge.Mark           // of finished ones that the store knew when the lane came to be ours
	sessions map[string]*sessionQueue
	ready    readyQueue           // may be tried now
	later    partitionHeap        // have to wait
	busyFor  map[string]int       // what is being done for each target, as partition.slot names it
	besides  map[bridge.Type]bool // types that have had session queues beside those of their sessions
	newTurn  bool                 // the next turn is for a session of which nothing is shown yet
	// began is the log's end when the lane came to be ours, and past what was confirmed by then of sessions of which nothing is left here.
	// More of them may wait in the log.
	began bridge.Seq
	past  map[string][]bridge.Type
}

type sessionQueue struct {
	beside     bool
	key        string
	items      []*item // unfinished, in the order of delivery
	words      int     // of them, people's words
	unseen     bool    // nothing of the session is shown yet
	partitions partitionSet
	// confirmed are the types of the events for which a call has worked since the lane is ours: what another process may have begun of
	// them is behind it. Of one type they stay in their order; those of others may have been overtaken there and not here.
	confirmed []bridge.Type
}

type partition struct {
	session     *sessionQueue
	target      string
	busy        bool
	failures    int            // in a row, of its own
	tries       int            // that failed in a row, whosever fault it was
	blocked     string         // the kind of call that it waits for, since the destination refuses it
	unconfirmed *item          // the answer to the last call was lost, and the call was for this one
	notBefore   time.Time      // back-off
	next        bool           // it goes before all others
	asked       bool           // the destination asked for it
	forFiles    bool           // it waits for files, and no longer than until the session's next word
	head        *item          // what it would do next; nil: nothing
	heap        string         // which of the ready ones it is in
	counted     string         // what its attempt is counted with
	in          *partitionHeap // the heap that holds it
	pos         int
	stuck       stuck // what is known of a head that its target does not take
}

// slot names what a partition's attempts are counted with: those for events that hold up nothing have room of their own, so that a
// receiver which never answers to them keeps nothing else waiting.
func (t *partition) slot() string {
	if t.session.beside {
		return t.target + "\n"
	}
	return t.target
}

// besideShare is the part of a target's room that attempts for events that hold up nothing have.
const besideShare = 4

// full says whether no more may be done for a partition's target now.
func (q *queue) full(t *partition) bool {
	if q.atOnce == nil {
		return false
	}
	most := q.atOnce(t.target)
	if t.session.beside {
		most = max(most/besideShare, 1)
	}
	return q.busyFor[t.slot()] >= most
}

func newQueue(targets func(Queued) []string, waits func(Queued) bool) *queue {
	q := &queue{targets: targets, waits: waits, sessions: map[string]*sessionQueue{}, busyFor: map[string]int{}, besides: map[bridge.Type]bool{}}
	q.ready.heaps = map[string]*partitionHeap{}
	q.ready.less = func(a, b *partition) bool {
		if a.next != b.next {
			return a.next
		}
		return a.head.Seq < b.head.Seq
	}
	q.later.less = func(a, b *partition) bool { return a.notBefore.Before(b.notBefore) }
	return q
}

// add takes the next event of the log. Events come in the log's order.
func (q *queue) add(it *item) {
	q.read(it.Seq)
	q.order = append(q.order, it)
	s := q.sessionOf(it)
	if !it.beside {
		it.Session = s.key // one string for all of them
	}
	it.Type = bridge.Type(unique.Make(string(it.Type)).Value()) // likewise
	q.insert(s, len(s.items), it)
}

// sessionOf returns the session queue that an event belongs to.
func (q *queue) sessionOf(it *item) *sessionQueue {
	key := it.queueKey()
	s := q.sessions[key]
	if s == nil {
		s = &sessionQueue{key: key, beside: it.beside, confirmed: q.past[key]}
		delete(q.past, key)
		q.sessions[key] = s
	}
	if it.beside {
		q.besides[it.Type] = true
	}
	return s
}

// setAside has an event wait behind all others of its type, in a session queue beside its session's, so that it holds up nothing.
func (q *queue) setAside(it *item, target string, notBefore time.Time, failures int) {
	q.detach(it)
	it.beside = true
	s := q.sessionOf(it)
	q.insert(s, len(s.items), it)
	if t := s.partitions.of(target); t != nil && !t.busy {
		t.notBefore, t.failures = notBefore, max(t.failures, failures)
		q.place(t)
	}
}

// read notes how far the log was looked at: an event was added, or the lane has no use for it.
func (q *queue) read(seq bridge.Seq) {
	if q.fed = seq; seq >= q.began {
		q.past = nil // no event that another process may have begun comes any more
	}
}

func (q *queue) insert(s *sessionQueue, at int, it *item) {
	q.lift(s)
	s.items = slices.Insert(s.items, at, it)
	if it.kind == bridge.KindMessage {
		s.words++
	}
	q.addPartitions(s, it)
	q.lower(s)
}

// addPartitions makes the partitions that an event needs.
func (q *queue) addPartitions(s *sessionQueue, it *item) {
	for _, target := range q.targets(it.Queued) {
		if s.partitions.of(target) == nil {
			s.partitions.add(&partition{session: s, target: target})
		}
	}
}

// lift takes a session queue's partitions out of the heaps, before what they are ordered by changes; lower puts them back.
func (q *queue) lift(s *sessionQueue) {
	for t := range s.partitions.all() {
		q.unplace(t)
	}
}

func (q *queue) lower(s *sessionQueue) {
	for t := range s.partitions.all() {
		q.place(t)
	}
}

// place puts a partition where it belongs: into the ready ones, the later ones, or neither.
func (q *queue) place(t *partition) {
	q.unplace(t)
	if t.busy {
		return
	}
	t.head = nil
	for _, it := range t.session.items {
		if !it.done[t.target] && slices.Contains(q.targets(it.Queued), t.target) {
			t.head = it
			break
		}
	}
	switch {
	case t.head == nil:
		t.session.partitions.drop(t)
	case t.notBefore.IsZero():
		q.ready.push(t)
	default:
		heap.Push(&q.later, t)
	}
}

// unplace takes a partition out of whichever heap holds it.
func (q *queue) unplace(t *partition) {
	switch t.in {
	case nil:
	case &q.later:
		heap.Remove(t.in, t.pos)
	default:
		q.ready.remove(t)
	}
}

// wake moves the partitions whose wait is over to the ready ones.
func (q *queue) wake(now time.Time) {
	for q.later.Len() > 0 && !q.later.list[0].notBefore.After(now) {
		t := q.later.list[0]
		t.notBefore = time.Time{}
		q.place(t)
	}
}

// start notes that a ready partition's head is being done.
func (q *queue) start(t *partition) {
	q.ready.remove(t)
	if t.rank() == rankWord || t.rank() == rankUnseen {
		q.newTurn = t.rank() == rankWord
	}
	t.busy, t.next, t.blocked = true, false, ""
	t.counted = t.slot()
	q.busyFor[t.counted]++
}

// next returns the most urgent of the ready partitions whose target may be given something more to do.
func (q *queue) next(now time.Time) *partition {
	var first *partition
	for _, h := range q.ready.heaps {
		if t := h.list[0]; !q.full(t) && (first == nil || q.before(t, first, now)) {
			first = t
		}
	}
	return first
}

// put gives a popped partition back; it is tried again at the given time, or at once when that is zero.
func (q *queue) put(t *partition, notBefore time.Time) {
	t.busy = false
	slot := t.counted
	if q.busyFor[slot]--; q.busyFor[slot] == 0 {
		delete(q.busyFor, slot)
	}
	t.notBefore = notBefore
	q.place(t)
	q.tidy(t.session)
}

// retryNow ends the back-off of one partition of a target, unless the destination asked for the time.
func (q *queue) retryNow(target string) {
	var first *partition
	for _, t := range q.later.list {
		if t.target == target && !t.asked && (first == nil || t.notBefore.Before(first.notBefore)) {
			first = t
		}
	}
	if first != nil {
		first.notBefore = time.Time{}
		q.place(first)
	}
}

// unblock has everything be tried at once that waits for a kind of call.
func (q *queue) unblock(op string) {
	for _, t := range slices.Clone(q.later.list) {
		if t.blocked == op {
			t.blocked, t.notBefore = "", time.Time{}
			q.place(t)
		}
	}
}

// nextWake returns when the first waiting partition has waited enough; zero when none waits.
func (q *queue) nextWake() time.Time {
	if q.later.Len() == 0 {
		return time.Time{}
	}
	return q.later.list[0].notBefore
}

// finish notes that a target has the event, or gave it up. The event is finished when all its present targets have.
func (q *queue) finish(it *item, target string) {
	if it.done == nil {
		it.done = map[string]bool{}
	}
	it.done[target] = true
	q.settle(it)
}

// settle removes an event that all its present targets have finished.
func (q *queue) settle(it *item) {
	if !it.finished && q.finishedWith(it) {
		q.drop(it)
	}
}

// finishedWith says whether the event is finished for all its present targets, once the given ones have it too.
func (q *queue) finishedWith(it *item, also ...string) bool {
	if it.done[everyTarget] {
		return true
	}
	targets := q.targets(it.Queued)
	for _, t := range targets {
		if !it.done[t] && !slices.Contains(also, t) {
			return false
		}
	}
	return len(targets) > 0 || !q.waits(it.Queued)
}

// drop removes an event, whoever still waits for it.
func (q *queue) drop(it *item) {
	it.finished = true
	q.ended++
	q.detach(it)
	q.trim()
}

// trim forgets the finished events that the cursor no longer needs.
func (q *queue) trim() {
	for len(q.order) > 0 && q.order[0].over() {
		q.order[0] = nil
		q.order = q.order[1:]
		q.ended--
	}
	if q.ended > len(q.order)/2+1000 { // an old one that waits holds up the cursor, but not the memory
		before := len(q.order)
		for _, it := range q.order {
			if it.over() {
				q.dropped = append(q.dropped, it.marks()...)
			}
		}
		q.dropped = slices.Clone(q.dropped[max(0, len(q.dropped)-droppedMost):])
		q.order = slices.Clip(slices.DeleteFunc(q.order, (*item).over))
		q.ended -= before - len(q.order)
	}
}

// detach removes an event from its session queue and leaves it unfinished.
func (q *queue) detach(it *item) {
	s := q.sessions[it.queueKey()]
	if s == nil {
		return
	}
	q.lift(s)
	if i := slices.Index(s.items, it); i >= 0 {
		s.items = slices.Delete(s.items, i, i+1)
		if it.kind == bridge.KindMessage {
			s.words--
		}
	}
	q.lower(s)
	q.tidy(s)
}

// behind puts a taken event directly behind another one of its session queue, or first when the other is not there.
func (q *queue) behind(it, other *item) {
	s := q.sessionOf(it)
	q.insert(s, slices.Index(s.items, other)+1, it)
}

// pastMost is of how many sessions of which nothing is left here it is remembered what was confirmed.
const pastMost = 20_000

func (q *queue) tidy(s *sessionQueue) {
	if len(s.items) > 0 || !s.partitions.none() {
		return
	}
	delete(q.sessions, s.key)
	if len(s.confirmed) == 0 || q.fed >= q.began {
		return
	}
	if q.past == nil || len(q.past) >= pastMost {
		q.past = map[string][]bridge.Type{} // of those that it had one call more is made to find out
	}
	q.past[s.key] = s.confirmed
}

// busy says whether something is being done for the event right now.
func (q *queue) busy(it *item) bool {
	if s := q.sessions[it.queueKey()]; s != nil {
		for t := range s.partitions.all() {
			if t.busy && t.head == it {
				return true
			}
		}
	}
	return false
}

// find returns a session queue's unfinished event of the given place in the log.
func (q *queue) find(session string, seq bridge.Seq) *item {
	for _, s := range q.sessionsOf(session) {
		for _, it := range s.items {
			if it.Seq == seq {
				return it
			}
		}
	}
	return nil
}

// sessionsOf returns the session queues of a session, those beside it too.
func (q *queue) sessionsOf(session string) []*sessionQueue {
	var out []*sessionQueue
	if s := q.sessions[session]; s != nil {
		out = append(out, s)
	}
	for t := range q.besides {
		if s := q.sessions[besideKey(session, t)]; s != nil {
			out = append(out, s)
		}
	}
	return out
}

// superseded says whether a later event of the same type waits for the same target.
func (q *queue) superseded(it *item, target string) bool {
	s := q.sessions[it.queueKey()]
	return s != nil && slices.ContainsFunc(s.items, func(later *item) bool {
		return later.Seq > it.Seq && later.Type == it.Type && slices.Contains(q.targets(later.Queued), target)
	})
}

// refresh looks at all targets anew, after they changed.
func (q *queue) refresh() {
	for _, s := range q.sessions {
		q.refreshQueue(s)
	}
}

// refreshSession looks at the targets of a session's events anew.
func (q *queue) refreshSession(session string) {
	for _, s := range q.sessionsOf(session) {
		q.refreshQueue(s)
	}
}

func (q *queue) refreshQueue(s *sessionQueue) {
	for _, it := range slices.Clone(s.items) {
		if q.settle(it); !it.finished {
			q.addPartitions(s, it)
		}
	}
	q.lift(s)
	q.lower(s)
}

// wordsWait says whether a person's word could be sent now.
func (q *queue) wordsWait(now time.Time) bool {
	t := q.next(now)
	return t != nil && t.session.words > 0
}

// readyQueue is partitions in a heap for each target, as partition.slot names it, and each rank.
type readyQueue struct {
	heaps map[string]*partitionHeap // none is empty
	less  func(a, b *partition) bool
}

func (s *readyQueue) Len() int { return len(s.heaps) }

func (s *readyQueue) push(t *partition) {
	t.heap = t.slot() + "\n" + string('0'+byte(t.rank()))
	h := s.heaps[t.heap]
	if h == nil {
		h = &partitionHeap{less: s.less}
		s.heaps[t.heap] = h
	}
	heap.Push(h, t)
}

func (s *readyQueue) remove(t *partition) {
	h := t.in
	if heap.Remove(h, t.pos); h.Len() == 0 {
		delete(s.heaps, t.heap)
	}
}

// partitionHeap is a heap.
type partitionHeap struct {
	list []*partition
	less func(a, b *partition) bool
}

func (h *partitionHeap) Len() int           { return len(h.list) }
func (h *partitionHeap) Less(i, j int) bool { return h.less(h.list[i], h.list[j]) }
func (h *partitionHeap) Swap(i, j int) {
	h.list[i], h.list[j] = h.list[j], h.list[i]
	h.list[i].pos, h.list[j].pos = i, j
}

func (h *partitionHeap) Push(x any) {
	t := x.(*partition)
	t.in, t.pos = h, len(h.list)
	h.list = append(h.list, t)
}

func (h *partitionHeap) Pop() any {
	last := len(h.list) - 1
	t := h.list[last]
	h.list[last] = nil
	h.list = h.list[:last]
	t.in = nil
	return t
}
