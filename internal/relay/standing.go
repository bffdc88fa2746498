package relay

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// statusText says who is online, which visitors wait for an answer, and how each lane does.
func (r *Relay) statusText(ctx context.Context) (string, error) {
	text, err := r.presence.Summary(ctx)
	if err != nil {
		return "", err
	}
	now, err := r.store.Now(ctx)
	if err != nil {
		return "", err
	}
	lines := []string{text, ""}
	waiting, err := r.waitingText(ctx, now)
	if err != nil {
		return "", err
	}
	lines = append(append(lines, waiting...), "")
	for _, h := range r.Health() {
		line, err := r.laneText(ctx, h, now)
		if err != nil {
			return "", err
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n"), nil
}

// waitingText says how many conversations are open, and who has waited longest.
func (r *Relay) waitingText(ctx context.Context, now time.Time) ([]string, error) {
	var s sum
	raw, err := r.store.Get(ctx, tableWatch, watchSum)
	if err == nil && raw != nil {
		err = json.Unmarshal(raw, &s)
	}
	if err != nil {
		return nil, err
	}
	what := "conversations"
	if s.Open == 1 {
		what = "conversation"
	}
	lines := []string{fmt.Sprintf("%d open %s, %d waiting for an answer", s.Open, what, s.Waiting)}
	for _, one := range s.Longest {
		who := &bridge.Session{ID: one.Session, VisitorID: one.Session}
		raw, err := r.store.Get(ctx, tableSessions, one.Session)
		if err == nil && raw != nil {
			err = json.Unmarshal(raw, who)
		}
		if err != nil {
			return nil, err
		}
		line := fmt.Sprintf("⏳ %s: for %s", strings.Join(strings.Fields(who.DisplayName()), " "), lasting(now.Sub(one.Since.Time())))
		has, _, err := r.claimed(ctx, one.Session)
		if err != nil {
			return nil, err
		}
		if has != nil {
			line += ", claimed by " + has.Name
		}
		lines = append(lines, line)
	}
	if more := s.Waiting - len(s.Longest); more > 0 && len(s.Longest) > 0 {
		lines = append(lines, fmt.Sprintf("… and %d more", more))
	}
	return lines, nil
}

// behindFor is how far the cursor of a lane that another bridge works may be behind without saying anything: a cursor that only
// moved over what is of no use is not written at once.
const behindFor = 3 * cursorEvery

// laneText says how a lane does. Of one that another bridge works only its cursor is known here.
func (r *Relay) laneText(ctx context.Context, h bridge.LaneHealth, now time.Time) (string, error) {
	text := title(h.Lane) + ": " + h.State
	if h.Reason != "" {
		text += " (" + h.Reason + ")"
	}
	if h.State == "waiting" {
		text = title(h.Lane) + ": worked by another bridge"
		state, err := r.store.Lane(ctx, h.Lane)
		if err != nil {
			return "", err
		}
		last, behind := r.tail.Newest(), now.Sub(state.Cursor.Time())
		if 0 < state.Cursor && state.Cursor < last && behind > behindFor && now.Sub(last.Time()) > behindFor {
			text += ", which is behind by " + lasting(behind)
		}
		return text, nil
	}
	if h.Waiting > 0 {
		text += fmt.Sprintf(", %d waiting, for up to %s", h.Waiting, lasting(h.Oldest))
	}
	return text, nil
}
