package relay

import (
	"context"
	"fmt"
	"strings"

	"github.com/pocketping/bridge/internal/bridge"
)

// command is one thing that operators can ask of the bridge in chat.
type command struct {
	name    string
	aliases []string
	help    string
}

// commands are all of them, in the order in which help lists them.
func commands() []command {
	return []command{
		{"online", nil, "you are here: visitors see the team online"},
		{"offline", nil, "you are gone"},
		{"status", []string{"who"}, "who is online, and how the platforms do"},
		{"id", nil, "the ids of this chat, thread and person"},
		{"help", []string{"h", "commands", "start"}, "this list"},
	}
}

// canonical returns the command's own name, or nothing for an unknown one.
func canonical(name string) string {
	for _, c := range commands() {
		if c.name == name {
			return c.name
		}
		for _, alias := range c.aliases {
			if alias == name {
				return c.name
			}
		}
	}
	return ""
}

func help() string {
	var b strings.Builder
	b.WriteString("What you write in a visitor's thread goes to the visitor. Commands do not; they work as /name or !name:")
	for _, c := range commands() {
		fmt.Fprintf(&b, "\n/%s – %s", c.name, c.help)
	}
	return b.String()
}

// command does what an operator asks. Its claim, its effect and its answer are one write; the answer is then a delivery.
func (in *inbox) command(ctx context.Context, u bridge.Update, cmd *bridge.Command, b bridge.Batch) (bridge.Result, error) {
	name := canonical(cmd.Name)
	op := bridge.Operator{
		ID: in.platform + ":" + u.Author.ID, Name: u.Author.Name, Platform: in.platform, Reason: "command",
	}
	if cmd.Args != "" && (name == "online" || name == "offline") {
		return in.say(ctx, u, b, fmt.Sprintf("/%s takes nothing behind it. Nothing was changed.", name))
	}
	switch name {
	case "online":
		op.Status = bridge.StatusOnline
		b.Events = []bridge.Event{in.answer(u, "You are online. Visitors see the team online.")}
		return in.relay.presence.Set(ctx, op, b)
	case "offline":
		op.Status = bridge.StatusOffline
		b.Events = []bridge.Event{in.answer(u, "You are offline.")}
		return in.relay.presence.Set(ctx, op, b)
	case "status":
		text, err := in.relay.statusText(ctx)
		if err != nil {
			return bridge.Result{}, err
		}
		return in.say(ctx, u, b, text)
	case "id":
		return in.say(ctx, u, b, fmt.Sprintf("Thread: %s\nYou: %s (%s)", u.Thread, op.ID, op.Name))
	case "help":
		return in.say(ctx, u, b, help())
	default:
		return in.say(ctx, u, b, fmt.Sprintf("I do not know /%s. It was not sent to the visitor.\n\n%s", cmd.Name, help()))
	}
}

func (in *inbox) say(ctx context.Context, u bridge.Update, b bridge.Batch, text string) (bridge.Result, error) {
	b.Events = []bridge.Event{in.answer(u, text)}
	return in.relay.commit(ctx, b)
}

// statusText says who is online and how each lane does.
func (r *Relay) statusText(ctx context.Context) (string, error) {
	text, err := r.presence.Summary(ctx)
	if err != nil {
		return "", err
	}
	for _, h := range r.Health() {
		text += "\n" + title(h.Lane) + ": " + h.State
		if h.Reason != "" {
			text += " (" + h.Reason + ")"
		}
		if h.Waiting > 0 {
			text += fmt.Sprintf(", %d waiting", h.Waiting)
		}
	}
	return text, nil
}
