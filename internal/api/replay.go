package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// The limits of a replay: of what is shown again to a client that says which event it saw last.
const (
	replayAge    = time.Hour
	replayEvents = 100_000 // entries of the log
)

const (
	replayAwait = 2 * time.Second // how long an id that another bridge gave a moment ago may be missing in this bridge's log
	replayLook  = 5 * time.Second // for one read of the log; it reads what is there and does not wait for more
)

// lastSeen returns the id of the last event that the client saw; ok is false when the request names none, or an empty one.
// The header goes before the query: a browser that reconnects calls its first address again, with the old id in the query, and
// sends the new id in the header. An id that is not ours counts as older than every event.
func lastSeen(r *http.Request) (last bridge.Seq, ok bool) {
	for _, values := range [][]string{r.URL.Query()["lastEventId"], r.Header["Last-Event-Id"]} {
		if len(values) == 0 || len(values) == 1 && values[0] == "" {
			continue
		}
		seen, ours := bridge.ParseSeq(values[0])
		if !ours || len(values) != 1 {
			seen = oldestSeen
		}
		last, ok = seen, true
	}
	return last, ok
}

// oldestSeen is older than every event.
const oldestSeen bridge.Seq = 1

// resume moves the stream back to the event that its reader saw last. Where not everything since can be shown again, it goes back as
// far as it can and says so to the reader.
func (f *follower) resume(ctx context.Context, last bridge.Seq) error {
	for {
		start, err := f.start(ctx, last)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			f.after = start
			f.hub.catchUp(&f.listener, start)
			if start != last {
				return f.out.gap(last, start+1)
			}
			return nil
		case !errors.Is(err, bridge.ErrUnavailable):
			return err
		}
		bridge.Sleep(ctx, streamPause)
		if _, err := f.keepAlive(); err != nil {
			return err
		}
	}
}

// start returns the place behind which the stream begins for a reader whose last event was last. It returns last itself when everything
// behind it is still in the log and within the limits.
func (f *follower) start(ctx context.Context, last bridge.Seq) (bridge.Seq, error) {
	newest := f.await(ctx, last)
	if last == newest { // nothing came after it, so its age does not matter
		return last, nil
	}
	if last > newest { // the log has lost its end: nothing in it is newer than what the reader saw
		return newest, nil
	}
	start := max(last, bridge.SeqAt(time.Now().Add(-replayAge-time.Microsecond)))
	first, err := f.look(ctx, 0, 1)
	if err != nil {
		return 0, err
	}
	if len(first) == 0 {
		return newest, nil
	}
	start = min(max(start, first[0].Seq-1), newest)
	return f.within(ctx, start, newest)
}

// await returns the newest entry's Seq. It waits a moment when that is before last: where several bridges share a log, a reader may have
// got an entry from another bridge before this one has read it.
func (f *follower) await(ctx context.Context, last bridge.Seq) bridge.Seq {
	ctx, done := context.WithTimeout(ctx, replayAwait)
	defer done()
	for newest := f.o.Feed.Newest(); newest < last; newest = f.o.Feed.Newest() {
		if _, err := f.o.Feed.Next(ctx, newest, 1); err != nil {
			break
		}
	}
	return f.o.Feed.Newest()
}

// within moves start forward as far as is needed for at most replayEvents to stand between it and newest.
func (f *follower) within(ctx context.Context, start, newest bridge.Seq) (bridge.Seq, error) {
	over := -replayEvents
	for at := start; at < newest; {
		page, err := f.look(ctx, at, streamPage)
		if err != nil {
			return 0, err
		}
		if len(page) == 0 {
			break
		}
		over += len(page)
		at = page[len(page)-1].Seq
	}
	for over > 0 {
		page, err := f.look(ctx, start, min(over, streamPage))
		if err != nil {
			return 0, err
		}
		if len(page) == 0 {
			break
		}
		over -= len(page)
		start = page[len(page)-1].Seq
	}
	return start, nil
}

// look returns up to most entries that are in the log now. It does not wait for more.
func (f *follower) look(ctx context.Context, after bridge.Seq, most int) ([]bridge.Entry, error) {
	looking, done := context.WithTimeout(ctx, replayLook)
	defer done()
	entries, err := f.o.Feed.Next(looking, after, most)
	if err != nil && looking.Err() != nil && ctx.Err() == nil {
		return nil, nil
	}
	return entries, err
}
