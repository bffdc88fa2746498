package telegram

import (
	"strconv"
	"strings"

	"github.com/pocketping/bridge/internal/bridge"
)

// A thread is <chat>/<topic>, <chat>/flat/<session> in a chat without topics, or <chat>/ for the chat itself.

func topicThread(chatID, topic int64) bridge.ThreadID {
	return generalThread(chatID) + bridge.ThreadID(strconv.FormatInt(topic, 10))
}

func flatThread(chatID int64, session string) bridge.ThreadID {
	return generalThread(chatID) + bridge.ThreadID("flat/"+session)
}

func generalThread(chatID int64) bridge.ThreadID {
	return bridge.ThreadID(strconv.FormatInt(chatID, 10) + "/")
}

func parseThread(id bridge.ThreadID) (chatID, topic int64, ok bool) {
	first, rest, found := strings.Cut(string(id), "/")
	chatID, err := strconv.ParseInt(first, 10, 64)
	if err != nil || !found {
		return 0, 0, false
	}
	if rest == "" || strings.HasPrefix(rest, "flat/") {
		return chatID, 0, true
	}
	topic, err = strconv.ParseInt(rest, 10, 64)
	return chatID, topic, err == nil && topic > 0
}

func isFlat(id bridge.ThreadID) bool {
	_, rest, _ := strings.Cut(string(id), "/")
	return strings.HasPrefix(rest, "flat/")
}

// A message is its number. Those of a basic group carry the group's id too, <chat>/<number>: when it becomes a supergroup the
// numbers start anew, and those of before must not be taken for those of after.

func messageID(chatID, id int64) bridge.MessageID {
	n := strconv.FormatInt(id, 10)
	if isBasic(chatID) {
		n = strconv.FormatInt(chatID, 10) + "/" + n
	}
	return bridge.MessageID(n)
}

// parseMessage returns a message's number; ok is false for what is no message of the chat.
func parseMessage(id bridge.MessageID, chatID int64) (n int, ok bool) {
	digits := string(id)
	if isBasic(chatID) {
		if digits, ok = strings.CutPrefix(digits, strconv.FormatInt(chatID, 10)+"/"); !ok {
			return 0, false
		}
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil && n > 0
}

// isBasic says whether a chat is a basic group, by its id: private chats are above 0, supergroups and channels below -10^12.
func isBasic(chatID int64) bool { return chatID < 0 && chatID > -1_000_000_000_000 }
