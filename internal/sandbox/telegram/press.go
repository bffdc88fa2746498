package telegram

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// Button is a button of an inline keyboard.
type Button struct {
	Text string `json:"text"`
	Data string `json:"callback_data"`
}

const (
	// maxButtonData: "Data to be sent in a callback query to the bot when the button is pressed, 1-64 bytes"
	// (InlineKeyboardButton.callback_data).
	maxButtonData = 64
	// maxToast: "0-200 characters" (answerCallbackQuery.text).
	maxToast = 200
	// maxButtons is how many buttons a keyboard holds; not documented, and seen (github.com/tdlib/telegram-bot-api/issues/164).
	maxButtons = 100
	// queryFor is how long a press can be answered. The documentation names no time; the server says "query is too old" after some.
	queryFor = time.Minute
)

// keyboardOf reads reply_markup; a keyboard without buttons is none.
func keyboardOf(p params) ([][]Button, error) {
	var markup struct {
		Rows [][]Button `json:"inline_keyboard"`
	}
	if err := p.decode("reply_markup", &markup); err != nil {
		return nil, err
	}
	all := 0
	for _, row := range markup.Rows {
		for _, b := range row {
			switch all++; {
			case b.Text == "":
				return nil, badRequest("can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard")
			case b.Data == "":
				return nil, badRequest("can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard")
			case len(b.Data) > maxButtonData:
				return nil, badRequest("BUTTON_DATA_INVALID")
			}
		}
	}
	if all > maxButtons {
		return nil, badRequest("reply markup is too long")
	}
	return slices.DeleteFunc(markup.Rows, func(row []Button) bool { return len(row) == 0 }), nil
}

func wireKeyboard(rows [][]Button) object {
	out := make([][]object, 0, len(rows))
	for _, row := range rows {
		wired := make([]object, 0, len(row))
		for _, b := range row {
			wired = append(wired, object{"text": b.Text, "callback_data": b.Data})
		}
		out = append(out, wired)
	}
	return object{"inline_keyboard": out}
}

// query is a press of a button.
type query struct {
	id       string
	message  *message
	at       time.Time
	answered bool
	text     string
	alert    bool
}

// Press is a press of a button, as Press and Presses return it.
type Press struct {
	ID       string
	Answered bool   // until then the button shows a clock
	Text     string // that whoever pressed it was shown
	Alert    bool   // in a window to be closed
}

// Press presses the button of a message that carries the data; of a message that shows none with it nothing is pressed, and a fault is
// left. The bot is told by callback_query.
func (s *Server) Press(m Message, user int64, data string) Press {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.chats[m.Chat]
	who, known := s.users[user]
	if c == nil || c.messages[m.ID] == nil || !known {
		s.fault(fmt.Sprintf("control: no message %d in chat %d, or no user %d", m.ID, m.Chat, user))
		return Press{}
	}
	at := c.messages[m.ID]
	// People may press what their client still shows, and the message has no more.
	if !slices.ContainsFunc(slices.Concat(m.Buttons, at.Buttons), func(row []Button) bool {
		return slices.ContainsFunc(row, func(b Button) bool { return b.Data == data })
	}) {
		s.fault(fmt.Sprintf("control: message %d has no button %q", m.ID, data))
		return Press{}
	}
	q := s.press(at, who, data)
	return Press{ID: q.id}
}

func (s *Server) press(at *message, who User, data string) *query {
	s.lastQuery++
	q := &query{id: strconv.FormatInt(4_000_000_000_000_000+s.lastQuery, 10), message: at, at: time.Now()}
	s.queries = append(s.queries, q)
	s.tell("callback_query", object{
		"id": q.id, "from": who.wire(), "message": s.wire(at, true), "chat_instance": "-42", "data": data,
	})
	s.change()
	return q
}

// Presses returns the presses so far, the oldest first.
func (s *Server) Presses() []Press {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Press, 0, len(s.queries))
	for _, q := range s.queries {
		out = append(out, Press{ID: q.id, Answered: q.answered, Text: q.text, Alert: q.alert})
	}
	return out
}

// answerCallbackQuery answers a press. It is no message, and no pace of a chat's counts it.
func (s *Server) answerCallbackQuery(p params) (any, error) {
	for _, q := range s.queries {
		if q.id != p["callback_query_id"] {
			continue
		}
		switch {
		case utf8.RuneCountInString(p["text"]) > maxToast:
			return nil, &refusal{code: http.StatusBadRequest, text: "Bad Request: MESSAGE_TOO_LONG"}
		case q.answered || time.Since(q.at) > queryFor:
			return nil, errOldQuery()
		}
		q.answered, q.text, q.alert = true, p["text"], p.is("show_alert")
		return true, nil
	}
	return nil, errOldQuery()
}

func errOldQuery() *refusal {
	return badRequest("query is too old and response timeout expired or query ID is invalid")
}
