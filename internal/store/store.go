// Package store says what must survive, and how it is kept: one durable log, claims, lanes, leases, and tables of rows. It
// knows nothing of what the events and rows mean. Its two implementations are bolt, one file and nothing to install, and
// redis, one state for several bridges; storetest holds both to the same behaviour.
package store

import (
	"context"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// Store keeps one project's state. All methods may be called from several goroutines. A store that cannot be reached, or
// cannot write, answers with an error that is bridge.ErrUnavailable and names the cause; it recovers by itself.
type Store interface {
	// Commit writes the batch atomically and durably. Commits of several goroutines are grouped: all that wait go in one
	// write, one write is under way at a time, and within it batches keep the order in which they came. An error other than
	// ErrUnavailable means that nothing was written; after ErrUnavailable it is not known.
	//
	// Every event gets a Seq greater than all before it. An event with Opens and a session makes the session known: the soft
	// claim {Session: id, Key: "session"} is taken with it. A session's last word is the Seq of its last event.
	//
	// All claims that neither are soft nor move are looked at first: a batch that was written before is a duplicate, whatever has
	// changed since.
	Commit(ctx context.Context, b bridge.Batch) (bridge.Result, error)

	// Read returns up to max entries after the given one, oldest first. When there are none it waits for the next one, for at
	// most wait, and then returns none and no error.
	Read(ctx context.Context, after bridge.Seq, max int, wait time.Duration) ([]bridge.Entry, error)
	// Entry returns one entry; ok is false when the log does not have it.
	Entry(ctx context.Context, seq bridge.Seq) (e bridge.Entry, ok bool, err error)
	// Last returns the Seq of the newest entry ever appended, 0 for none.
	Last(ctx context.Context) (bridge.Seq, error)
	// LogSize returns how many entries the log has and the oldest of them, 0 for none.
	LogSize(ctx context.Context) (entries int, oldest bridge.Seq, err error)
	// Trim removes the entries before the given one from the log.
	Trim(ctx context.Context, before bridge.Seq) error

	// Claimed returns, for each key, the Seq at which a session's claim was taken, or 0. A batch without events takes its
	// claims at the store's present time.
	Claimed(ctx context.Context, session string, keys ...string) ([]bridge.Seq, error)

	// Get returns a row's value, nil when there is none.
	Get(ctx context.Context, table, key string) ([]byte, error)
	// GetAll returns the values of several rows of a table, in the order of the keys, nil for each that there is not.
	GetAll(ctx context.Context, table string, keys ...string) ([][]byte, error)
	// List returns up to max rows of a table, those whose keys come next after the given one, in the order of the keys and
	// without their owners. From a table that is Ordered it takes the same time wherever it begins, however many rows there are;
	// of any other it may look at all of them.
	List(ctx context.Context, table, after string, max int) ([]bridge.Row, error)
	// Scan returns about max rows of a table, in no order and without their owners, and where to go on, empty at the end; it
	// begins at the empty place. Every row that is there all the time is returned, perhaps more than once.
	Scan(ctx context.Context, table, place string, max int) (rows []bridge.Row, next string, err error)
	// Count returns how many rows a table has, in the same time however many there are.
	Count(ctx context.Context, table string) (int, error)

	// Lane returns what is kept of a lane.
	Lane(ctx context.Context, name string) (bridge.LaneState, error)
	// Lanes returns the names of all lanes that were ever written and not forgotten, in their order.
	Lanes(ctx context.Context) ([]string, error)
	// ForgetLane removes a lane and its marks. A lease that is not zero must be held, else nothing is removed and the error is
	// ErrLeaseLost.
	ForgetLane(ctx context.Context, name string, l bridge.Lease) error

	// Acquire takes the lease for ttl if it is free or held with the same token, by the store's clock, and says whether it is
	// held now. It is also how a lease is renewed.
	Acquire(ctx context.Context, l bridge.Lease, ttl time.Duration) (bool, error)
	// Release gives the lease back if it is held.
	Release(ctx context.Context, l bridge.Lease) error

	// Forget removes claims without a session that are older than bridge.ClaimTTL, and sessions whose last word is before
	// the given one, with all their claims and rows. It returns how many sessions went. It works in small steps: a session that
	// speaks meanwhile keeps what had not gone yet.
	Forget(ctx context.Context, lastWordBefore bridge.Seq) (int, error)
	// ForgetSession removes a session with all its claims and rows.
	ForgetSession(ctx context.Context, session string) error

	// Owned returns the rows that a session owns.
	Owned(ctx context.Context, session string) ([]bridge.Row, error)
	// Erase puts bridge.Erased in the place of the log's entries that match, which may be called from several goroutines and more
	// than once for an entry, and returns how many they were. What is appended meanwhile may be left. Nobody else may erase at the same time:
	// who does holds a lease for it.
	Erase(ctx context.Context, match func(bridge.Entry) bool) (int, error)
	// ForgetClaims removes the claims without a session whose keys have a text in them, and returns how many they were.
	ForgetClaims(ctx context.Context, text string) (int, error)

	// Now returns the store's clock.
	Now(ctx context.Context) (time.Time, error)
	// Ping says whether the store can be read and written.
	Ping(ctx context.Context) error
	// Close ends the store; commits that wait are written first.
	Close() error
}

// Ordered says whether a table is kept in the order of its keys, so that List may begin anywhere: that of the dead letters, and
// every one whose name begins with by-. The others are as good as hash tables, and large ones are not for listing.
func Ordered(table string) bool { return table == "dead" || strings.HasPrefix(table, "by-") }
