package bridge

import "context"

// Button is something that operators can press under a message of the bridge's.
type Button struct {
	Label string // one line of at most MaxButtonLabel UTF-16 units, shown as it is
	Data  string // what is told when it is pressed: at most MaxButtonData bytes
	Grave bool   // it is not to be pressed by accident
}

const (
	// MaxButtonData is the least that any platform takes: callback_data of Telegram's InlineKeyboardButton
	// (https://core.telegram.org/bots/api#inlinekeyboardbutton). Discord takes 100 characters of a custom_id, Slack 2000 of a value.
	MaxButtonData = 64
	// MaxButtonLabel is less than the least: Slack takes 75 characters, Discord 80; more is not read on a phone.
	MaxButtonLabel = 40
	// MaxButtonRow is how many stand side by side: 5 in a row of Discord's.
	MaxButtonRow = 5
)

// Presser is a platform that can show buttons, and tells when one is pressed.
type Presser interface {
	// Presses says whether presses reach the bridge, as it is configured.
	Presses() bool
}

// PressAnswerer is a Presser on which a press is answered by a call of its own, which no pace counts and which has to come at once.
// Elsewhere an answer to a press is a message.
type PressAnswerer interface {
	// AnswerPress shows a text, or with none nothing, to whoever pressed a button. id is the update's Message. An answer that comes too
	// late, or a second time, is success.
	AnswerPress(ctx context.Context, id MessageID, text string) error
}
