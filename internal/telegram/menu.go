package telegram

import (
	"strconv"
	"strings"

	"github.com/go-telegram/bot/models"

	"github.com/pocketping/bridge/internal/bridge"
)

// menu is what Telegram offers when an operator types a slash: all commands. Telegram takes a hundred, with names of 32 lower-case
// letters and descriptions of 256 characters (https://core.telegram.org/bots/api#botcommand).
func menu() []models.BotCommand {
	var out []models.BotCommand
	for _, c := range bridge.Commands() {
		out = append(out, models.BotCommand{Command: c.Name, Description: c.Help})
	}
	return out
}

// HomeSetting implements bridge.Home.
func (t *Telegram) HomeSetting() (name, value string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return "TELEGRAM_CHAT_ID", strconv.FormatInt(t.chat, 10)
}

// ThreadLink implements bridge.ThreadLinker: the link of a message of a private supergroup, here the one that opens the topic
// (https://core.telegram.org/api/links#message-links). Other chats have none.
func (t *Telegram) ThreadLink(thread bridge.ThreadID) string {
	chat, topic, ok := parseThread(thread)
	id, supergroup := strings.CutPrefix(strconv.FormatInt(chat, 10), "-100")
	if !ok || topic == 0 || !supergroup {
		return ""
	}
	return "https://t.me/c/" + id + "/" + strconv.FormatInt(topic, 10)
}
