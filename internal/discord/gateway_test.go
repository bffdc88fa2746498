package discord

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	"github.com/pocketping/bridge/internal/platform"
	sandbox "github.com/pocketping/bridge/internal/sandbox/discord"
)

// texts are the texts of messages, in their order.
func texts(updates []bridge.Update) []string {
	var out []string
	for _, u := range updates {
		out = append(out, u.Text)
	}
	return out
}

// checkOnce checks that the messages 0 to n-1 were accepted, each once and in order.
func checkOnce(t *testing.T, inbox *bridgetest.Inbox, n int) {
	t.Helper()
	got := texts(inbox.Wait(t, n))
	for i, text := range got {
		if text != strconv.Itoa(i) {
			t.Fatalf("message %d is %q: %q", i, text, got)
		}
	}
	if len(got) != n {
		t.Errorf("%d messages were accepted, not %d", len(got), n)
	}
}

// checkSafe checks that neither the log nor an error shows a token or an address.
func (p *place) checkSafe(t *testing.T, errs ...error) {
	t.Helper()
	all := p.logs.String()
	for _, err := range errs {
		if err != nil {
			all += err.Error()
		}
	}
	for _, secret := range []string{p.server.Token(), p.base, strings.TrimPrefix(p.base, "http://")} {
		if strings.Contains(all, secret) {
			t.Errorf("%q is shown in %q", secret, all)
		}
	}
}

// Whatever a new connection meets: it is left in time, and what was written meanwhile is accepted once.
func TestGreetings(t *testing.T) {
	t.Parallel()
	for name, g := range map[string]sandbox.Greeting{
		"says nothing":                     {Silent: true},
		"is cut at once":                   {Abort: true},
		"is closed at once":                {Close: 4000},
		"is refused":                       {Status: 503},
		"asks to reconnect before it is":   {Reconnect: true},
		"does not know the session":        {InvalidSession: true},
		"says no more after the greeting":  {Mute: true},
		"closes for a session timed out":   {Close: 4009},
		"closes for a sequence":            {Close: 4007},
		"closes as Discord restarts":       {Close: 1001},
		"closes as if all were well":       {Close: 1000},
		"acknowledges nothing (harmless)":  {NoAcks: true},
		"closes for an identify too early": {Close: 4008},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, sandbox.Options{}, sandbox.Text)
			p.times.watchdog = 300 * time.Millisecond
			thread := bridgetest.Open(t, p.Discord, session("s", "Maria"))
			inbox := bridgetest.NewInbox(p.now())
			p.server.GreetNext(g, g)
			l := listen(t, p.Discord, inbox)
			p.say(thread, "0", "")
			checkOnce(t, inbox, 1)
			// And the same when it worked before.
			p.server.GreetNext(g)
			p.server.CutConnections()
			p.say(thread, "1", "")
			checkOnce(t, inbox, 2)
			if err := l.stop(); !errors.Is(err, context.Canceled) {
				t.Errorf("Listen ended with %v", err)
			}
			p.checkSafe(t)
		})
	}
}

// A code that nothing but a person can cure ends Listen, and says what to do.
func TestFatalCodes(t *testing.T) {
	t.Parallel()
	for code, says := range map[int]string{
		4004: "DISCORD_BOT_TOKEN", 4010: "DISCORD_API_URL", 4011: "a bot of its own", 4012: "DISCORD_API_URL", 4013: "DISCORD_API_URL",
		4014: "MESSAGE CONTENT INTENT",
	} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			t.Parallel()
			p := start(t, sandbox.Options{}, sandbox.Text)
			p.server.GreetNext(sandbox.Greeting{Close: code})
			err := await(t, listen(t, p.Discord, bridgetest.NewInbox(p.now())).ended)
			d := bridge.AsDelivery(err, "", "")
			if platform.ReasonOf(err) != bridge.ReasonAuth || d.Scope != bridge.ScopeDestination || !strings.Contains(d.Detail, says) ||
				!strings.Contains(d.Detail, strconv.Itoa(code)) {
				t.Errorf("the error is %v", err)
			}
			if n := p.server.GatewayCounts().Connections; n != 1 {
				t.Errorf("%d connections were made", n)
			}
			p.checkSafe(t, err)
		})
	}
	t.Run("without the intent", func(t *testing.T) {
		t.Parallel()
		p := start(t, sandbox.Options{NoMessageContent: true}, sandbox.Text)
		err := await(t, listen(t, p.Discord, bridgetest.NewInbox(p.now())).ended)
		if platform.ReasonOf(err) != bridge.ReasonAuth || !strings.Contains(err.Error(), "MESSAGE CONTENT INTENT") {
			t.Errorf("the error is %v", err)
		}
	})
	t.Run("revoked token", func(t *testing.T) {
		t.Parallel()
		p := start(t, sandbox.Options{}, sandbox.Text)
		p.server.Revoke()
		err := await(t, listen(t, p.Discord, bridgetest.NewInbox(p.now())).ended)
		if platform.ReasonOf(err) != bridge.ReasonAuth || !strings.Contains(err.Error(), "DISCORD_BOT_TOKEN") {
			t.Errorf("the error is %v", err)
		}
		p.checkSafe(t, err)
	})
}

// One acknowledgement that does not come means a dead connection: it is left instead of the next heartbeat, and the session resumed.
func TestAcknowledgementsStop(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{Heartbeat: time.Second}, sandbox.Text)
	thread := bridgetest.Open(t, p.Discord, session("s", "Maria"))
	inbox := bridgetest.NewInbox(p.now())
	l := listen(t, p.Discord, inbox)
	p.say(thread, "0", "")
	checkOnce(t, inbox, 1)
	p.until(t, func() bool { return p.server.GatewayCounts().Heartbeats > 1 })
	p.server.StopAcks(true)
	before := p.server.GatewayCounts()
	p.until(t, func() bool { return p.server.GatewayCounts().Connections > before.Connections })
	// One may have been on its way as they stopped.
	if n := p.server.GatewayCounts().Heartbeats - before.Heartbeats; n > 2 {
		t.Errorf("a dead connection was left after %d heartbeats", n)
	}
	p.server.StopAcks(false)
	p.say(thread, "1", "")
	checkOnce(t, inbox, 2)
	counts := p.server.GatewayCounts()
	if counts.Resumed == 0 || counts.Identifies != 1 || counts.ElsewhereResumes > 0 {
		t.Errorf("the session was not resumed: %+v", counts)
	}
	_ = l.stop()
}

// What the gateway asks for is done.
func TestGatewayAsks(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Text)
	thread := bridgetest.Open(t, p.Discord, session("s", "Maria"))
	inbox := bridgetest.NewInbox(p.now())
	l := listen(t, p.Discord, inbox)
	n := 0
	next := func() {
		t.Helper()
		p.say(thread, strconv.Itoa(n), "")
		n++
		checkOnce(t, inbox, n)
	}
	next()
	beats := p.server.GatewayCounts().Heartbeats
	p.server.AskHeartbeat()
	p.until(t, func() bool { return p.server.GatewayCounts().Heartbeats > beats })
	p.server.AskReconnect()
	p.until(t, func() bool { return p.server.GatewayCounts().Resumed == 1 })
	next()
	p.server.InvalidateSessions(true)
	p.until(t, func() bool { return p.server.GatewayCounts().Resumed == 2 })
	next()
	p.server.InvalidateSessions(false)
	p.until(t, func() bool { return p.server.GatewayCounts().Identifies == 2 })
	next()
	p.server.PushFrame("no JSON")
	p.until(t, func() bool { return p.server.GatewayCounts().Resumed == 3 })
	next()
	p.server.PushEvent("SOMETHING_NEW", map[string]any{"x": 1})
	p.server.PushEvent("MESSAGE_CREATE", map[string]any{"id": "x", "guild_id": p.server.Guild(), "channel_id": p.room, "author": "no object"})
	next()
	_ = l.stop()
	if got := p.server.GatewayCounts(); got.Connections != 5 {
		t.Errorf("%+v", got)
	}
}

// The end of Listen ends the session, so that the bot is not shown online; an end by a refusal keeps it, so that nothing is lost.
func TestSessionAtTheEnd(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{Heartbeat: time.Second}, sandbox.Text)
	thread := bridgetest.Open(t, p.Discord, session("s", "Maria"))
	inbox := bridgetest.NewInbox(p.now())
	refusal := errors.New("the store is full")
	var full atomic.Bool
	inbox.Before = func(ctx context.Context, _ bridge.Update) error {
		if !full.Load() {
			return nil
		}
		// Heartbeats tell the gateway what need not be told again: not what was not accepted.
		beats := p.server.GatewayCounts().Heartbeats
		_ = p.server.Wait(ctx, func() bool { return p.server.GatewayCounts().Heartbeats > beats+1 })
		return refusal
	}
	l := listen(t, p.Discord, inbox)
	ids := []bridge.MessageID{p.say(thread, "0", ""), p.say(thread, "1", ""), p.say(thread, "2", "")}
	checkOnce(t, inbox, 3)
	full.Store(true)
	for _, id := range ids {
		p.server.Delete(p.message(thread, id)) // no reading of the past would tell it
	}
	if err := await(t, l.ended); !errors.Is(err, refusal) {
		t.Fatalf("Listen ended with %v", err)
	}
	full.Store(false)
	l = listen(t, p.Discord, inbox)
	for i, gone := range inbox.WaitFor(t, 3, func(u bridge.Update) bool { return u.Kind == bridge.UpdateDelete }) {
		if gone.Message != ids[i] {
			t.Errorf("deletion %d is %+v", i, gone)
		}
	}
	if counts := p.server.GatewayCounts(); counts.Identifies != 1 || counts.Resumed == 0 { // more than once on a busy machine, which misses heartbeats
		t.Errorf("the session was not resumed: %+v", counts)
	}
	_ = l.stop()
	p.until(t, func() bool { return p.server.Sessions() == 0 })
}

// Messages flow while connections are cut at random, sessions forgotten, and events delayed: each is accepted once, in order.
func TestCutAtRandom(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			const n = 150
			r := rand.New(rand.NewPCG(seed, 1))
			// Heartbeats come when they are asked for: a busy machine does not answer short ones in time, and with six connections
			// in a row that never begin Listen ends.
			p := start(t, sandbox.Options{}, sandbox.Text)
			var threads []bridge.ThreadID
			for i := range 3 {
				threads = append(threads, bridgetest.Open(t, p.Discord, session(strconv.Itoa(i), "Maria")))
			}
			inbox := bridgetest.NewInbox(p.now())
			l := listen(t, p.Discord, inbox)
			for i := range n {
				p.say(threads[r.IntN(len(threads))], strconv.Itoa(i), "")
				switch r.IntN(11) {
				case 0, 6:
					p.server.CutConnections()
				case 1:
					p.server.AskReconnect()
				case 2:
					p.server.ForgetSessions()
					p.server.CutConnections()
				case 3, 5:
					inbox.Wait(t, i+1)
				case 7:
					inbox.Wait(t, i+1)
					p.server.CutConnections()
				case 4:
					release := p.server.HoldEvents()
					defer release()
					timer := time.AfterFunc(5*time.Millisecond, release)
					defer timer.Stop()
				case 8:
					inbox.Wait(t, i+1)
					p.server.AskHeartbeat()
				}
			}
			checkOnce(t, inbox, n)
			p.say(threads[0], strconv.Itoa(n), "")
			checkOnce(t, inbox, n+1) // what came twice would have come by now
			_ = l.stop()
			t.Logf("%+v", p.server.GatewayCounts())
		})
	}
}

// virtual is a clock that only runs while it is waited for.
type virtual struct {
	mu    sync.Mutex
	at    time.Time
	waits func(time.Time)
}

func (v *virtual) now() time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.at
}

func (v *virtual) wait(ctx context.Context, d time.Duration) error {
	v.mu.Lock()
	v.at = v.at.Add(max(d, 0))
	v.waits(v.at)
	v.mu.Unlock()
	return ctx.Err()
}

// However often connections are lost at once, and however soon Listen is called again: a token's 1000 identifies in 24 hours are
// kept to.
func TestIdentifyBudget(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{SessionStarts: 1_000_000}, sandbox.Text)
	var times []time.Time
	v := &virtual{at: time.Now(), waits: func(now time.Time) {
		for len(times) < p.server.GatewayCounts().Identifies {
			times = append(times, now)
		}
	}}
	p.clock = clock{now: v.now, wait: v.wait}
	p.times = defaultTimings()
	p.times.watchdog = 5 * time.Second
	p.server.Greet(sandbox.Greeting{InvalidSession: true})
	inbox := bridgetest.NewInbox(p.now())
	for p.server.GatewayCounts().Identifies < 1000 {
		err := p.Listen(t.Context(), inbox)
		if platform.ReasonOf(err) != bridge.ReasonTransient {
			t.Fatalf("Listen ended with %v", err)
		}
	}
	v.waits(v.now())
	most := 0
	for i, from := 0, 0; i < len(times); i++ {
		for times[i].Sub(times[from]) >= 24*time.Hour {
			from++
		}
		most = max(most, i-from+1)
	}
	t.Logf("%d identifies in %v, at most %d in 24 hours", len(times), times[len(times)-1].Sub(times[0]), most)
	if most > 1000 || most < 900 {
		t.Errorf("%d identifies were made in 24 hours", most)
	}
}

// Discord's own count is kept to as well: it outlives us.
func TestSessionStartLimit(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Text)
	p.server.SetSessionStarts(0, time.Hour)
	err := await(t, listen(t, p.Discord, bridgetest.NewInbox(p.now())).ended)
	d := bridge.AsDelivery(err, "", "")
	if platform.ReasonOf(err) != bridge.ReasonRateLimited || d.RetryAfter < 59*time.Minute || d.RetryAfter > time.Hour || d.Scope != bridge.ScopeDestination {
		t.Errorf("the error is %v after %v", err, d.RetryAfter)
	}
	if n := p.server.GatewayCounts().Connections; n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

// A gateway that is never reached is the relay's business after some attempts.
func TestGatewayGone(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Text)
	p.server.Greet(sandbox.Greeting{Status: 502})
	err := await(t, listen(t, p.Discord, bridgetest.NewInbox(p.now())).ended)
	if platform.ReasonOf(err) != bridge.ReasonTransient || !strings.Contains(err.Error(), "502") {
		t.Errorf("the error is %v", err)
	}
	if n := p.server.GatewayCounts().Connections; n != failuresToTell {
		t.Errorf("%d connections were tried", n)
	}
	p.checkSafe(t, err)
}

// With the gateway off nothing is heard, and nobody is bothered.
func TestGatewayOff(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Text)
	p.gateway = false
	l := listen(t, p.Discord, bridgetest.NewInbox(p.now()))
	p.until(t, func() bool { return len(p.server.Commands(p.server.Guild())) > 0 })
	if err := l.stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("Listen ended with %v", err)
	}
	if n := p.server.GatewayCounts().Connections; n != 0 {
		t.Errorf("%d connections were made", n)
	}
}
