package bridge

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Seq is an event's place in the log: the store's clock in microseconds when it was accepted, moved up as far as is needed
// to be greater than every one before it. It is the event's id, the streams' cursor and the only order there is.
type Seq uint64

// SeqAt returns the lowest Seq of an instant.
func SeqAt(t time.Time) Seq { return Seq(max(t.UnixMicro(), 0)) }

// Time returns the log's time of the event.
func (s Seq) Time() time.Time { return time.UnixMicro(int64(s)).UTC() }

// String returns the event id, evt_ and sixteen digits: ids sort as the log does.
func (s Seq) String() string { return fmt.Sprintf("evt_%016d", uint64(s)) }

// ParseSeq reads an event id.
func ParseSeq(id string) (Seq, bool) {
	digits, ok := strings.CutPrefix(id, "evt_")
	if !ok || len(digits) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return Seq(n), err == nil
}

// Entry is an event in the log.
type Entry struct {
	Seq   Seq
	Event Event
}

// Claim is a key that can be taken once: an event's natural key, an update's id. Claims without a session are forgotten
// after ClaimTTL; a session's own are kept as long as the session and tell when it, or a message of it, was first accepted.
type Claim struct {
	Session string // the session that owns it, or empty
	Key     string
	Sum     string // of the content; a claim held with another sum is a conflict. Empty: not compared
	Soft    bool   // taken if it is free, and no obstacle if it is not
	Moves   bool   // taken each time anew, and no obstacle: it tells when that was last. Not with Soft
}

// Taken is when a session's claim was taken; 0: it is not.
type Taken struct {
	Session string
	Key     string
	At      Seq
}

// ClaimTTL is how long a claim counts as taken.
const ClaimTTL = 24 * time.Hour

// Row is a value in one of the store's tables. A row with a session goes when the session goes.
type Row struct {
	Table   string
	Key     string
	Value   []byte // nil deletes the row
	Session string // owner, or empty
}

// Mark records that a lane has finished an event, for one target of it where the lane has several.
type Mark struct {
	Seq    Seq
	Target string
}

// Progress moves a lane. Everything up to and including Cursor is finished for all targets, so marks up to there go. A lane
// only moves forward: of two writes that overtake each other the higher cursor stays.
type Progress struct {
	Lane   string
	Done   []Mark
	Cursor Seq // 0: unmoved
}

// Lease is a held lease: the right to write for a lane. A zero Lease is none.
type Lease struct {
	Name  string
	Token string
}

// Batch is one atomic write: all of it or nothing, after everything has been checked.
type Batch struct {
	Claims   []Claim // not soft: all must be free, else the batch is a duplicate and nothing is written
	If       []Row   // rows that must have exactly these values (nil: absent), else ErrChanged
	IfTaken  []Taken // claims of sessions that must have been taken then, else ErrChanged
	Lease    Lease   // must be held, else ErrLeaseLost
	Events   []Event // appended to the log in this order
	Rows     []Row
	Progress Progress
}

// Swap returns the batch with a row more, if what was there is as it was read: was, or nothing where that is nil. The batch that it is called
// on stays as it is.
func (b Batch) Swap(was []byte, row Row) Batch {
	b.If = append(slices.Clone(b.If), Row{Table: row.Table, Key: row.Key, Value: was})
	b.Rows = append(slices.Clone(b.Rows), row)
	return b
}

// Result is the outcome of a written batch.
type Result struct {
	Seqs      []Seq // of Events
	After     Seq   // of the entry that stands before Seqs[0] in the log, or stood there; 0: none
	Duplicate bool  // a claim was held: nothing was written
	First     Seq   // with Duplicate: of the batch that holds the claim; 0 when it appended nothing
}

// LaneState is what the store keeps of a lane.
type LaneState struct {
	Cursor Seq    // everything up to and including it is finished; 0 when the lane is new
	Done   []Mark // finished beyond it
	Known  bool   // false for a lane that has never been written
}
