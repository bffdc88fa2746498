package desk

import (
	"context"
	"strings"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/relay/msgmap"
	"github.com/pocketping/bridge/internal/words"
)

// wordsShown is how much of a visitor's last words is quoted, in UTF-16 units.
const wordsShown = 80

// wordsOf returns how a message of an app's begins, in a line; of one without text, what files it has.
func wordsOf(e bridge.Event) string {
	s, err := e.InShort()
	if err != nil {
		return ""
	}
	return strings.Clone(measure.OneLine(msgmap.Excerpt(s.Content, s.Attachments), wordsShown))
}

// lastWords returns how the last message of a session's visitor begins, as it is now; nothing of one that was deleted.
func (r *Desk) lastWords(ctx context.Context, session string) (string, error) {
	c, err := r.conversation(ctx, session)
	if err != nil || c.Said == "" {
		return "", err
	}
	now, err := msgmap.Revisions{Store: r.store}.All(ctx, session, []msgmap.Ref{msgmap.Visitor(c.Said)})
	switch {
	case err != nil:
		return "", err
	case now[0] == nil:
		return c.Words, nil
	case now[0].Gone:
		return "", nil
	}
	return measure.OneLine(msgmap.Excerpt(now[0].Text, now[0].Files), wordsShown), nil
}

// Stands says how a session stands, for those who look at its card: how the visitor's last words begin, as they are now, and who answers.
func (r *Desk) Stands(ctx context.Context, session string) (said, answers string, err error) {
	if said, err = r.lastWords(ctx, session); err != nil {
		return "", "", err
	}
	who, err := r.whoAnswers(ctx, session)
	switch {
	case err != nil:
		return "", "", err
	case who != "":
		answers = words.Get().CardAnswers.With(who)
	case said != "":
		answers = words.Get().CardUnanswered
	}
	return said, answers, nil
}

// whoAnswers is who takes care of a session, else who has answered last; empty: nobody has.
func (r *Desk) whoAnswers(ctx context.Context, session string) (string, error) {
	has, _, err := r.assignmentOf(ctx, session)
	switch {
	case err != nil:
		return "", err
	case has != nil:
		return has.Name, nil
	}
	answered, err := msgmap.AnsweredBy(ctx, r.store, session)
	if err != nil || len(answered.By) == 0 {
		return "", err
	}
	switch id := answered.By[len(answered.By)-1].ID; id {
	case msgmap.AnswererAI:
		return words.Get().TheAI, nil
	case msgmap.AnswererApp:
		return words.Get().OnSite.With(words.Get().Operator), nil
	default:
		people, err := r.presence.People(ctx)
		if err != nil {
			return "", err
		}
		for _, p := range people {
			if p.Has(id) {
				return p.Called, nil
			}
		}
		return words.Get().AnOperator, nil
	}
}

// withLink puts the link of a session's thread here behind a line, where there is one.
func (in *inbox) withLink(ctx context.Context, line, session string) (string, error) {
	linker, ok := in.chat.(bridge.ThreadLinker)
	if !ok {
		return line, nil
	}
	t, err := in.messages.Thread(ctx, session)
	if err != nil || t.ID == "" {
		return line, err
	}
	if link := linker.ThreadLink(t.ID); link != "" {
		line += " · " + link
	}
	return line, nil
}
