package sinks

import (
	"log/slog"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/relay/incident"
	"github.com/pocketping/bridge/internal/words"
)

// How many requests to one program may be under way at once, and to one that fails: one that takes ten seconds to fail must not keep the
// others waiting.
const (
	perProgram        = 64
	perFailingProgram = 4
)

// programs are those that a sink delivers to, as it knows how each of them does.
type programs struct{ incidents *incident.Tracker }

func newPrograms(lane string, places func() []incident.Place, log *slog.Logger) programs {
	return programs{incident.New(incident.Options{
		Name: lane, Places: places, Words: receiverWords(lane), After: incident.TellAfter, Log: log,
	})}
}

// AtOnce implements engine.TargetHealth.
func (p programs) AtOnce(target string) int {
	if p.incidents.Failing(target) {
		return perFailingProgram
	}
	return perProgram
}

// TookSince implements engine.TargetHealth.
func (p programs) TookSince(target string, since time.Time) bool {
	return p.incidents.TookSince(target, since)
}

// namedMost is how many receivers are named in one message.
const namedMost = 5

// receiverWords are those of the lane of that name, which is not a platform's.
type receiverWords string

func (lane receiverWords) Down(targets []string, long time.Duration, detail string) string {
	say := words.Get()
	switch lasting := say.Lasting(long); {
	case lane == WebhookLane:
		return say.HookTakesNothing.With(lasting, detail)
	case len(targets) == 1:
		return say.CallbackNothing.With(targets[0], lasting, detail)
	default:
		return say.CallbacksNothing.With(named(targets), lasting, detail)
	}
}

func (lane receiverWords) Back(targets []string, after time.Duration) string {
	say := words.Get()
	switch lasting := say.Lasting(after); {
	case lane == WebhookLane:
		return say.HookTakesAgain.With(lasting)
	case len(targets) == 1:
		return say.CallbackAgain.With(targets[0], lasting)
	default:
		return say.CallbacksAgain.With(named(targets), lasting)
	}
}

// named lists receivers, the first few of them.
func named(targets []string) string {
	rest := ""
	if n := len(targets) - namedMost; n > 0 {
		targets, rest = targets[:namedMost], " "+words.Get().Of(words.Get().AndMore, n)
	}
	return strings.Join(targets, ", ") + rest
}
