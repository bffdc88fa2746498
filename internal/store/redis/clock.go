package redis

import (
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// clock is what this process knows of the log's time. A new master may lack the end of the log, and its clock may be behind:
// nothing of what it has then tells which Seqs were given. So each commit brings a floor. It is safe for concurrent use.
type clock struct {
	mu   sync.Mutex
	seen bridge.Seq // the highest that was given, read, or is a lane's cursor
	told bridge.Seq // the server's clock,
	at   time.Time  // at that moment of ours
}

// observe notes a Seq of the log.
func (c *clock) observe(seq bridge.Seq) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = max(c.seen, seq)
}

// is notes the server's clock.
func (c *clock) is(now bridge.Seq) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told, c.at = now, time.Now()
}

// floor returns what the next Seq must be above: all that this process has seen, and what the server's clock must have
// reached since it was last told, since other bridges may have been given a Seq up to that.
func (c *clock) floor() bridge.Seq {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.told == 0 {
		return c.seen
	}
	return max(c.seen, c.told+bridge.Seq(time.Since(c.at).Microseconds()))
}
