package sinks

import (
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/words"
)

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
