package relay_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	people "github.com/pocketping/bridge/internal/presence"
	"github.com/pocketping/bridge/internal/relay"
	table "github.com/pocketping/bridge/internal/words"
)

// carded is a platform that shows a session's card while it opens the thread.
type carded struct {
	*bridgetest.Platform

	mu    sync.Mutex
	cards map[bridge.ThreadID][]string
	edits []cardEdit
	fails func(n int) error // of the nth edit; nil: none fails
	tried int
}

type cardEdit struct {
	thread bridge.ThreadID
	at     time.Time
}

func newCarded(name string) *carded {
	p := &carded{Platform: bridgetest.NewPlatform(name), cards: map[bridge.ThreadID][]string{}}
	p.Bears.Concurrency = 8
	return p
}

func (c *carded) EditCard(_ context.Context, thread bridge.ThreadID, card bridge.Card, _ [][]bridge.Button) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tried++
	if c.fails != nil {
		if err := c.fails(c.tried); err != nil {
			return err
		}
	}
	c.cards[thread] = append(c.cards[thread], strings.TrimRight(card.Session.DisplayName()+" | "+card.Words+" | "+card.Answers, "| "))
	c.edits = append(c.edits, cardEdit{thread, time.Now()})
	return nil
}

// shown are the cards that a session's thread had, one after the other.
func (c *carded) shown(session string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.cards[c.Threads(session)[0]])
}

// edited are the edits so far.
func (c *carded) edited() []cardEdit {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.edits)
}

// triedSoFar is how often an edit was tried.
func (c *carded) triedSoFar() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tried
}

// onCards runs a test on a controlled clock with a platform whose threads have cards.
func onCards(t *testing.T, calls int, per time.Duration, test func(t *testing.T, h *house, p *carded)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := newCarded("slack")
		if calls > 0 {
			p.Bears.Pace = []bridge.Pace{{Calls: calls, Per: per}}
		}
		h := newHouse(t, p)
		h.receivers = newReceivers("app")
		h.start()
		defer func() { h.stop() }()
		test(t, h, p)
	})
}

// A card shows the visitor's last words and who answers, is edited where that changed, and is edited once in ten seconds at most.
func TestCardShowsHowItStands(t *testing.T) {
	t.Parallel()
	onCards(t, 50, time.Second, func(t *testing.T, h *house, p *carded) {
		time.Sleep(300 * time.Millisecond) // what a lane does now and then it does on whole seconds
		for i := range 60 {
			h.ingest(message("a", fmt.Sprint(i), fmt.Sprint("word ", i)))
			time.Sleep(time.Second)
		}
		time.Sleep(30 * time.Second)
		got := p.shown("a")
		if n := len(got); n < 4 || n > 7 || got[n-1] != "v-a | word 59 | Nobody has answered yet" {
			t.Errorf("the card was %q", got)
		}
		for i := range p.edited()[1:] {
			if apart := p.edited()[i+1].at.Sub(p.edited()[i].at); apart < 10*time.Second {
				t.Errorf("two edits are %s apart", apart)
			}
		}
		before := len(got)
		p.Say(p.Threads("a")[0], "Ana", "hello")
		p.Say(p.Threads("a")[0], "Ana", "how can I help?")
		time.Sleep(time.Minute)
		want(t, p.shown("a")[before:], "v-a | word 59 | Answers: An operator")
		p.Say(p.Threads("a")[0], "Ana", "are you there?")
		time.Sleep(time.Minute)
		if n := len(p.shown("a")); n != before+1 {
			t.Errorf("nothing changed, and it was edited %d times", n-before)
		}
		long := strings.Repeat("so long a word ", 40)
		h.ingest(message("a", "long", "two\nlines of "+long))
		time.Sleep(time.Minute)
		if got := p.shown("a"); !strings.HasPrefix(got[before+1], "v-a | two lines of so long a word") || len(got[before+1]) > 150 {
			t.Errorf("long words are shown as %q", got[before+1:])
		}
	})
}

// Edits of cards take a tenth of the platform's pace, and come behind all words.
func TestCardsTakeATenth(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		calls int
		per   time.Duration
	}{{1, time.Second}, {20, time.Minute}} {
		onCards(t, c.calls, c.per, func(t *testing.T, h *house, p *carded) {
			tenth := int(float64(time.Minute) / float64(c.per) * float64(c.calls) / 10)
			for i := range 30 {
				h.ingest(message(fmt.Sprint("s", i), "1", "hello"))
			}
			began := time.Now()
			time.Sleep(time.Minute / 3)
			if len(p.edited()) > 0 {
				t.Errorf("%d cards were edited while words waited", len(p.edited()))
			}
			time.Sleep(20 * time.Minute)
			if len(p.edited()) != 30 {
				t.Errorf("%d cards are up to date", len(p.edited()))
			}
			for i, e := range p.edited() {
				within := 0
				for _, other := range p.edited()[i:] {
					if other.at.Sub(e.at) < time.Minute {
						within++
					}
				}
				if within > tenth {
					t.Errorf("%d edits in the minute from %s on; a tenth is %d", within, e.at.Sub(began), tenth)
				}
			}
		})
	}
}

// What was deleted does not stay on the card, nor what was edited, whatever waits; a session that is over keeps its card.
func TestCardsForget(t *testing.T) {
	t.Parallel()
	onCards(t, 1, time.Second, func(t *testing.T, h *house, p *carded) {
		h.ingest(message("a", "1", "my card is 1234"))
		time.Sleep(15 * time.Second)
		want(t, p.shown("a"), "v-a | my card is 1234 | Nobody has answered yet")
		h.ingest(edited("1", "my card is lost", 1))
		time.Sleep(25 * time.Second)
		want(t, p.shown("a")[1:], "v-a | my card is lost | Nobody has answered yet")
		for i := range 300 { // words that go before it for five minutes
			h.ingest(message(fmt.Sprint("b", i), "1", "hello"))
		}
		began := time.Now()
		h.ingest(deleted("1"))
		time.Sleep(80 * time.Second)
		want(t, p.shown("a")[2:], "v-a")
		if took := p.edited()[len(p.edited())-1].at.Sub(began); took > 75*time.Second {
			t.Errorf("the card was mended after %s", took)
		}
	})
	onCards(t, 50, time.Second, func(t *testing.T, h *house, p *carded) {
		h.ingest(message("a", "1", "hello"))
		time.Sleep(15 * time.Second)
		h.ingest(`{"type":"session_closed","sessionId":"a"}`)
		h.ingest(`{"type":"operator_message","message":{"id":"o1","sessionId":"a","sender":"operator","content":"bye"},"session":{"id":"a","visitorId":"v-a"}}`)
		time.Sleep(time.Minute)
		if got := p.shown("a"); len(got) > 2 || !strings.Contains(got[len(got)-1], "hello") {
			t.Errorf("the card is %q", got)
		}
	})
}

// A card that is behind when the process ends is brought up to date by the next one, which keeps the ten seconds, too.
func TestCardsSurviveARestart(t *testing.T) {
	t.Parallel()
	onCards(t, 50, time.Second, func(t *testing.T, h *house, p *carded) {
		h.ingest(message("a", "1", "one"))
		time.Sleep(6 * time.Second)
		want(t, p.shown("a"), "v-a | one | Nobody has answered yet")
		h.ingest(message("a", "2", "two"))
		settle()
		h.stop()
		h.start()
		time.Sleep(time.Minute)
		want(t, p.shown("a")[1:], "v-a | two | Nobody has answered yet")
		if apart := p.edited()[1].at.Sub(p.edited()[0].at); apart < 10*time.Second {
			t.Errorf("over the restart the edits are %s apart", apart)
		}
		h.stop()
		h.start()
		time.Sleep(time.Minute)
		if len(p.edited()) != 2 {
			t.Errorf("nothing changed, and the card was edited %d times", len(p.edited()))
		}
	})
}

// An edit that fails holds up no word, is tried again where that makes sense, and not where the platform takes no such card.
func TestCardsThatFail(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fails func(n int) error
		tried int // at most
		shown int
	}{
		"a limit of its own": {func(n int) error {
			if n > 1 {
				return nil
			}
			return &bridge.DeliveryError{Reason: bridge.ReasonRateLimited, Scope: bridge.ScopeOperation, Op: "edit", RetryAfter: 90 * time.Second}
		}, 2, 1},
		"refused": {func(int) error { return fault(bridge.ReasonRejected, bridge.ScopeSession) }, 1, 0},
		"broken":  {func(int) error { return fault(bridge.ReasonTransient, bridge.ScopeDestination) }, 11, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onCards(t, 50, time.Second, func(t *testing.T, h *house, p *carded) {
				p.fails = c.fails
				h.ingest(message("a", "1", "one"))
				for i := range 20 {
					time.Sleep(time.Minute)
					id := fmt.Sprint("later ", i)
					h.ingest(message("b", id, id))
					settle()
					if got := texts(p.Platform, "b"); got[len(got)-1] != id {
						t.Fatalf("%s waits", id)
					}
				}
				mine := 0
				for _, e := range p.edited() {
					if e.thread == p.Threads("a")[0] {
						mine++
					}
				}
				if mine != c.shown {
					t.Errorf("the card was edited %d times", mine)
				}
				if name == "refused" && p.triedSoFar() > 2 || p.triedSoFar() > c.tried+60 {
					t.Errorf("it was tried %d times", p.triedSoFar())
				}
			})
		})
	}
}

// What the app tells of the visitor is shown at once, but no sooner than ten seconds after the edit before, and with the words.
func TestCardsFollowTheVisitor(t *testing.T) {
	t.Parallel()
	onCards(t, 50, time.Second, func(t *testing.T, h *house, p *carded) {
		h.ingest(message("a", "1", "one"))
		settle()
		called := func(name string) string {
			return fmt.Sprintf(`{"type":"identity_update","session":{"id":"a","visitorId":"v-a","identity":{"id":"u","name":%q}}}`, name)
		}
		for i := range 30 {
			h.ingest(called(fmt.Sprint("Ada ", i)))
			time.Sleep(time.Second)
		}
		time.Sleep(30 * time.Second)
		got := p.shown("a")
		if n := len(got); n < 2 || n > 5 || got[0] != "Ada 0 | one | Nobody has answered yet" || got[n-1] != "Ada 29 | one | Nobody has answered yet" {
			t.Errorf("the card was %q", got)
		}
		for i := range p.edited()[1:] {
			if apart := p.edited()[i+1].at.Sub(p.edited()[i].at); apart < 10*time.Second {
				t.Errorf("two edits are %s apart", apart)
			}
		}
	})
}

// An erased session's card is left alone, and nothing of it is in the store.
func TestCardsOfErasedSessions(t *testing.T) {
	t.Parallel()
	onCards(t, 50, time.Second, func(t *testing.T, h *house, p *carded) {
		h.ingest(message("a", "1", "one"))
		settle()
		h.ingest(message("a", "2", "two"))
		if _, err := h.relay.Erase(t.Context(), "a", true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Minute)
		rows, err := h.store.Owned(t.Context(), "a")
		if err != nil || len(rows) != 0 {
			t.Errorf("%d rows are left: %v, %v", len(rows), rows, err)
		}
	})
}

// How a card reads in each language, by who answers; UPDATE_GOLDEN=1 writes the files anew. The language is the process's.
func TestCardsInEachLanguage(t *testing.T) {
	defer table.Use(table.Default)
	for _, language := range table.Names() {
		table.Use(language)
		var b strings.Builder
		for _, name := range []string{"slack", "discord"} {
			synctest.Test(t, func(t *testing.T) {
				p := newCarded(name)
				p.Bears.Pace = []bridge.Pace{{Calls: 50, Per: time.Second}}
				tm := newTeam(t, func(o *relay.Options, _ *people.Options) {
					o.Platforms, o.Operators = []bridge.Platform{p}, []string{name + ":u-Ana", name + ":u-Ben"}
				})
				defer func() { tm.stop() }()
				step := func(do func()) {
					do()
					time.Sleep(20 * time.Second)
				}
				step(func() { tm.ingest(message("a", "1", "where is my order?")) })
				at := p.Threads("a")[0]
				step(func() { p.Tell(tm.update(at, "Ana", "I look into it", "")) })
				step(func() {
					tm.ingest(`{"type":"operator_message","message":{"id":"ai1","sessionId":"a","sender":"ai","content":"It comes"},"session":{"id":"a","visitorId":"v-a"}}`)
				})
				step(func() {
					tm.ingest(`{"type":"operator_message","message":{"id":"o1","sessionId":"a","sender":"operator","content":"It comes"},"session":{"id":"a","visitorId":"v-a"}}`)
				})
				step(func() { p.Tell(tm.update(at, "Ben", "!claim", "")) })
				step(func() { tm.ingest(deleted("1")) })
				fmt.Fprintf(&b, "# %s\n%s\n", name, strings.Join(p.shown("a"), "\n"))
			})
		}
		path := filepath.Join("testdata", "cards."+language+".golden")
		if os.Getenv("UPDATE_GOLDEN") != "" {
			if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		kept, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		differ(t, path, string(kept), b.String())
	}
}
