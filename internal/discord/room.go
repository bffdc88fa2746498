package discord

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bwmarrin/discordgo"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/platform"
)

const (
	// roomAtOnce is how many threads are archived when the server is full of active ones.
	roomAtOnce = 5
	// silentFor is how long a list of threads tells which have been silent for longest. A full server lists a thousand.
	silentFor = time.Minute
)

// silence is which of the bridge's own active threads have been silent for longest, as they were listed once.
type silence struct {
	archiving atomic.Bool // somebody makes room: openings that are refused at the same time need the same

	mu      sync.Mutex
	threads []string // the longest silent first
	until   time.Time
}

// heard takes a thread off the list that is not silent any more.
func (s *silence) heard(place string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.threads, place); i >= 0 {
		s.threads = slices.Delete(s.threads, i, i+1)
	}
}

// next returns the next threads, and takes them off the list; none of one that is used up or old.
func (s *silence) next(now time.Time) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !now.Before(s.until) {
		s.threads = nil
	}
	n := min(len(s.threads), roomAtOnce)
	next := slices.Clone(s.threads[:n])
	s.threads = s.threads[n:]
	return next
}

// are notes a new list.
func (s *silence) are(threads []string, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.threads, s.until = threads, until
}

// makeRoom archives those of the bridge's own threads that have been silent for longest, and returns the error of the call for
// which there was no room: its next attempt finds some. A message to an archived thread makes it active again.
func (d *Discord) makeRoom(ctx context.Context, h homeChannel, full error) error {
	if !d.silent.archiving.CompareAndSwap(false, true) {
		return full
	}
	defer d.silent.archiving.Store(false)
	threads, err := d.longestSilent(ctx, h)
	if err != nil {
		return err
	}
	archived := 0
	for _, t := range threads {
		switch err := d.patchThread(ctx, t, discordgo.ChannelEdit{Archived: new(true)}, nil); {
		case err == nil:
			archived++
		case platform.ReasonOf(err) == bridge.ReasonThreadGone: // since it was listed
		case archived == 0:
			return err
		default:
			return full
		}
	}
	if archived == 0 {
		return full
	}
	d.log.Info("the server was full of active threads; the longest silent are archived", "op", opArchive, "threads", archived)
	return full
}

// longestSilent returns the next threads to archive, and lists the active ones where it is not known from before which those are.
func (d *Discord) longestSilent(ctx context.Context, h homeChannel) ([]string, error) {
	if next := d.silent.next(d.rest.now()); len(next) > 0 {
		return next, nil
	}
	me, err := d.me(ctx)
	if err != nil {
		return nil, err
	}
	threads, err := d.active(ctx, h)
	if err != nil {
		return nil, err
	}
	threads = slices.DeleteFunc(threads, func(t channel) bool { return t.Owner != me })
	slices.SortFunc(threads, func(a, b channel) int {
		return cmp.Compare(max(flake(a.Last), flake(a.ID)), max(flake(b.Last), flake(b.ID)))
	})
	ids := make([]string, len(threads))
	for i, t := range threads {
		ids[i] = t.ID
	}
	now := d.rest.now()
	d.silent.are(ids, now.Add(silentFor))
	return d.silent.next(now), nil
}
