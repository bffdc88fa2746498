package words

import (
	"strconv"
	"strings"
	"time"
)

// Lasting is a time as people say it: 90 s, 30 min, 2 h, 2 h 5 min, 3 days.
func (t *Table) Lasting(d time.Duration) string {
	number := strconv.Itoa
	switch d = d.Round(time.Second); {
	case d < 2*time.Minute:
		return t.Seconds.With(number(int(d.Seconds())))
	case d < 2*time.Hour:
		return t.Minutes.With(number(int(d.Minutes())))
	case d < 48*time.Hour && int(d.Minutes())%60 == 0:
		return t.Hours.With(number(int(d.Hours())))
	case d < 48*time.Hour:
		return t.HoursMinutes.With(number(int(d.Hours())), number(int(d.Minutes())%60))
	default:
		return t.Of(t.Days, int(d.Hours())/24)
	}
}

// Clock is a moment in its zone, without its date where it is on the same day as now.
func (t *Table) Clock(at, now time.Time) string {
	if at.Format(time.DateOnly) == now.In(at.Location()).Format(time.DateOnly) {
		return at.Format("15:04 MST")
	}
	return at.Format(t.DateLayout + " 15:04 MST")
}

// Date is a day in words.
func (t *Table) Date(at time.Time) string { return t.named(at, t.LongDate) }

// Weekday is a day in words, with the day of the week.
func (t *Table) Weekday(at time.Time) string { return t.named(at, t.WeekdayDate) }

// named writes a day by a layout.
func (t *Table) named(at time.Time, layout string) string {
	return strings.NewReplacer(
		"{day}", strconv.Itoa(at.Day()), "{month}", t.Months[at.Month()-1], "{year}", strconv.Itoa(at.Year()), "{weekday}", t.Weekdays[at.Weekday()],
	).Replace(layout)
}

// Size writes a size the way people read it: 999 B, 12 kB, 3.4 MB.
func (t *Table) Size(bytes int64) string {
	number := func(unit float64, digits int) string {
		return strings.ReplaceAll(strconv.FormatFloat(float64(bytes)/unit, 'f', digits, 64), ".", t.DecimalPoint)
	}
	switch {
	case bytes < 1000:
		return t.Bytes.With(number(1, 0))
	case bytes < 1_000_000:
		return t.Kilobytes.With(number(1e3, 0))
	case bytes < 1_000_000_000:
		return t.Megabytes.With(number(1e6, 1))
	}
	return t.Gigabytes.With(number(1e9, 1))
}
