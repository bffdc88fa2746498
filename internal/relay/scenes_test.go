package relay_test

import (
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	people "github.com/pocketping/bridge/internal/presence"
	"github.com/pocketping/bridge/internal/relay"
)

// withMenus are a platform with commands of its own in threads, and one without, where answers read in another way.
var withMenus = []string{"telegram", "slack"}

// scenes are those that TestWhatPeopleAreTold plays.
func scenes() []scene {
	return []scene{
		{title: "Help", places: withMenus, script: `
			Ana, at main: /help
			Ana, at main: /help reply
			Ana, at main: /help awy
			new: {"name":"Mia"}
			Ana: /help`},
		{title: "What each command does", script: strings.TrimSpace(everyHelp())},
		{title: "Who is here", script: `
			Ana, at main: /status
			Ana, at main: /online
			Ana, at main: /online 2h
			Ana, at main: /online soon
			Ana, at main: /offline 2h
			Ben, elsewhere: /away until 14:00
			new: {"name":"Mia","email":"mia@example.org"}
			visitor: where is my order?
			wait: 5m
			Ana, at main: /status
			Ana: /claim
			Ana, at main: /status
			Ana, at main: /away
			Ana, at main: /away 1h30m
			Ana, at main: /offline`},
		{title: "Names and accounts", script: `
			Ana, at main: /name Anastasia
			Ana, at main: /name
			Ana, at main: /name ` + strings.Repeat("x", 61) + `
			Ana, at main: /name ` + "\u200b" + `
			Ana, at main: /id
			Ben, elsewhere: /name Anastasia
			Ben, at main: /name Ana
			Ben, at main: /name Anastasia
			Ana, at main: /link NOSUCH
			Ana, at main: /link yes
			Ana, at main: /link
			Ana, at main: /unlink
			new: {"name":"Mia"}
			Ana: /id`},
		{title: "One name for all", adjust: func(_ *relay.Options, p *people.Options) { p.PublicName = "Support" }, script: `
			Ana, at main: /name Anastasia`},
		{title: "Outside threads", places: withMenus, script: `
			Ana, at main: /info
			Ana, at main: /unblock
			Ana, at main: /onlien
			Ana, at main: /frobnicate
			Ana, at main: hello
			Eve, at main: /status
			Eve, at main: /id`},
		{title: "A visitor", script: `
			new: {"id":"u-7","name":"Mia","email":"mia@example.org"}
			Ana: /info
			Ana: hello, Mia
			Ana: /r how are you?
			Ana, by menu: /r how are you?
			Ana: /note she is a regular customer
			Ana, by menu: /note she is a regular customer
			Ana: /read
			Ana: /read
			Ana: /csat
			event: {"type":"csat_submitted","sessionId":"SESSION","score":4,"comment":"fine"}
			Ana: /ai on
			Ana: /ai off
			Ana: /ai perhaps
			Ana: /ai
			Ana: /note
			Ana: /close now
			Ana: /history
			Ana: /transcript
			Ana: /info`},
		{title: "Deleting", script: `
			new: {"name":"Mia"}
			Ana: /delete
			Ana, to visitor: /delete
			Ben: I can help
			Ana, to other: /delete
			Ana: oh no
			Ana, to own: /delete
			Ana: oh no, again
			Ana, edits: /close
			Ana, edits: /note of mine`},
		{title: "Mistyped in a thread", places: withMenus, script: `
			new: {"name":"Mia"}
			Ana, at main: /canned add hello Hello, how can I help you?
			Ana: !noet he is a known cheat
			Ana: !helo
			Ana: !hello there
			Ana: !close: now
			Ana: /weather is fine
			Ben: /send
			Ana: /send
			Ana: /send
			Ana: /weather is fine again
			Ana, to last: no
			Ana: fine
			Ana, edits: !noet
			Ana, edits: /note for us alone
			Ana: !helo
			Ben, to last: yes`},
		{title: "What is too much", script: `
			new: {"name":"Mia"}
			Ana, at main: /canned add long ` + strings.Repeat("long ", 3000) + `
			canned: 200
			Ana, at main: /canned add onemore x
			Ana, at main: /find ` + "\u200b" + `
			draft: d1 hello
			Ana, presses: edit:d1
			Ana, to draft: ` + strings.Repeat("long ", 3000) + `
			Ana, at main presses: handover`},
		{title: "Nothing is sent without a word", adjust: func(o *relay.Options, _ *people.Options) { o.Internal = true }, script: `
			new: {"name":"Mia"}
			Ana: he is a regular customer
			Ana: /r hello, Mia
			Ana, edits: !noet
			Ana: /help`},
		{title: "Messages that stay", script: `
			new: {"name":"Mia"}
			Ana: oh no
			platform: keeps messages
			Ana, to own: /delete`},
		{title: "A stranger", places: withMenus, script: `
			new: {"name":"Mia"}
			Eve: hello
			Eve: hello again
			Eve, by menu: /close
			Eve, presses: close
			Eve: /help`},
		{title: "Who takes care", script: `
			new: {"name":"Mia"}
			Ana: /claim @Nobody
			Ben: /ok
			Ben: /unclaim
			Ana: /claim
			Ana: /claim
			Ben: /claim
			Ben: let me help
			Ana: /assign @Nobody
			Ana: /assign @Ben
			Ana: /ok
			Ben: /ok
			Ana: /assign @Ben
			Ana: /unclaim
			Ana, by menu: /claim
			Ana, by menu: /assign Ben
			Ana, by menu: /unclaim`},
		{title: "Kept conversations", adjust: func(o *relay.Options, _ *people.Options) { o.Transcripts = true }, script: `
			new: {"name":"Mia"}
			visitor: where is my order?
			Ana: one moment
			Ana, edits: one moment, please
			event: {"type":"visitor_message","session":{"id":"SESSION","visitorId":"visitor-1"},"message":{"id":"x1","sessionId":"SESSION","content":"see","attachments":[{"filename":"order.pdf","mimeType":"application/pdf","size":123456,"url":"https://example.org/order.pdf"}]}}
			event: {"type":"visitor_message","session":{"id":"SESSION","visitorId":"visitor-1"},"message":{"id":"x2","sessionId":"SESSION","content":"wrong"}}
			event: {"type":"visitor_message_deleted","sessionId":"SESSION","messageId":"x2"}
			draft: d1 It comes tomorrow.
			wait: 2m
			Ben, presses: send:d1
			visitor: thank you
			Ana: /transcript
			Ana, by menu: /transcript
			event: {"type":"visitor_message","session":{"id":"SESSION","visitorId":"visitor-1"},"message":{"id":"x3","sessionId":"SESSION","sender":"system","content":"the order is on its way"}}
			Ana: /transcript
			visitor: ` + strings.Repeat("a long story ", 160) + `
			visitor: ` + strings.Repeat("a long story ", 160) + `
			Ana: /transcript`},
		{title: "Closing", script: `
			new: {"name":"Mia"}
			Ana: /reopen
			Ana: /close
			Ben: /close
			Ben: /info
			Ana: /reopen
			Ana, by menu: /close
			Ana, by menu: /reopen
			Ana: /close
			Ben: one more thing
			event: {"type":"session_closed","sessionId":"SESSION"}
			Ana: /reopen`},
		{title: "Blocking", script: `
			Ana, at main: /blocked
			new: {"name":"Mia"}
			Ana: /unblock
			Ana: /block rude
			Ana: /block
			Ana, at main: /blocked
			Ana: /unblock
			Ana, by menu: /block
			Ana, by menu: /unblock
			Ana: /block
			Ana, at main: /unblock visitor-1
			Ana, at main: /unblock visitor-1`},
		{title: "Finding", script: `
			new: {"name":"Mia","email":"mia@example.org"}
			new: {"name":"Miriam"}
			wait: 2s
			Ana, at main: /find mi
			Ana, at main: /find zoe
			Ana, at main: /find
			Ana: /history
			again: {"name":"Miriam"}
			wait: 2s
			Ana: /history`},
		{title: "What the app tells", script: `
			new: {"name":"Mia"}
			event: {"type":"visitor_message","message":{"id":"x1","sessionId":"SESSION","content":"wrong"},"session":{"id":"SESSION","visitorId":"visitor-1"}}
			event: {"type":"visitor_message_edited","sessionId":"SESSION","messageId":"x1","content":"right"}
			event: {"type":"visitor_message_deleted","sessionId":"SESSION","messageId":"x1"}
			event: {"type":"ai_takeover","sessionId":"SESSION","reason":"nobody is here"}
			event: {"type":"custom_event","sessionId":"SESSION","event":{"name":"clicked_pricing","data":{"plan":"pro","seats":3}}}
			event: {"type":"visitor_disconnect","sessionId":"SESSION","duration":125}
			answer: waits
			event: {"type":"visitor_disconnect","sessionId":"SESSION"}
			new: {"name":"Max"}
			answer: waits max@example.org`},
		{title: "Two accounts of one person", places: []string{"telegram"}, adjust: func(o *relay.Options, _ *people.Options) { o.Operators = nil }, script: `
			Ana, at main: /link
			Ana, at main: /link CODE
			Ben, elsewhere: /link CODE
			Ben, elsewhere: /link CODE
			Eve, elsewhere: /link CODE
			Ben, elsewhere: /link yes
			Ana, at main: /link yes
			Ana, at main: /id
			Ana, at main: /link
			Eve, elsewhere: /link CODE
			Ana, at main: /unlink`},
		{title: "After hours", adjust: func(_ *relay.Options, p *people.Options) {
			p.Hours, _ = people.ParseHours("Mon-Fri 09:00-17:00", "", time.UTC)
		}, script: `
			Ana, at main: /online
			Ana, at main: /status`},
		{title: "Canned replies", script: `
			Ana, at main: /canned
			Ana, at main: /canned add hello Hello, how can I help you?
			Ana, at main: /canned add hello Hello!
			Ana, at main: /canned
			Ana, at main: /canned add close x
			Ana, at main: /canned add a/b x
			Ana, at main: /canned add bye
			Ana, at main: /canned frobnicate
			Ana, at main: /canned remove
			Ana, at main: /canned remove bye
			new: {"name":"Mia"}
			Ana: !hello
			Ana, presses: canned:hello
			Ana, at main: /canned remove hello
			Ana, presses: canned:hello`},
		{title: "Reminding", script: `
			new: {"name":"Mia"}
			Ana: /remind me
			Ana: /remind
			Ana: /remind 2h call back
			Ana: hello
			wait: 2h1m`},
		{title: "Nobody answers", adjust: func(o *relay.Options, p *people.Options) {
			o.Unanswered, o.AnswerTimeout = 5*time.Minute, 20*time.Minute
		}, script: `
			Ana, at main: /online
			new: {"name":"Mia"}
			visitor: is anybody there?
			wait: 6m
			wait: 5m
			wait: 10m`},
		{title: "Buttons", script: `
			Ben, elsewhere: /offline
			new: {"name":"Mia"}
			Ana, presses: claim
			Ben, presses: claim
			Ana, presses: handover
			Ana, presses: assign:nobody
			Ana, presses: away:30m
			Ana, presses: block
			Ana, presses: nosuch
			Ana, presses: close
			Ben, presses: close`},
		{title: "Drafts", places: withMenus, script: `
			new: {"name":"Mia"}
			draft: d1 We are happy to help.
			Ana, presses: edit:d1
			Ana, to draft: We help.
			Ana, presses: send:d1
			Ben, presses: send:d1
			new: {"name":"Max"}
			draft: d1 Go away.
			Ana, presses: drop:d1
			Ben, presses: send:d1
			Ben, presses: send:d2`},
		{title: "A chat without topics", places: []string{"telegram"}, script: `
			new: {"name":"Mia"}
			Ana, flat: hello
			Ana, flat: /info
			Ana, flat to visitor: /info
			Ana, flat to last: /info
			Eve, flat to visitor: hello`},
		{title: "The app takes nothing", places: []string{"telegram"}, script: `
			new: {"name":"Mia"}
			app: fails
			Ana: hello, Mia
			wait: 30m
			app: works
			wait: 10m`},
		{title: "The app refuses", places: withMenus, script: `
			new: {"name":"Mia"}
			app: refuses
			Ana: hello, Mia
			Ana, edits: hello, dear Mia
			app: works`},
		{title: "Another platform refuses", script: `
			new: {"name":"Mia"}
			platform, elsewhere: refuses
			visitor: how are you?`},
		{title: "Another platform takes nothing", places: []string{"telegram"}, script: `
			new: {"name":"Mia"}
			platform, elsewhere: locks out
			visitor: how are you?
			wait: 30m
			platform, elsewhere: works
			wait: 10m`},
		{title: "What is known of a visitor", script: `
			new: {"id":"u-7","name":"Mia","email":"mia@example.org"}
			event: {"type":"new_session","session":{"id":"SESSION","visitorId":"visitor-1","userPhone":"+4930123456","userPhoneCountry":"DE",` +
			`"identity":{"id":"u-7","name":"Mia","email":"mia@example.org"},"createdAt":"2000-01-01T00:00:00Z","csat":{"score":4,"comment":"fine"},"metadata":{"url":"https://shop.example/cart","pageTitle":"Cart",` +
			`"referrer":"https://search.example/","ip":"192.0.2.7","city":"Berlin","country":"Germany","deviceType":"mobile","browser":"Firefox",` +
			`"os":"Android","language":"de-DE","timezone":"Europe/Berlin"}}}
			Ana: /claim
			event: {"type":"csat_submitted","sessionId":"SESSION","score":4}
			Ana: /info`},
		{title: "Why they are here", adjust: func(o *relay.Options, p *people.Options) {
			p.Hours, _ = people.ParseHours("Sat 00:00-01:00", "", time.UTC)
			o.AnswerTimeout = 20 * time.Minute
		}, script: `
			Ana, at main: /online
			new: {"name":"Mia"}
			wait: 21m
			Ben: hello
			Ana, at main: /status
			wait: 1h
			Ana, at main: /status`},
		{title: "More visitors than it takes", places: []string{"telegram"}, adjust: narrowed, script: `
			crowd: 12
			wait: 35s
			Ana, at main to list: hello
			wait: 4m`},
		{title: "It opens no threads", places: []string{"telegram"}, script: `
			platform: opens nothing
			crowd: 1
			wait: 2m
			platform: works
			wait: 5m`},
		{title: "Threads go", places: []string{"telegram"}, script: `
			platform: loses threads
			crowd: 1
			wait: 3m`},
		{title: "Another platform asks to wait", places: []string{"telegram"}, script: `
			new: {"name":"Mia"}
			platform, elsewhere: asks to wait
			visitor: how are you?
			wait: 2m
			platform, elsewhere: works
			wait: 10m`},
	}
}

// narrowed has each platform take 20 calls a minute.
func narrowed(o *relay.Options, _ *people.Options) {
	for _, p := range o.Platforms {
		p.(*bridgetest.Platform).Bears.Pace = []bridge.Pace{{Calls: 20, Per: time.Minute}}
	}
}

// everyHelp asks what each command does.
func everyHelp() string {
	var b strings.Builder
	for _, c := range bridge.Commands() {
		b.WriteString("\nAna, at main: /help " + c.Name)
	}
	return b.String()
}
