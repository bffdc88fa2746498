package desk

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/words"
)

// status answers with who is online, which visitors wait for an answer, and how each lane does.
func (in *inbox) status(ctx context.Context, o commandContext) (bridge.Result, error) {
	r := in.desk
	text, err := r.presence.Summary(ctx)
	if err != nil {
		return bridge.Result{}, err
	}
	now, err := r.store.Now(ctx)
	if err != nil {
		return bridge.Result{}, err
	}
	lines := []string{text, ""}
	waiting, err := in.waitingText(ctx, now)
	if err != nil {
		return bridge.Result{}, err
	}
	lines = append(append(lines, waiting...), "")
	for _, h := range r.health() {
		line, err := r.laneText(ctx, h, now)
		if err != nil {
			return bridge.Result{}, err
		}
		lines = append(lines, line)
	}
	if r.filtered != nil {
		lines = append(lines, in.say().Of(in.say().FiltersRefused, int(r.filtered())))
	}
	return in.replyTo(ctx, o, strings.Join(lines, "\n"))
}

// sum is what operators are told of all conversations.
type sum struct {
	open    int
	waiting int
	longest []waiting // first; not all
}

type waiting struct {
	session string
	since   bridge.Seq
}

const (
	sumLongest = 50 // conversations that the sum names
	sumShown   = 5  // and that operators are told of
	// sumFresh is how many conversations are looked at for what has happened since the rows were written, a second ago or less.
	// When there are more, nobody will miss them.
	sumFresh = 100
)

// readSum returns what operators are told of all conversations, as the rows have them.
func (r *Desk) readSum(ctx context.Context) (s sum, err error) {
	if s.open, err = r.store.Count(ctx, tableOpen); err != nil {
		return s, err
	}
	if s.waiting, err = r.store.Count(ctx, tableWaits); err != nil {
		return s, err
	}
	for calls := range remindersMost + 1 {
		prefix := waitPrefix(calls)
		rows, err := r.store.List(ctx, tableWaits, prefix, sumLongest)
		if err != nil {
			return s, err
		}
		for _, row := range rows {
			if session, c, ok := waitRow(row); ok && strings.HasPrefix(row.Key, prefix) {
				s.longest = append(s.longest, waiting{session, c.Waits})
			}
		}
	}
	s.sort()
	return s, nil
}

func (s *sum) sort() {
	slices.SortFunc(s.longest, func(a, b waiting) int { return cmp.Compare(a.since, b.since) })
	s.longest = s.longest[:min(len(s.longest), sumLongest)]
}

// sumNow is readSum, with what has happened since the rows were written.
func (r *Desk) sumNow(ctx context.Context) (sum, error) {
	after, err := readCursor(ctx, r.store)
	if err != nil {
		return sum{}, err
	}
	s, err := r.readSum(ctx)
	if err != nil {
		return s, err
	}
	was, is := map[string]*conversation{}, map[string]*conversation{} // nil: not open
	for {
		entries, err := r.store.Read(ctx, after, readPage, 0)
		if err != nil {
			return s, err
		}
		if len(entries) == 0 {
			return s.moved(was, is), nil
		}
		for _, e := range entries {
			after = e.Seq
			session, t := e.Event.Session, transitionOf(e.Event)
			if t == transitionNone || session == "" {
				continue
			}
			if _, seen := is[session]; !seen {
				if len(is) == sumFresh {
					return s, nil
				}
				raw, err := r.store.Get(ctx, tableOpen, session)
				if err != nil {
					return s, err
				}
				was[session], is[session] = nil, nil
				if raw != nil {
					was[session], is[session] = &conversation{}, &conversation{}
					if err := errors.Join(json.Unmarshal(raw, was[session]), json.Unmarshal(raw, is[session])); err != nil {
						return s, err
					}
				}
			}
			if t == transitionClose || t.silent() && is[session] == nil {
				is[session] = nil
				continue
			}
			if is[session] == nil {
				is[session] = &conversation{}
			}
			is[session].apply(e, 0)
		}
	}
}

// moved is the sum after some conversations have changed.
func (s sum) moved(was, is map[string]*conversation) sum {
	count := func(all map[string]*conversation) (open, waits int) {
		for _, c := range all {
			if c != nil {
				open++
				if c.Waits != 0 {
					waits++
				}
			}
		}
		return open, waits
	}
	openWas, waitedWas := count(was)
	openIs, waitsIs := count(is)
	s.open, s.waiting = max(s.open+openIs-openWas, 0), max(s.waiting+waitsIs-waitedWas, 0)
	s.longest = slices.DeleteFunc(s.longest, func(w waiting) bool { _, changed := is[w.session]; return changed })
	for session, c := range is {
		if c != nil && c.Waits != 0 {
			s.longest = append(s.longest, waiting{session, c.Waits})
		}
	}
	s.sort()
	return s
}

// waitingText says how many conversations are open, and who has waited longest.
func (in *inbox) waitingText(ctx context.Context, now time.Time) ([]string, error) {
	r := in.desk
	s, err := r.sumNow(ctx)
	if err != nil {
		return nil, err
	}
	say := in.say()
	lines := []string{say.Of(say.OpenConversations, s.open) + ", " + say.Of(say.WaitingAnswers, s.waiting)}
	longest := s.longest[:min(len(s.longest), sumShown)]
	for _, one := range longest {
		who, err := r.session(ctx, one.session)
		if err != nil {
			return nil, err
		}
		line := say.WaitsFor.With(strings.Join(strings.Fields(who.DisplayName()), " "), say.Lasting(now.Sub(one.since.Time())))
		has, _, err := r.assignmentOf(ctx, one.session)
		if err != nil {
			return nil, err
		}
		if has != nil {
			line += ", " + say.WaitsClaimed.With(has.Name)
		}
		last, err := r.lastWords(ctx, one.session)
		if err != nil {
			return nil, err
		}
		if last != "" {
			line += " · " + say.Quoted.With(last)
		}
		if line, err = in.withLink(ctx, line, one.session); err != nil {
			return nil, err
		}
		lines = append(lines, line)
	}
	if more := s.waiting - len(longest); more > 0 && len(longest) > 0 {
		lines = append(lines, "… "+say.Of(say.AndMore, more))
	}
	return lines, nil
}

// behindFor is how far the cursor of a lane that another bridge works may be behind without saying anything: a cursor that only
// moved over what is of no use is not written at once.
const behindFor = 15 * time.Second

// laneText says how a lane does. Of one that another bridge works only its cursor is known here.
func (r *Desk) laneText(ctx context.Context, h bridge.LaneHealth, now time.Time) (string, error) {
	say := words.Get()
	state := map[string]string{"delivering": say.LaneDelivering, "paused": say.LanePaused}[h.State]
	text := bridge.Title(h.Lane) + say.Colon + cmp.Or(state, h.State)
	if h.Reason != "" {
		text += " (" + h.Reason + ")"
	}
	if h.State == "waiting" {
		text = bridge.Title(h.Lane) + say.Colon + say.LaneOther
		state, err := r.store.Lane(ctx, h.Lane)
		if err != nil {
			return "", err
		}
		last, behind := r.events.Newest(), now.Sub(state.Cursor.Time())
		if 0 < state.Cursor && state.Cursor < last && behind > behindFor && now.Sub(last.Time()) > behindFor {
			text += ", " + say.LaneBehind.With(say.Lasting(behind))
		}
		return text, nil
	}
	if h.Waiting > 0 {
		text += ", " + say.LaneWaiting.With(strconv.Itoa(h.Waiting), say.Lasting(h.Oldest))
	}
	return text, nil
}
