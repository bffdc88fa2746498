package relay

import (
	"container/heap"
	"slices"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// queue holds the unfinished events of a lane while this process owns it, and says which is next. Each stream (a session,
// or the events of none) is in order, and beside it stand, in streams of their own, those of its events that hold up nothing; each
// target of a stream has its own track, which does one thing at a time and keeps
// its own back-off. A queue has no goroutines and no clock; the lane calls it under its lock.
type queue struct {
	targets func(*item) []string
	waits   func(*item) bool        // whether an event that nobody is to get waits for the first who will
	atOnce  func(target string) int // how many things may be done for a target at the same time; nil: any number
	fed     bridge.Seq              // the last event looked at
	order   []*item                 // by Seq, from the lowest unfinished one
	ended   int                     // of order, the finished ones
	dropped []bridge.Mark           // of the last finished ones that are behind the cursor and no longer in order
	streams map[string]*stream
	ready   shelf                // may be tried now
	later   tracks               // have to wait
	busyFor map[string]int       // what is being done for each target, as track.slot names it
	besides map[bridge.Type]bool // types that have had streams beside those of their sessions
}

// item is an event on its way through a lane: what the queue has to know of it. The rest stays in the log; there may be very
// many.
type item struct {
	seq       bridge.Seq
	session   string
	eventType bridge.Type
	beside    bool            // it stands in a stream beside its session's, with others of its type
	only      string          // the one target, for an event that is for one alone
	again     bool            // a dead letter that is tried again
	now       *revision       // of such: what its message is now; nil: as it was written
	done      map[string]bool // targets that have it or gave it up
	kind      bridge.Kind
	reopened  uint8 // how often its thread was reopened for it
	shut      bool  // the thread where it is to be answered takes no messages
	bare      uint8 // how much of what embellishes it was taken away, since the platform refused it
	places    int   // that its next call takes in the pace; 0 is one
	opening   bool  // the call made last was to open its thread
	decked    bool  // the part sent last had a card or a reply, without which it can be shown, too
	finished  bool
	// unrecorded is for how many targets it is done, and that is not in the store yet.
	unrecorded uint16
	placed     bool // it stands behind what it refers to
	markup     bool // the part sent last has a form without markup
	plain      bool // the platform refused the markup
	// since is when a call for its next step may have been made whose answer is not known, at the earliest; zero: none was.
	since  time.Time
	isText bool // a person's word without files
	// filesBy is until when late files wait for each other; zero: they do not yet.
	filesBy time.Time
}

// streamKey names the event's stream. No session's id has a line feed.
func (it *item) streamKey() string {
	if it.beside {
		return besideKey(it.session, it.eventType)
	}
	return it.session
}

func besideKey(session string, t bridge.Type) string { return session + "\n" + string(t) }

// everyTarget in the place of a target says that an event is finished, whoever was to get it.
const everyTarget = "*"

// over says that an event is finished, and that the store knows.
func (it *item) over() bool { return it.finished && it.unrecorded == 0 }

// age is how long ago the event was accepted.
func (it *item) age(now time.Time) time.Duration { return now.Sub(it.seq.Time()) }

type stream struct {
	beside bool
	key    string
	items  []*item // unfinished, in the order of delivery
	words  int     // of them, people's words
	tracks map[string]*track
	proved bool // a call for it has worked since the lane is ours: what another process may have begun is behind it
}

type track struct {
	stream    *stream
	target    string
	busy      bool
	failures  int       // in a row, of its own
	tries     int       // that failed in a row, whosever fault it was
	blocked   string    // the kind of call that it waits for, since the destination refuses it
	unsure    *item     // the answer to the last call was lost, and the call was for this one
	notBefore time.Time // back-off
	asked     bool      // the destination asked for it
	forFiles  bool      // it waits for files, and no longer than until the session's next word
	head      *item     // what it would do next; nil: nothing
	in        *tracks   // the heap that holds it
	pos       int
	stuck     stuck // what is known of a head that its target does not take
}

// slot names what a track's attempts are counted with: those for events that hold up nothing have room of their own, so that a
// receiver which never answers to them keeps nothing else waiting.
func (t *track) slot() string {
	if t.stream.beside {
		return t.target + "\n"
	}
	return t.target
}

// besideShare is the part of a target's room that attempts for events that hold up nothing have.
const besideShare = 4

// full says whether no more may be done for a track's target now.
func (q *queue) full(t *track) bool {
	if q.atOnce == nil {
		return false
	}
	most := q.atOnce(t.target)
	if t.stream.beside {
		most = max(most/besideShare, 1)
	}
	return q.busyFor[t.slot()] >= most
}

func newQueue(targets func(*item) []string, waits func(*item) bool) *queue {
	q := &queue{targets: targets, waits: waits, streams: map[string]*stream{}, busyFor: map[string]int{}, besides: map[bridge.Type]bool{}}
	q.ready.heaps = map[string]*tracks{}
	q.ready.less = func(a, b *track) bool {
		if aw, bw := a.stream.words > 0, b.stream.words > 0; aw != bw {
			return aw
		}
		return a.head.seq < b.head.seq
	}
	q.later.less = func(a, b *track) bool { return a.notBefore.Before(b.notBefore) }
	return q
}

// add takes the next event of the log. Events come in the log's order.
func (q *queue) add(it *item) {
	q.fed = it.seq
	q.order = append(q.order, it)
	s := q.streamOf(it)
	if !it.beside {
		it.session = s.key // one string for all of them
	}
	q.insert(s, len(s.items), it)
}

// streamOf returns the stream that an event belongs to.
func (q *queue) streamOf(it *item) *stream {
	key := it.streamKey()
	s := q.streams[key]
	if s == nil {
		s = &stream{key: key, beside: it.beside, tracks: map[string]*track{}}
		q.streams[key] = s
	}
	if it.beside {
		q.besides[it.eventType] = true
	}
	return s
}

// setAside has an event wait behind all others of its type, in a stream beside its session's, so that it holds up nothing.
func (q *queue) setAside(it *item, target string, notBefore time.Time, failures int) {
	q.take(it)
	it.beside = true
	s := q.streamOf(it)
	q.insert(s, len(s.items), it)
	if t := s.tracks[target]; t != nil && !t.busy {
		t.notBefore, t.failures = notBefore, max(t.failures, failures)
		q.place(t)
	}
}

// skip notes an event that the lane has no use for.
func (q *queue) skip(seq bridge.Seq) { q.fed = seq }

func (q *queue) insert(s *stream, at int, it *item) {
	q.lift(s)
	s.items = slices.Insert(s.items, at, it)
	if it.kind == bridge.KindWord {
		s.words++
	}
	q.track(s, it)
	q.lower(s)
}

// track makes the tracks that an event needs.
func (q *queue) track(s *stream, it *item) {
	for _, target := range q.targets(it) {
		if s.tracks[target] == nil {
			s.tracks[target] = &track{stream: s, target: target}
		}
	}
}

// lift takes a stream's tracks out of the heaps, before what they are ordered by changes; lower puts them back.
func (q *queue) lift(s *stream) {
	for _, t := range s.tracks {
		q.unplace(t)
	}
}

func (q *queue) lower(s *stream) {
	for _, t := range s.tracks {
		q.place(t)
	}
}

// place puts a track where it belongs: into the ready ones, the later ones, or neither.
func (q *queue) place(t *track) {
	q.unplace(t)
	if t.busy {
		return
	}
	t.head = nil
	for _, it := range t.stream.items {
		if !it.done[t.target] && slices.Contains(q.targets(it), t.target) {
			t.head = it
			break
		}
	}
	switch {
	case t.head == nil:
		delete(t.stream.tracks, t.target)
	case t.notBefore.IsZero():
		q.ready.push(t)
	default:
		heap.Push(&q.later, t)
	}
}

// unplace takes a track out of whichever heap holds it.
func (q *queue) unplace(t *track) {
	switch t.in {
	case nil:
	case &q.later:
		heap.Remove(t.in, t.pos)
	default:
		q.ready.remove(t)
	}
}

// wake moves the tracks whose wait is over to the ready ones.
func (q *queue) wake(now time.Time) {
	for q.later.Len() > 0 && !q.later.list[0].notBefore.After(now) {
		t := q.later.list[0]
		t.notBefore = time.Time{}
		q.place(t)
	}
}

// start notes that a ready track's head is being done.
func (q *queue) start(t *track) {
	q.ready.remove(t)
	t.busy, t.blocked = true, ""
	q.busyFor[t.slot()]++
}

// next returns the most urgent of the ready tracks whose target may be given something more to do.
func (q *queue) next() *track {
	var first *track
	for _, h := range q.ready.heaps {
		if q.full(h.list[0]) {
			continue
		}
		if t := h.list[0]; first == nil || q.ready.less(t, first) {
			first = t
		}
	}
	return first
}

// put gives a popped track back; it is tried again at the given time, or at once when that is zero.
func (q *queue) put(t *track, notBefore time.Time) {
	t.busy = false
	slot := t.slot()
	if q.busyFor[slot]--; q.busyFor[slot] == 0 {
		delete(q.busyFor, slot)
	}
	t.notBefore = notBefore
	q.place(t)
	q.tidy(t.stream)
}

// hurry ends the back-off of one track of a target, unless the destination asked for the time.
func (q *queue) hurry(target string) {
	var first *track
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

// nextWake returns when the first waiting track has waited enough; zero when none waits.
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
	if it.finished || !q.finishedWith(it) {
		return
	}
	q.drop(it)
}

// finishedWith says whether the event is finished for all its present targets, once the given ones have it too.
func (q *queue) finishedWith(it *item, also ...string) bool {
	if it.done[everyTarget] {
		return true
	}
	targets := q.targets(it)
	for _, t := range targets {
		if !it.done[t] && !slices.Contains(also, t) {
			return false
		}
	}
	return len(targets) > 0 || !q.waits(it)
}

// drop removes an event, whoever still waits for it.
func (q *queue) drop(it *item) {
	it.finished = true
	q.ended++
	q.take(it)
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

// take removes an event from its stream and leaves it unfinished.
func (q *queue) take(it *item) {
	s := q.streams[it.streamKey()]
	if s == nil {
		return
	}
	q.lift(s)
	if i := slices.Index(s.items, it); i >= 0 {
		s.items = slices.Delete(s.items, i, i+1)
		if it.kind == bridge.KindWord {
			s.words--
		}
	}
	q.lower(s)
	q.tidy(s)
}

// behind puts a taken event directly behind another one of its stream, or first when the other is not there.
func (q *queue) behind(it, other *item) {
	s := q.streamOf(it)
	q.insert(s, slices.Index(s.items, other)+1, it)
}

func (q *queue) tidy(s *stream) {
	if len(s.items) == 0 && len(s.tracks) == 0 {
		delete(q.streams, s.key)
	}
}

// busy says whether something is being done for the event right now.
func (q *queue) busy(it *item) bool {
	if s := q.streams[it.streamKey()]; s != nil {
		for _, t := range s.tracks {
			if t.busy && t.head == it {
				return true
			}
		}
	}
	return false
}

// find returns a stream's unfinished event of the given place in the log.
func (q *queue) find(session string, seq bridge.Seq) *item {
	for _, s := range q.streamsOf(session) {
		for _, it := range s.items {
			if it.seq == seq {
				return it
			}
		}
	}
	return nil
}

// streamsOf returns the streams of a session, those beside it too.
func (q *queue) streamsOf(session string) []*stream {
	var out []*stream
	if s := q.streams[session]; s != nil {
		out = append(out, s)
	}
	for t := range q.besides {
		if s := q.streams[besideKey(session, t)]; s != nil {
			out = append(out, s)
		}
	}
	return out
}

// superseded says whether a later event of the same type waits for the same target.
func (q *queue) superseded(it *item, target string) bool {
	s := q.streams[it.streamKey()]
	if s == nil {
		return false
	}
	for _, later := range s.items {
		if later.seq > it.seq && later.eventType == it.eventType && slices.Contains(q.targets(later), target) {
			return true
		}
	}
	return false
}

// refresh looks at all targets anew, after they changed.
func (q *queue) refresh() {
	for _, s := range q.streams {
		q.followStream(s)
	}
}

// follow looks at the targets of a session's events anew.
func (q *queue) follow(session string) {
	for _, s := range q.streamsOf(session) {
		q.followStream(s)
	}
}

func (q *queue) followStream(s *stream) {
	for _, it := range slices.Clone(s.items) {
		if q.settle(it); !it.finished {
			q.track(s, it)
		}
	}
	q.lift(s)
	q.lower(s)
}

// cursor returns the Seq up to which everything is finished, if besides the finished events the given one is; nil: none.
func (q *queue) cursor(also *item) bridge.Seq {
	for _, it := range q.order {
		if !it.over() && it != also {
			return it.seq - 1
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
		return q.fed, nil
	}
	cursor = q.order[first].seq - 1
	for _, m := range q.dropped {
		if m.Seq > cursor {
			done = append(done, m)
		}
	}
	for _, it := range q.order[first:] {
		done = append(done, it.marks()...)
	}
	return cursor, done
}

// marks are the targets that have the event or gave it up.
func (it *item) marks() []bridge.Mark {
	var out []bridge.Mark
	for target := range it.done {
		out = append(out, bridge.Mark{Seq: it.seq, Target: target})
	}
	return out
}

// waiting returns how many events are unfinished, and the oldest of them.
func (q *queue) waiting() (int, bridge.Seq) {
	n := 0
	var oldest bridge.Seq
	for _, it := range q.order {
		if !it.finished {
			if n == 0 {
				oldest = it.seq
			}
			n++
		}
	}
	return n, oldest
}

// wordsWait says whether a person's word could be sent now.
func (q *queue) wordsWait() bool {
	t := q.next()
	return t != nil && t.stream.words > 0
}

// shelf is tracks in a heap for each target, as track.slot names it.
type shelf struct {
	heaps map[string]*tracks // none is empty
	less  func(a, b *track) bool
}

func (s *shelf) Len() int { return len(s.heaps) }

func (s *shelf) push(t *track) {
	slot := t.slot()
	h := s.heaps[slot]
	if h == nil {
		h = &tracks{less: s.less}
		s.heaps[slot] = h
	}
	heap.Push(h, t)
}

func (s *shelf) remove(t *track) {
	h := t.in
	if heap.Remove(h, t.pos); h.Len() == 0 {
		delete(s.heaps, t.slot())
	}
}

// tracks is a heap.
type tracks struct {
	list []*track
	less func(a, b *track) bool
}

func (h *tracks) Len() int           { return len(h.list) }
func (h *tracks) Less(i, j int) bool { return h.less(h.list[i], h.list[j]) }
func (h *tracks) Swap(i, j int) {
	h.list[i], h.list[j] = h.list[j], h.list[i]
	h.list[i].pos, h.list[j].pos = i, j
}

func (h *tracks) Push(x any) {
	t := x.(*track)
	t.in, t.pos = h, len(h.list)
	h.list = append(h.list, t)
}

func (h *tracks) Pop() any {
	last := len(h.list) - 1
	t := h.list[last]
	h.list[last] = nil
	h.list = h.list[:last]
	t.in = nil
	return t
}
