package telegram

import (
	"context"
	"strings"

	"github.com/go-telegram/bot"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
)

// callbackQuery is a press of a button. Its message may be too old for Telegram to tell more of it than its id.
type callbackQuery struct {
	ID      string   `json:"id"`
	From    *user    `json:"from"`
	Message *message `json:"message"`
	Data    string   `json:"data"`
}

// pressMark stands before a press's id where that stands for a message that is answered.
const pressMark = "press/"

// maxToast: "0-200 characters" (answerCallbackQuery.text).
const maxToast = 200

// fromPress takes over a press of one of the bot's buttons. Whoever presses is told by name, an anonymous administrator too.
func (out *converted) fromPress(q *callbackQuery, v view) {
	if q.Message == nil || q.ID == "" || q.Data == "" {
		return
	}
	if !v.chats[q.Message.Chat.ID] {
		out.noteOtherChat(q.Message.Chat)
		return
	}
	author, ok := authorOf(q.From, nil, q.Message.Chat, "", v)
	if !ok || q.Message.ID <= 0 {
		return
	}
	out.Kind, out.Slash, out.Press = bridge.UpdatePress, true, q.Data
	out.Author, out.Message = author, bridge.MessageID(pressMark+q.ID)
	// The message's own place; it replies to nothing that matters here.
	of := *q.Message
	of.ReplyTo = nil
	out.Thread, out.Flat = placeOfMessage(&of, v)
	out.ReplyTo = messageID(q.Message.Chat.ID, q.Message.ID)
}

// Presses implements bridge.Presser.
func (t *Telegram) Presses() bool { return true }

// AnswerPress implements bridge.PressAnswerer.
func (t *Telegram) AnswerPress(ctx context.Context, id bridge.MessageID, text string) error {
	query, ok := strings.CutPrefix(string(id), pressMark)
	if !ok {
		return nil
	}
	return t.do(ctx, opToast, nil, func(ctx context.Context) error {
		return only(t.api.AnswerCallbackQuery(ctx, &bot.AnswerCallbackQueryParams{
			CallbackQueryID: query, Text: measure.OneLine(text, maxToast),
		}))
	}, "query is too old", "query_id_invalid")
}

// inlineKeyboard is InlineKeyboardMarkup. The library's own gives every button a copy_text, beside which there can be no callback_data.
type inlineKeyboard struct {
	Rows [][]inlineButton `json:"inline_keyboard"`
}

type inlineButton struct {
	Text string `json:"text"`
	Data string `json:"callback_data"`
}

// keyboard are buttons as Telegram shows them.
func keyboard(rows [][]bridge.Button) inlineKeyboard {
	k := inlineKeyboard{Rows: make([][]inlineButton, len(rows))}
	for i, row := range rows {
		for _, b := range row {
			k.Rows[i] = append(k.Rows[i], inlineButton{Text: b.Label, Data: b.Data})
		}
	}
	return k
}
