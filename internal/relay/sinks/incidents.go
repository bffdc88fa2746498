package sinks

import (
	"fmt"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/relay/incident"
)

// namedMost is how many receivers are named in one message.
const namedMost = 5

// receiverWords are those of the lane of that name, which is not a platform's.
type receiverWords string

func (lane receiverWords) Down(targets []string, long time.Duration, detail string) string {
	return lane.subject(targets, "has", "have") + fmt.Sprintf(" taken nothing for %s: %s. What is for it waits, "+
		"and is tried again for three days.", incident.Ago(long), detail)
}

func (lane receiverWords) Back(targets []string, after time.Duration) string {
	return lane.subject(targets, "takes", "take") + " events again, after " + incident.Ago(after) + "."
}

// subject begins a sentence about receivers.
func (lane receiverWords) subject(targets []string, one, several string) string {
	if lane == WebhookLane {
		return "The events webhook " + one
	}
	if len(targets) == 1 {
		return "The callback " + targets[0] + " " + one
	}
	rest := ""
	if n := len(targets) - namedMost; n > 0 {
		targets, rest = targets[:namedMost], fmt.Sprintf(" and %d more", n)
	}
	return "The callbacks " + strings.Join(targets, ", ") + rest + " " + several
}
