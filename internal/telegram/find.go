package telegram

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

var _ bridge.Finder = (*Telegram)(nil)

// findEvery is how often updates are asked for in which no chat was.
const findEvery = time.Second

// Chats implements bridge.Finder: the groups in which something was written to the bot, or to which it was added, the newest last.
func (t *Telegram) Chats(ctx context.Context) (found []bridge.Chat, err error) {
	for len(found) == 0 {
		updates, err := t.poll(ctx, 0)
		if err != nil {
			return nil, err
		}
		for _, raw := range updates {
			var u struct {
				Message struct {
					Chat chat `json:"chat"`
				} `json:"message"`
				Member struct {
					Chat chat `json:"chat"`
				} `json:"my_chat_member"`
			}
			if json.Unmarshal(raw, &u) != nil {
				continue
			}
			c := cmp.Or(u.Message.Chat, u.Member.Chat)
			if c.Type == "group" || c.Type == "supergroup" {
				id := strconv.FormatInt(c.ID, 10)
				found = slices.DeleteFunc(found, func(other bridge.Chat) bool { return other.ID == id })
				found = append(found, bridge.Chat{ID: id, Title: c.Title})
			}
		}
		if len(found) == 0 {
			bridge.Sleep(ctx, findEvery)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return found, nil
}
