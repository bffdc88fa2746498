package msgmap

import (
	"context"
	"slices"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

const (
	// tableAnswered holds who has answered a visitor: session → Answered.
	tableAnswered = "answered"
	// TableAssignments holds who takes care of a session: key session, value the desk's.
	TableAssignments = "claims"
)

// Who answers and is no operator of a platform's.
const (
	AnswererAI  = "ai"
	AnswererApp = "app" // an operator on the site, whoever it is
)

// answerersMost is how many of those who have answered a visitor are known.
const answerersMost = 8

// Answered is who has answered a visitor: operators' ids and the ones above, each once, the latest last.
type Answered struct {
	By []Answerer `json:"by"`
}

// Answerer is somebody who has answered, and when they did so last.
type Answerer struct {
	ID string    `json:"id"`
	At time.Time `json:"at"`
}

// Last returns when the visitor was answered last; zero: never.
func (a Answered) Last() time.Time {
	if len(a.By) == 0 {
		return time.Time{}
	}
	return a.By[len(a.By)-1].At
}

// With adds an answer, Without takes somebody's out.
func (a Answered) With(id string, at time.Time) Answered {
	by := append(a.Without(id).By, Answerer{ID: id, At: at.UTC().Truncate(time.Millisecond)})
	return Answered{By: by[max(0, len(by)-answerersMost):]}
}

// Without is With's opposite.
func (a Answered) Without(id string) Answered {
	return Answered{By: slices.DeleteFunc(slices.Clone(a.By), func(b Answerer) bool { return b.ID == id })}
}

// AnsweredBy returns who has answered a session's visitor.
func AnsweredBy(ctx context.Context, s Store, session string) (Answered, error) {
	var a Answered
	_, err := get(ctx, s, tableAnswered, session, &a)
	return a, err
}

// AnsweredRow keeps who has answered a session's visitor. Of two that are written at once one may be lost: then somebody may be called
// who need not.
func AnsweredRow(session string, a Answered) bridge.Row {
	return bridge.Row{Table: tableAnswered, Key: session, Value: bridge.MustJSON(a), Session: session}
}
