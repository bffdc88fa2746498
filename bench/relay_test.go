package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bwmarrin/discordgo"
	"github.com/go-telegram/bot"
	slackapi "github.com/slack-go/slack"

	"github.com/pocketping/bridge/internal/outbound"
	"github.com/pocketping/bridge/internal/sandbox/discord"
	"github.com/pocketping/bridge/internal/sandbox/slack"
	"github.com/pocketping/bridge/internal/sandbox/stage"
)

// asSender in the environment makes this program the bare loop that a platform's adapter is compared with; it holds a sender as JSON.
const asSender = "BRIDGE_BENCH_SENDER"

// sender is a bare loop over a platform's client library.
type sender struct {
	Platform, Token, Base, Place string
	Threads                      []string
	Each, AtOnce                 int
}

// run sends as much as a round of the bridge does, with as many calls at once.
func (s sender) run() error {
	client := outbound.NewClient(outbound.Options{Timeout: 10 * time.Second, IdleConnsPerHost: s.AtOnce})
	send, err := s.library(client)
	if err != nil {
		return err
	}
	var next atomic.Int64
	errs := make([]error, s.AtOnce)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			for n := int(next.Add(1)) - 1; n < s.Each*len(s.Threads) && errs[i] == nil; n = int(next.Add(1)) - 1 {
				errs[i] = send(context.Background(), s.Threads[n%len(s.Threads)], relayText(n))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func relayText(n int) string { return fmt.Sprint("Is the blue one in stock? ", n) }

// library returns one call of the platform's client library.
func (s sender) library(client *http.Client) (func(ctx context.Context, thread, text string) error, error) {
	switch s.Platform {
	case "telegram":
		api, err := bot.New(s.Token, bot.WithSkipGetMe(), bot.WithServerURL(s.Base), bot.WithHTTPClient(10*time.Second, client))
		return func(ctx context.Context, thread, text string) error {
			topic, err := strconv.Atoi(thread)
			if err == nil {
				_, err = api.SendMessage(ctx, &bot.SendMessageParams{ChatID: s.Place, MessageThreadID: topic, Text: text})
			}
			return err
		}, err
	case "discord":
		session, err := discordgo.New("Bot " + s.Token)
		if err != nil {
			return nil, err
		}
		session.Client = client
		return func(_ context.Context, thread, text string) error {
			bucket := discordgo.NewRatelimiter().GetBucket("") // so that it does not wait
			bucket.Lock()
			_, err := session.RequestWithLockedBucket(http.MethodPost, s.Base+"/v9/channels/"+thread+"/messages", "application/json",
				[]byte(fmt.Sprintf(`{"content":%q}`, text)), bucket, 0)
			return err
		}, nil
	default:
		api := slackapi.New(s.Token, slackapi.OptionAPIURL(s.Base+"/api/"), slackapi.OptionHTTPClient(client))
		return func(ctx context.Context, thread, text string) error {
			_, _, err := api.PostMessageContext(ctx, s.Place, slackapi.MsgOptionText(text, false), slackapi.MsgOptionTS(thread))
			return err
		}, nil
	}
}

// relayed is a platform to which the bridge relays.
type relayed struct {
	sender
	stage   *stage.Stage
	env     []string
	method  string // that sends a message
	threads func() []string

	held  atomic.Pointer[chan struct{}] // what calls wait for
	count atomic.Int64
	first atomic.Int64 // of this round, unix nanoseconds
	last  atomic.Int64
}

// note counts a call that arrives.
func (r *relayed) note(moment stage.Moment, c stage.Call) {
	if moment != stage.Processed || c.Method != r.method {
		return
	}
	now := time.Now().UnixNano()
	r.first.CompareAndSwap(0, now)
	r.last.Store(now)
	r.count.Add(1)
}

// decide holds calls back while there is something to wait for.
func (r *relayed) decide(c stage.Call) stage.Action {
	if held := r.held.Load(); held != nil && c.Method == r.method {
		return stage.Action{Hold: *held}
	}
	return stage.Action{}
}

// perSecond waits for a round's calls, and returns how many a second there were.
func (r *relayed) perSecond(b *testing.B, n int) float64 {
	b.Helper()
	waitFor(b, "all relayed", func() bool { return r.count.Load() >= int64(n) })
	return float64(n-1) / time.Duration(r.last.Load()-r.first.Load()).Seconds()
}

func (r *relayed) reset() {
	r.count.Store(0)
	r.first.Store(0)
}

// platforms are those to which is relayed.
func platforms(b *testing.B, around surroundings) []*relayed {
	b.Helper()
	listen := func(listen func(context.Context, string) (string, error)) string {
		base, err := listen(b.Context(), "")
		if err != nil {
			b.Fatal(err)
		}
		return base
	}
	t := &relayed{sender: sender{Platform: "telegram", Token: around.chat.Token(), Base: around.base, Place: strconv.FormatInt(around.group, 10), AtOnce: 8}}
	t.stage, t.method, t.env = around.chat.Stage, "sendMessage", append(slices.Clone(around.env), "TELEGRAM_RATE=off", "TELEGRAM_GLOBAL_RATE=off")
	t.threads = func() (out []string) {
		for _, topic := range around.chat.Topics(around.group) {
			out = append(out, strconv.Itoa(topic.ID))
		}
		return out
	}
	bare := around.env[:2:2] // without a platform
	for _, name := range around.env {
		if strings.HasPrefix(name, "DATA_DIR=") || strings.HasPrefix(name, "REDIS_URL=") {
			bare = append(bare, name)
		}
	}

	d := discord.New(discord.Options{KeepCalls: 100})
	b.Cleanup(d.Close)
	channel := d.AddChannel(discord.Channel{Kind: discord.Text})
	di := &relayed{sender: sender{Platform: "discord", Token: d.Token(), Base: listen(d.Listen), Place: channel, AtOnce: 16}, stage: d.Stage, method: "create_message"}
	di.env = append(slices.Clone(bare), "DISCORD_BOT_TOKEN="+d.Token(), "DISCORD_CHANNEL_ID="+channel, "DISCORD_API_URL="+di.Base, "DISCORD_RATE=off")
	di.threads = func() (out []string) {
		for _, thread := range d.Threads(channel) {
			out = append(out, thread.ID)
		}
		return out
	}

	s := slack.New(slack.Options{KeepCalls: 100})
	b.Cleanup(s.Close)
	room := s.AddChannel(slack.Channel{})
	sl := &relayed{sender: sender{Platform: "slack", Token: s.BotToken(), Base: listen(s.Listen), Place: room, AtOnce: 8}, stage: s.Stage, method: "chat.postMessage"}
	sl.env = append(slices.Clone(bare), "SLACK_BOT_TOKEN="+s.BotToken(), "SLACK_APP_TOKEN="+s.AppToken(), "SLACK_CHANNEL_ID="+room,
		"SLACK_API_URL="+sl.Base+"/api/", "SLACK_RATE=off")
	sl.threads = func() (out []string) {
		for _, parent := range s.Parents(room) {
			out = append(out, parent.TS)
		}
		return out
	}
	return []*relayed{t, di, sl}
}

// BenchmarkRelay measures how many messages a second 64 sessions' threads get when many wait, on each platform, beside a bare loop that calls
// the platform's client library with as many calls at once and keeps nothing. Rounds alternate; the table has medians.
func BenchmarkRelay(b *testing.B) {
	binary := build(b)
	for _, store := range []string{"redis", "bolt"} {
		for i, name := range []string{"telegram", "discord", "slack"} {
			b.Run(store+"/"+name, func(b *testing.B) {
				around := surround(b, store)
				relays(b, binary, store, around, platforms(b, around)[i])
			})
		}
	}
}

func relays(b *testing.B, binary, store string, around surroundings, r *relayed) {
	r.stage.Observe(r.note)
	r.stage.On("", r.decide)
	t := start(b, binary, append(r.env, "OPEN_THREAD=message")...)
	t.pids = append(t.pids, around.pids...)
	bridge := "http://" + t.address
	waitFor(b, "the lanes taken over", func() bool { return owned(b, bridge) })
	say := func(name string, n int) {
		var posting sync.WaitGroup
		for s := range callbackSessions {
			posting.Go(func() {
				id := fmt.Sprint("bench-", s)
				for i := range n {
					request(b, http.MethodPost, bridge+"/api/messages", fmt.Sprintf(
						`{"message":{"id":"%s-%d","sessionId":%q,"content":%q},"session":{"id":%q,"visitorId":%q}}`, name, i, id, relayText(i), id, id), http.StatusOK)
				}
			})
		}
		posting.Wait()
	}
	say("hello", 1)
	waitFor(b, "all threads", func() bool { return len(r.threads()) == callbackSessions && waiting(b, bridge, r.Platform) == 0 })
	r.Threads = r.threads()
	times := rounds
	if r.Each = 100; span(b) < time.Second {
		r.Each, times = 3, 1
	}
	n := callbackSessions * r.Each
	var ours, bare []posted
	for round := range times {
		held := make(chan struct{})
		r.held.Store(&held)
		say(fmt.Sprint("round-", round), r.Each)
		r.reset()
		worked := t.worked()
		r.held.Store(nil)
		close(held)
		rate := r.perSecond(b, n)
		waitFor(b, "all recorded", func() bool { return waiting(b, bridge, r.Platform) == 0 })
		ours = append(ours, posted{rate, float64((t.worked() - worked).Microseconds()) / float64(n)})
		bare = append(bare, r.loop(b))
	}
	us, ref := middle(ours), middle(bare)
	b.Logf("| store | platform | relayed/s | CPU µs each | bare loop/s | CPU µs each | ratio |\n| %s | %s | %.0f | %.1f | %.0f | %.1f | %.2f |",
		store, r.Platform, us.perSecond, us.cpu, ref.perSecond, ref.cpu, us.perSecond/ref.perSecond)
	b.ReportMetric(us.perSecond, "relayed/s")
	b.ReportMetric(ref.perSecond, "reference/s")
	b.ReportMetric(us.perSecond/ref.perSecond, "ratio")
	b.ReportMetric(0, "ns/op")
}

// loop runs the bare loop in a process of its own, as the bridge is one.
func (r *relayed) loop(b *testing.B) posted {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	given, err := json.Marshal(r.sender)
	if err != nil {
		b.Fatal(err)
	}
	r.reset()
	cmd := exec.Command(self)
	cmd.Env = []string{asSender + "=" + string(given)}
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	n := r.Each * len(r.Threads)
	worked := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return posted{r.perSecond(b, n), float64(worked.Microseconds()) / float64(n)}
}
