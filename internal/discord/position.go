package discord

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// settled is how far apart, by Discord's clock, two messages may be made and be told in the other order.
	settled = 10 * time.Second
	// maxBeyond is how many messages a position tells one by one.
	maxBeyond = 256
)

// position is what was accepted of what operators wrote: every message up to and including upTo, and those of beyond. Messages of
// several threads may be told in another order than their ids have; one that is told late is not passed over, since upTo stays
// settled behind the newest.
//
// Its text is the receiver's cursor: upTo, and for each of beyond how far above it lies, in base 36.
type position struct {
	upTo   snowflake
	beyond []snowflake // ascending, all above upTo
}

// parsePosition reads a cursor. ok is false for an empty one, and for what is none.
func parsePosition(cursor string) (p position, ok bool) {
	first, rest, _ := strings.Cut(cursor, " ")
	if p.upTo, ok = parseSnowflake(first); !ok {
		return position{}, false
	}
	for _, text := range strings.Fields(rest) {
		n, err := strconv.ParseUint(text, 36, 64)
		if err != nil || n == 0 {
			return position{upTo: p.upTo}, true // what follows comes again, and is recognised
		}
		p = p.with(p.upTo + snowflake(n))
	}
	return p, true
}

func (p position) String() string {
	var b strings.Builder
	b.WriteString(p.upTo.String())
	for _, id := range p.beyond {
		b.WriteByte(' ')
		b.WriteString(strconv.FormatUint(uint64(id-p.upTo), 36))
	}
	return b.String()
}

// has says whether a message was accepted.
func (p position) has(id snowflake) bool {
	_, found := slices.BinarySearch(p.beyond, id)
	return found || id <= p.upTo
}

// with returns the position after a message was accepted as well.
func (p position) with(id snowflake) position {
	at, found := slices.BinarySearch(p.beyond, id)
	if found || id <= p.upTo {
		return p
	}
	all := slices.Insert(slices.Clone(p.beyond), at, id)
	calm := snowflakeAt(all[len(all)-1].time().Add(-settled))
	n := 0
	for n < len(all) && (all[n] < calm || len(all)-n > maxBeyond) {
		n++
	}
	if n > 0 {
		p.upTo = all[n-1]
	}
	p.beyond = all[n:]
	return p
}
