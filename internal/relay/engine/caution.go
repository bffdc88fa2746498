package engine

import (
	"math"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// How a lane goes on after its sink's platform has refused calls for their rate. Telegram only says how long to wait. Others report that
// callers who go on earlier, or at full rate right after, are refused for longer and longer, up to hours.
const (
	leastExtra   = time.Second      // added to the time that the platform named
	extraPart    = 20               // or a twentieth of that time, if that is more
	againWithin  = 10 * time.Minute // a refusal within it halves the rate again
	leastRate    = 2                // calls a minute
	leastLearnt  = 20               // the least rate that refusals alone may teach, where the platform does not say what it allows
	learntPart   = 0.8              // a learnt rate is this part of the last minute's calls, which were too many
	growth       = 1.1              // by which a learnt rate grows each minute without a refusal
	growthSteps  = 10               // a known rate is reached in this many such minutes, a tenth of it each
	learntExpiry = time.Hour        // after so long without a refusal a learnt rate is forgotten
)

// caution is what a lane has learnt from refusals for its rate. First no call is made until a time, then a single call, then slowly more.
// It is used under the lane's lock. The exported fields are kept across restarts.
type caution struct {
	Until   time.Time `json:"until,omitzero"`   // no call is made before
	Refused time.Time `json:"refused,omitzero"` // when the last refusal came
	Low     float64   `json:"low,omitempty"`    // calls a minute that were allowed right after that refusal; 0: no caution is needed
	Full    float64   `json:"full,omitempty"`   // calls a minute that are known to be allowed; 0: unknown
	Since   time.Time `json:"since,omitzero"`   // when a call worked again; zero: none has, and the next one goes alone

	first  time.Time // of the refusals without a call that worked in between; zero: calls are not refused
	last   time.Time // when the last call was made
	single time.Time // until then calls go one at a time
	cause  *bridge.DeliveryError
	dirty  bool // the store does not have it yet as it is now
}

// refuse notes a refusal that asks to wait. started is when the refused call was made.
func (c *caution) refuse(started, now time.Time, wait time.Duration, cause *bridge.DeliveryError, p *pace) {
	until := now.Add(wait + max(leastExtra, wait/extraPart))
	c.cause, c.dirty = cause, true
	if c.first.IsZero() {
		c.first = now
	}
	if !c.Refused.IsZero() && !started.After(c.Refused) { // the call was under way already when an earlier one was refused
		if until.After(c.Until) {
			c.Until = until
		}
		return
	}
	switch {
	case c.Low > 0 && now.Sub(c.Refused) < againWithin:
		c.Low = max(leastRate, c.Low/2)
	case p.perMinute() > 0:
		c.Full = p.perMinute()
		c.Low = max(leastRate, c.Full/2)
	default:
		c.Full = 0
		c.Low = max(p.allowed, learntPart*float64(p.lastMinute(now)))
	}
	c.Until, c.Refused, c.Since = until, now, time.Time{}
}

// worked notes a call that was accepted. A call that was under way at the last refusal proves nothing and is ignored.
func (c *caution) worked(started, now time.Time) {
	if c.Low == 0 || !started.After(c.Refused) {
		return
	}
	c.first = time.Time{}
	if c.Since.IsZero() {
		c.Since, c.dirty = now, true
	}
}

// rate is how many calls a minute are made at most; 0: as many as the windows allow.
func (c *caution) rate(now time.Time) float64 {
	if c.Low == 0 || c.Since.IsZero() {
		return c.Low
	}
	minutes := math.Floor(now.Sub(c.Since).Minutes())
	if c.Full > 0 {
		if r := c.Low + minutes*c.Full/growthSteps; r < c.Full {
			return r
		}
		return 0
	}
	if now.Sub(c.Refused) > learntExpiry {
		return 0
	}
	return c.Low * math.Pow(growth, minutes)
}

// alone says whether the next call must be the only one, because none has been accepted since the refusal.
func (c *caution) alone(now time.Time) bool {
	return c.Low > 0 && c.Since.IsZero() || now.Before(c.single)
}

// delay returns how long the next call has to wait; 0 means that it may go now.
func (c *caution) delay(now time.Time) time.Duration {
	d := max(c.Until.Sub(now), 0)
	if r := c.rate(now); r > 0 && !c.Since.IsZero() {
		d = max(d, c.last.Add(time.Duration(float64(time.Minute)/r)).Sub(now))
	}
	return d
}

// narrow lets calls go only one at a time for a while, after one that may be lost was refused for its rate.
func (c *caution) narrow(now time.Time, wait time.Duration) {
	if until := now.Add(wait); until.After(c.single) {
		c.single = until
	}
}
