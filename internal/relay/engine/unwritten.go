package engine

import (
	"context"
	"errors"

	"github.com/pocketping/bridge/internal/bridge"
)

// tableOwners holds who worked a lane last: key lane, value the token of its lease. A process that gets its lane back finds
// thereby whether another one had it in between.
const tableOwners = "owners"

// unwrittenResult is what a call came to whose record could not be written before the lane was lost.
type unwrittenResult struct {
	seq    bridge.Seq
	also   []bridge.Seq // what is done with it
	target string
	done   bool
	batch  bridge.Batch
	key    string // under which the record may have been written already
}

// maxUnwritten is how many results are kept for later. There are never more than calls that were under way, and records that waited.
const maxUnwritten = 100_000

func (l *Lane) keepUnwritten(r unwrittenResult) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.unwritten) < maxUnwritten {
		l.unwritten = append(l.unwritten, r)
	}
}

// recordUnwritten records, under a lease that is held again, what calls came to before it was lost, so that they are not made again.
// It is called before anything is read of the lane. Where another process has worked the lane in between, only what was finished
// counts, and that only of events that are unfinished still: the other one may be in the middle of the rest.
func (l *Lane) recordUnwritten(ctx context.Context, lease bridge.Lease) error {
	owner, err := l.engine.store.Get(ctx, tableOwners, l.name)
	if err != nil {
		return err
	}
	between := string(owner) != lease.Token
	l.mu.Lock()
	unwritten := l.unwritten
	l.mu.Unlock()
	if len(unwritten) > 0 {
		state, err := l.engine.store.Lane(ctx, l.name)
		if err != nil {
			return err
		}
		finished := map[bridge.Mark]bool{}
		for _, m := range state.Done {
			finished[m] = true
		}
		recorded := 0
		for i, r := range unwritten {
			if r.seq <= state.Cursor || finished[bridge.Mark{Seq: r.seq, Target: r.target}] || between && !r.done {
				continue
			}
			if err := l.recordOne(ctx, lease, r); err != nil {
				l.mu.Lock()
				l.unwritten = unwritten[i:]
				l.mu.Unlock()
				return err
			}
			recorded++
		}
		l.mu.Lock()
		l.unwritten = nil
		l.mu.Unlock()
		l.log.Info("deliveries that could not be recorded before the lane was lost are recorded now", "count", recorded,
			"dropped", len(unwritten)-recorded)
	}
	if !between {
		return nil
	}
	_, err = l.engine.store.Commit(ctx, bridge.Batch{
		Lease: lease, Rows: []bridge.Row{{Table: tableOwners, Key: l.name, Value: []byte(lease.Token)}},
	})
	return err
}

func (l *Lane) recordOne(ctx context.Context, lease bridge.Lease, r unwrittenResult) error {
	b := r.batch
	b.Lease = lease
	b.Progress = bridge.Progress{Lane: l.name}
	if r.done {
		for _, seq := range append([]bridge.Seq{r.seq}, r.also...) {
			b.Progress.Done = append(b.Progress.Done, bridge.Mark{Seq: seq, Target: r.target})
		}
	}
	if len(b.Events) > 0 {
		b.Claims = append(b.Claims[:len(b.Claims):len(b.Claims)], bridge.Claim{Key: r.key})
	}
	_, err := l.engine.Commit(ctx, b)
	if err == nil || errors.Is(err, bridge.ErrUnavailable) || errors.Is(err, bridge.ErrLeaseLost) || ctx.Err() != nil {
		return err
	}
	l.log.Error("a delivery could not be recorded and may be repeated", "event", r.seq, "err", err)
	return nil
}
