package presence

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Hours are when somebody is there: blocks of a week's wall clock in a zone, without holidays. The zero Hours are always open.
// They follow the wall clock: on the day on which a zone leaves an hour out, a block that lies in it is not, and on the day on
// which an hour comes twice, so does a block that lies in it.
type Hours struct {
	zone     *time.Location  // nil: UTC
	weekly   bool            // there are blocks; else every day is open from its beginning to its end
	blocks   [7][]block      // by time.Weekday; may reach into the next day
	holidays map[string]bool // dates, as time.DateOnly writes them
}

// block is from a minute of the day up to another one, which is not in it; more than a day's for the next day.
type block struct{ from, to int }

const (
	dayMinutes = 24 * 60
	// lookAhead is how many days are searched for the next opening or closing. What is closed for longer opens by hand.
	lookAhead = 400
)

// ParseHours reads business hours such as "Mon-Fri 09:00-12:00 13:00-18:00; Sat 10:00-14:00", and holidays such as
// "2026-12-25 2026-12-26". Both may be empty. A block whose end is not after its beginning ends on the next day. The error is
// a *HoursError.
func ParseHours(hours, holidays string, zone *time.Location) (Hours, error) {
	h := Hours{zone: zone, holidays: map[string]bool{}}
	for part := range strings.SplitSeq(hours, ";") {
		words := strings.Fields(strings.ReplaceAll(part, ",", " "))
		if len(words) == 0 {
			continue
		}
		if err := h.add(words); err != nil {
			return Hours{}, err
		}
		h.weekly = true
	}
	if hours = strings.TrimSpace(hours); hours != "" && !h.weekly {
		return Hours{}, &HoursError{Text: hours, Problem: "has no day"}
	}
	for _, date := range strings.FieldsFunc(holidays, func(r rune) bool { return r == ' ' || r == ',' || r == ';' || r == '\t' }) {
		if _, err := time.Parse(time.DateOnly, date); err != nil {
			return Hours{}, &HoursError{Holiday: true, Text: date, Problem: "is no date"}
		}
		h.holidays[date] = true
	}
	return h, nil
}

// HoursError says what of the hours or holidays cannot be read.
type HoursError struct {
	Holiday bool   // it is a holiday
	Text    string // the part that is wrong
	Problem string
}

func (e *HoursError) Error() string { return fmt.Sprintf("%q %s", e.Text, e.Problem) }

// add reads one part: days, and then blocks.
func (h *Hours) add(words []string) error {
	var days []time.Weekday
	for len(words) > 0 && (words[0][0] < '0' || words[0][0] > '9') {
		more, ok := daysOf(words[0])
		if !ok {
			return &HoursError{Text: words[0], Problem: "is no day of the week"}
		}
		days, words = append(days, more...), words[1:]
	}
	switch {
	case len(days) == 0:
		return &HoursError{Text: words[0], Problem: "has no day before it"}
	case len(words) == 0:
		return &HoursError{Text: days[0].String()[:3], Problem: "has no time behind it"}
	}
	for _, word := range words {
		from, to, ok := strings.Cut(word, "-")
		b := block{minuteOf(from), minuteOf(to)}
		if !ok || b.from < 0 || b.to < 0 || b.from == dayMinutes {
			return &HoursError{Text: word, Problem: "is no time from and to"}
		}
		if b.to <= b.from {
			b.to += dayMinutes
		}
		for _, day := range days {
			h.blocks[day] = append(h.blocks[day], b)
		}
	}
	return nil
}

// daysOf reads Mon, or Mon-Fri, also over the week's end.
func daysOf(word string) (days []time.Weekday, ok bool) {
	first, last, isRange := strings.Cut(word, "-")
	from, known := dayOf(first)
	if !known {
		return nil, false
	}
	if !isRange {
		return []time.Weekday{from}, true
	}
	to, known := dayOf(last)
	if !known {
		return nil, false
	}
	for day := from; ; day = (day + 1) % 7 {
		days = append(days, day)
		if day == to {
			return days, true
		}
	}
}

// dayOf reads an English day's name, or its first three letters.
func dayOf(word string) (time.Weekday, bool) {
	for day := time.Sunday; day <= time.Saturday; day++ {
		if strings.EqualFold(word, day.String()) || strings.EqualFold(word, day.String()[:3]) {
			return day, true
		}
	}
	return 0, false
}

// minuteOf reads 09:00 up to 24:00; -1 for anything else.
func minuteOf(text string) int {
	if text == "24:00" {
		return dayMinutes
	}
	t, err := time.Parse("15:04", text)
	if err != nil || strings.ContainsAny(text, " ") {
		return -1
	}
	return t.Hour()*60 + t.Minute()
}

// Equal says whether the hours are the same.
func (h Hours) Equal(other Hours) bool {
	same := h.Location().String() == other.Location().String() && h.weekly == other.weekly && maps.Equal(h.holidays, other.holidays)
	for day := range h.blocks {
		same = same && slices.Equal(h.blocks[day], other.blocks[day])
	}
	return same
}

// Location returns the zone of the hours.
func (h Hours) Location() *time.Location {
	if h.zone == nil {
		return time.UTC
	}
	return h.zone
}

// Open says whether a moment is within the hours.
func (h Hours) Open(t time.Time) bool {
	t = t.In(h.Location())
	minute := t.Hour()*60 + t.Minute()
	return h.within(t, minute) || h.within(noon(t).AddDate(0, 0, -1), minute+dayMinutes)
}

// within says whether a block of the day on which t lies has the minute, which may be the next day's.
func (h Hours) within(t time.Time, minute int) bool {
	if h.holidays[t.Format(time.DateOnly)] {
		return false
	}
	if !h.weekly {
		return minute < dayMinutes
	}
	return slices.ContainsFunc(h.blocks[t.Weekday()], func(b block) bool { return b.from <= minute && minute < b.to })
}

// NextOpen returns the first moment at or after t that is within the hours; zero when there is none in the next year.
func (h Hours) NextOpen(t time.Time) time.Time {
	if h.Open(t) {
		return t
	}
	return h.transition(t, true)
}

// NextClose returns the first moment after t at which the hours end; zero when there is none in the next year.
func (h Hours) NextClose(t time.Time) time.Time { return h.transition(t, false) }

// transition returns the first moment after t at which the hours begin, or end.
func (h Hours) transition(t time.Time, opens bool) time.Time {
	if !h.weekly && len(h.holidays) == 0 {
		return time.Time{}
	}
	day := noon(t.In(h.Location()))
	var found time.Time
	for n := -1; n <= lookAhead; n++ {
		late := !found.IsZero() // what lies around midnight may be an edge of either day
		for _, at := range h.edges(day.AddDate(0, 0, n)) {
			if at.After(t) && h.Open(at) == opens && h.Open(at.Add(-1)) != opens && (found.IsZero() || at.Before(found)) {
				found = at
			}
		}
		if late {
			return found
		}
	}
	return found
}

// noon is on the same day. Other than midnight it is there once, on every day.
func noon(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), 12, 0, 0, 0, t.Location())
}

// edges are all moments of the day on which t lies at which the hours may turn: the ends of its blocks, midnights, and a
// change of the clock, before which the wall clock's time may come once more.
func (h Hours) edges(t time.Time) []time.Time {
	minutes := []int{0, dayMinutes}
	for _, b := range h.blocks[t.Weekday()] {
		minutes = append(minutes, b.from, min(b.to, dayMinutes))
	}
	for _, b := range h.blocks[(t.Weekday()+6)%7] {
		minutes = append(minutes, max(b.to-dayMinutes, 0))
	}
	var out []time.Time
	for _, m := range minutes {
		at := time.Date(t.Year(), t.Month(), t.Day(), 0, m, 0, 0, t.Location())
		out = append(out, at)
		_, offset := at.Zone()
		from, to := at.ZoneBounds()
		for _, change := range []time.Time{from, to} {
			if change.IsZero() || change.Sub(at).Abs() > 24*time.Hour {
				continue
			}
			_, before := change.Add(-1).Zone()
			_, after := change.Zone()
			other := before + after - offset
			out = append(out, change, at.Add(time.Duration(offset-other)*time.Second))
		}
	}
	return out
}
