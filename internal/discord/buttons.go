package discord

import (
	"strings"

	"github.com/bwmarrin/discordgo"

	"github.com/pocketping/bridge/internal/bridge"
)

// A button's custom_id is its data, and behind a mark where its message is shown: the id of a thread, or that it is a place without
// threads. A card's says nothing of it: it is sent before its thread is there, whose id is then the card's own.
const (
	placeMark = "#"
	flatPlace = "flat"
)

// buttonMark is what a thread's buttons tell of it.
func buttonMark(thread bridge.ThreadID) string {
	_, id, _ := strings.Cut(string(thread), "/")
	switch f, ok := parseSnowflake(id); {
	case isFlat(thread):
		return placeMark + flatPlace
	case ok:
		return placeMark + f.String()
	default:
		return ""
	}
}

// components are buttons as Discord shows them; nil for nil.
func components(rows [][]bridge.Button, mark string) []discordgo.MessageComponent {
	if rows == nil {
		return nil
	}
	out := make([]discordgo.MessageComponent, 0, len(rows))
	for _, row := range rows {
		var line discordgo.ActionsRow
		for _, b := range row {
			style := discordgo.SecondaryButton
			if b.Grave {
				style = discordgo.DangerButton
			}
			line.Components = append(line.Components, discordgo.Button{Label: b.Label, Style: style, CustomID: b.Data + mark})
		}
		out = append(out, line)
	}
	return out
}

// Presses implements bridge.Presser: they come as slash commands do.
func (d *Discord) Presses() bool { return d.gateway || d.key != nil }

// press is an update that tells of a press. thread is where the message with the button stands.
func (d *Discord) press(in *interaction, thread bridge.ThreadID, author bridge.Author) bridge.Update {
	u := bridge.Update{
		ID: "interaction:" + flake(in.ID).String(), Kind: bridge.UpdatePress, Thread: thread, Message: d.seal(in), Author: author, Slash: true,
		ReplyTo: bridge.MessageID(flake(in.Message.ID).String()), Press: in.Data.CustomID,
	}
	data, place, marked := strings.Cut(in.Data.CustomID, placeMark)
	f, ok := parseSnowflake(place)
	switch {
	case marked && place == flatPlace:
		u.Press = data
	case marked && ok:
		u.Press, u.Thread = data, d.threadID(f.String())
	case thread == d.threadID(""): // a card in the channel, at which a thread began
		u.Thread = d.threadID(flake(in.Message.ID).String())
	}
	return u
}
