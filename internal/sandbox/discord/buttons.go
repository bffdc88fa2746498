package discord

import (
	"slices"
	"strconv"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/stage"
)

// Button is a button under a message.
type Button struct {
	Label string
	ID    string // its custom_id
	Style int
}

// component is a row of buttons, or a button in it.
type component struct {
	Type       int         `json:"type"`
	Components []component `json:"components"`
	CustomID   string      `json:"custom_id"`
	Style      int         `json:"style"`
	Label      string      `json:"label"`
}

// maxRows: "up to 5 Action Rows" of a message without components V2
// (https://docs.discord.com/developers/components/reference#legacy-message-component-behavior).
const maxRows = 5

// buttonsOf reads a message's components: rows of buttons, which alone are served. "custom_id must be unique per component".
func buttonsOf(rows []component, at func(...string) []string) ([][]Button, error) {
	var out [][]Button
	seen := make(map[string]bool)
	if len(rows) > maxRows {
		return nil, invalidForm(problem{at("components"), "BASE_TYPE_MAX_LENGTH", "Must be 5 or fewer in length."})
	}
	for i, row := range rows {
		var line []Button
		for j, b := range row.Components {
			where := at("components", strconv.Itoa(i), "components", strconv.Itoa(j))
			switch {
			case b.Style > 4:
				return nil, stage.Faultf("the sandbox serves no button of style %d", b.Style)
			case b.CustomID == "":
				return nil, invalidForm(problem{append(where, "custom_id"), "BUTTON_COMPONENT_CUSTOM_ID_REQUIRED", "A custom id is required"})
			case b.Label == "":
				return nil, invalidForm(problem{append(where, "label"), "BUTTON_COMPONENT_LABEL_OR_EMOJI_REQUIRED", "A label or an emoji is required"})
			case seen[b.CustomID]:
				return nil, invalidForm(problem{append(where, "custom_id"), "COMPONENT_CUSTOM_ID_DUPLICATED", "Component custom id cannot be duplicated"})
			}
			seen[b.CustomID] = true
			line = append(line, Button{Label: b.Label, ID: b.CustomID, Style: b.Style})
		}
		out = append(out, line)
	}
	return out, nil
}

func wireButtons(rows [][]Button) []object {
	out, n := make([]object, 0, len(rows)), 0
	for _, row := range rows {
		n++
		line := object{"type": 1, "id": n}
		var buttons []object
		for _, b := range row {
			n++
			buttons = append(buttons, object{"type": 2, "id": n, "custom_id": b.ID, "style": b.Style, "label": b.Label})
		}
		line["components"] = buttons
		out = append(out, line)
	}
	return out
}

// Press presses the button of a message that has the custom_id: one that is shown in a channel, or an ephemeral one to whom it is
// shown. The application is told as by UseCommand. It returns at once.
func (s *Server) Press(m Message, user, customID string) Interaction {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, u := s.channels[flake(m.Channel)], s.users[flake(user)]
	if c == nil || u == nil || c.archived && c.locked {
		s.fault("control: no open channel %q or no user %q", m.Channel, user)
		return Interaction{}
	}
	at := c.find(flake(m.ID))
	for _, i := range s.interactions {
		for _, answer := range i.answers {
			if answer.id == flake(m.ID) && i.user == u {
				at = answer
			}
		}
	}
	// People may press what their client still shows, and the message has no more.
	if at == nil || !slices.ContainsFunc(slices.Concat(m.Buttons, at.buttons), func(row []Button) bool {
		return slices.ContainsFunc(row, func(b Button) bool { return b.ID == customID })
	}) {
		s.fault("control: no message %q with a button %q", m.ID, customID)
		return Interaction{}
	}
	i := &interaction{id: s.newID(), kind: 3, token: newToken(160), name: customID, user: u, channel: c, pressed: at, at: time.Now()}
	s.begin(i, object{"id": 2, "custom_id": customID, "component_type": 2}, object{"message": s.wireMessage(at, false)})
	return s.showInteraction(i)
}

// updatePressed answers a press at the message that has the button: with nothing (6, DEFERRED_UPDATE_MESSAGE: "the user does not see a
// loading state"), or with another form of it (7, UPDATE_MESSAGE). It is then the interaction's original.
func (s *Server) updatePressed(i *interaction, kind int, f *form, q *request) (*message, error) {
	i.state = answered
	i.original = i.pressed
	if kind == 6 {
		return i.pressed, nil
	}
	changed := *i.pressed
	if err := s.fill(&changed, f, q.uploads, "data"); err != nil {
		return nil, err
	}
	changed.edited = time.Now()
	*i.pressed = changed
	if i.pressed.flags&flagEphemeral == 0 {
		s.tellMessage("MESSAGE_UPDATE", i.pressed)
	}
	return i.pressed, nil
}
