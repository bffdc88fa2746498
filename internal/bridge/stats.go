package bridge

import (
	"context"
	"time"
)

// StatsDays is for how many days before the present one statistics are kept, whatever becomes of the sessions.
const StatsDays = 35

// Stats are a team's statistics of some days, as the wire has them. Sessions count on the day on which they began; durations are
// seconds.
type Stats struct {
	From          string `json:"from"`
	To            string `json:"to"`
	Conversations int    `json:"conversations"`          // sessions that began in the window
	Sparkline     []int  `json:"conversationsSparkline"` // the same for each day, oldest first
	Messages      int    `json:"messages"`               // of those sessions, whose own time is in the window
	// ResponseRate is the share of those sessions with an answer of an operator or the AI, 0 to 1; 0 where there is no session.
	ResponseRate float64 `json:"responseRate"`
	// MedianFirstResponse is from a visitor's first message to the first answer after it; nil: there is none.
	MedianFirstResponse *float64    `json:"medianFirstResponseSeconds"`
	UnansweredNow       int         `json:"unansweredNow"` // of those sessions, whose last message is the visitor's
	People              PeopleStats `json:"people"`
	CSAT                CSATStats   `json:"csat"`
}

// PeopleStats says how soon people answer, without the AI.
type PeopleStats struct {
	FirstResponse Quantiles `json:"firstResponse"` // from a visitor's first message
	NextResponse  Quantiles `json:"nextResponse"`  // from the first message after an answer, once a person has answered
}

// Quantiles are of some durations, in seconds; nil where there is none.
type Quantiles struct {
	P50 *float64 `json:"p50"`
	P90 *float64 `json:"p90"`
}

// CSATStats are the ratings that were submitted in the window; of a visitor who rates again, the last one.
type CSATStats struct {
	Percent   *float64 `json:"percent"` // the share of those of 4 and 5, 0 to 1; nil: there is none
	Average   *float64 `json:"average"` // 1 to 5
	Responses int      `json:"responses"`
}

// StatsSource tells statistics. It may be asked by several goroutines.
type StatsSource interface {
	// Stats returns those of the UTC days from the first to the last moment, both at most StatsDays before the store's present day. What
	// is accepted when it is called is in them. An error is the store's.
	Stats(ctx context.Context, from, to time.Time) (Stats, error)
}
