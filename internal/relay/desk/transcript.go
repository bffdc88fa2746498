package desk

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/bridge"
)

const (
	transcriptMost = 100  // messages that are looked at
	transcriptLong = 3000 // characters that are shown: no more than two messages on any platform
)

// transcript answers with what was said in a session, the newest of it that a message or two hold.
func (in *inbox) transcript(ctx context.Context, o commandContext) (bridge.Result, error) {
	say := in.say()
	if in.desk.transcripts == nil {
		return in.replyTo(ctx, o, say.TranscriptOff)
	}
	page, err := in.desk.transcripts.Transcript(ctx, bridge.TranscriptQuery{Session: o.session, Limit: transcriptMost})
	if err != nil {
		return bridge.Result{}, err
	}
	if len(page.Messages) == 0 {
		return in.replyTo(ctx, o, say.TranscriptNone)
	}
	now, err := in.desk.store.Now(ctx)
	if err != nil {
		return bridge.Result{}, err
	}
	lines, room, more := []string{}, transcriptLong, page.More
	for _, m := range slices.Backward(page.Messages) {
		line := strings.TrimRight(m.Line(in.desk.presence.Clock(m.Accepted, now)), "\n")
		size := utf8.RuneCountInString(line)
		if size > room {
			more = true
			if len(lines) == 0 { // rather the beginning of one than nothing
				lines = append(lines, string([]rune(line)[:room])+"…")
			}
			break
		}
		lines, room = append(lines, line), room-size
	}
	if more {
		lines = append(lines, "… "+say.TranscriptMore)
	}
	lines = append(lines, say.TranscriptHead)
	slices.Reverse(lines)
	answer := in.answerOf(o.u, strings.Join(lines, "\n"))
	answer.Foreign = true
	o.b.Events = append(slices.Clone(o.b.Events), in.answerEvent(answer))
	return in.commitWithPresence(ctx, o.u, o.b)
}
