package discord

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	"github.com/pocketping/bridge/internal/platform"
	sandbox "github.com/pocketping/bridge/internal/sandbox/discord"
)

// A call whose answer was lost shows once, whenever it is made again: within the minutes in which Discord knows the nonce, and
// after them.
func TestLostAnswersShowOnce(t *testing.T) {
	t.Parallel()
	long := time.Now().Add(-time.Hour)
	for name, since := range map[string]time.Time{"soon": time.Now(), "late": long} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, sandbox.Options{}, sandbox.Text)
			thread := bridgetest.Open(t, p.Discord, session("1", "Maria"))
			began := time.Now()
			send := func(part bridge.Part) (bridge.MessageID, error) {
				ids, err := p.Send(t.Context(), thread, part)
				if err != nil {
					return "", err
				}
				return ids[0], nil
			}
			same := bridge.Part{Text: "yes", Key: "evt_0/0"}
			first, err := send(same)
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range []bridge.Part{{Text: "yes", Key: "evt_1/0"}, {Text: " *yes* ", Key: "evt_2/0", ReplyTo: first}} {
				p.server.Next("create_message", sandbox.Action{DropAfter: true})
				if _, err := send(part); platform.ReasonOf(err) != bridge.ReasonUnconfirmed {
					t.Fatalf("the error is %v", err)
				}
				part.Since = began
				if since.Equal(long) {
					// As after an hour: the time is past, and Discord knows no nonce any more.
					p.rest.now = func() time.Time { return began.Add(time.Hour) }
					p.rest.skew = -time.Hour
					p.server.ForgetNonces()
				}
				id, err := send(part)
				if err != nil || id == first {
					t.Fatalf("sent again: %q, %v", id, err)
				}
				if again, err := send(part); err != nil || again != id {
					t.Errorf("sent once more: %q, %v", again, err)
				}
			}
			if got := p.shown(thread); len(got) != 3 {
				t.Errorf("shown %+v", got)
			}
			// One that never arrived is sent.
			never := bridge.Part{Text: "yes", Key: "evt_3/0", Since: began}
			if id, err := send(never); err != nil || id == first {
				t.Errorf("one that never arrived: %q, %v", id, err)
			}
			if got := p.shown(thread); len(got) != 4 {
				t.Errorf("shown %+v", got)
			}
			// Nor is one that stands there for long taken for it by a bridge that does not remember it, unless its nonce says so.
			other := p.again(t)
			other.rest.now, other.rest.skew = p.rest.now, p.rest.skew
			if ids, err := other.Send(t.Context(), thread, same); err != nil || ids[0] != first && !since.Equal(long) {
				t.Errorf("after a restart: %q, %v", ids, err)
			}
		})
	}
}

// A message whose answer was lost is found behind a crowd of others, even if only some pages may be read at once.
func TestLostInACrowd(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Text)
	thread := bridgetest.Open(t, p.Discord, session("1", "Maria"))
	began := time.Now()
	for range 2*pageOfMessages + 50 {
		p.say(thread, "talk", "")
	}
	part := bridge.Part{Text: "yes", Key: "evt_1/0"}
	p.server.Next("create_message", sandbox.Action{DropAfter: true})
	if _, err := p.Send(t.Context(), thread, part); platform.ReasonOf(err) != bridge.ReasonUnconfirmed {
		t.Fatalf("the error is %v", err)
	}
	part.Since = began
	p.rest.now, p.rest.skew = func() time.Time { return began.Add(time.Hour) }, -time.Hour
	p.server.ForgetNonces()
	asked := 0
	p.server.On("list_messages", func(sandbox.Call) sandbox.Action {
		if asked++; asked%2 == 0 {
			return sandbox.SharedLimited(0)
		}
		return sandbox.Action{}
	})
	for attempts := 1; ; attempts++ {
		ids, err := p.Send(t.Context(), thread, part)
		if err == nil {
			if shown := p.shown(thread); attempts != 3 || len(shown) != 1 || shown[0].ID != ids[0] {
				t.Errorf("after %d attempts: %q, shown %+v", attempts, ids, shown)
			}
			return
		}
		limited, ok := limitOf(err)
		if !ok || attempts > 5 {
			t.Fatalf("the error is %v", err)
		}
		now := p.rest.now().Add(limited.RetryAfter)
		p.rest.now = func() time.Time { return now }
	}
}

// Files whose answer was lost show once, too.
func TestLostUploads(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Text)
	thread := bridgetest.Open(t, p.Discord, session("1", "Maria"))
	part := bridge.Part{Key: "evt_1/1", Files: []bridge.Attachment{{Filename: "a.txt", Size: 5}}}
	upload := func() ([]bridge.MessageID, error) {
		return p.Upload(t.Context(), thread, part, []bridge.File{{Name: "a.txt", Type: "text/plain", Size: 5, Body: strings.NewReader("hello")}})
	}
	began := time.Now()
	p.server.Next("create_message", sandbox.Action{DropAfter: true})
	if _, err := upload(); platform.ReasonOf(err) != bridge.ReasonUnconfirmed {
		t.Fatalf("the error is %v", err)
	}
	part.Since = began
	one, err := upload()
	if err != nil {
		t.Fatal(err)
	}
	p.rest.now, p.rest.skew = func() time.Time { return began.Add(time.Hour) }, -time.Hour
	p.server.ForgetNonces()
	two, err := upload()
	if err != nil || !slices.Equal(one, two) || len(p.shown(thread)) != 1 {
		t.Errorf("uploaded %q and %q, %v: %+v", one, two, err, p.shown(thread))
	}
}

// A thread whose opening lost an answer is found instead of opened again, at each of its steps.
func TestLostOpenings(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]sandbox.Kind{"text": sandbox.Text, "forum": sandbox.Forum} {
		for _, late := range []bool{false, true} {
			t.Run(name+map[bool]string{true: " late", false: " soon"}[late], func(t *testing.T) {
				t.Parallel()
				p := start(t, sandbox.Options{}, kind)
				bridgetest.Open(t, p.Discord, session("other", "Maria"))
				began := time.Now()
				o := bridge.Opening{Key: "opening"}
				for _, op := range []string{"create_message", "create_thread_from_message", "create_thread"} {
					p.server.Next(op, sandbox.Action{DropAfter: true})
				}
				var thread bridge.ThreadID
				lost := 0
				for range 10 {
					got, step, err := p.OpenThread(t.Context(), session("1", "Maria"), o)
					if err != nil {
						lost++
						if kind == sandbox.Forum || len(o.Done) == 0 {
							if platform.ReasonOf(err) != bridge.ReasonUnconfirmed {
								t.Fatalf("the error is %v", err)
							}
						}
						o.Since = began
						if late {
							p.rest.now, p.rest.skew = func() time.Time { return began.Add(time.Hour) }, -time.Hour
							p.server.ForgetNonces()
						}
						continue
					}
					if thread = got; thread != "" {
						break
					}
					o.Done, o.Since = append(o.Done, step), time.Time{}
				}
				if want := map[sandbox.Kind]int{sandbox.Text: 2, sandbox.Forum: 1}[kind]; lost != want {
					t.Errorf("%d answers were lost, not %d", lost, want)
				}
				threads := p.server.Threads(p.room)
				if len(threads) != 2 || threads[1].ID != p.thread(thread) || !strings.Contains(p.card(thread), "Session 1") {
					t.Errorf("there are the threads %+v; opened was %q", threads, thread)
				}
				if cards := p.server.Messages(p.room); kind == sandbox.Text && len(cards) != 2 {
					t.Errorf("%d cards are shown", len(cards))
				}
			})
		}
	}
}

// A server that is full of active threads loses the longest silent of ours, and none of others.
func TestFullOfThreads(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]sandbox.Kind{"text": sandbox.Text, "forum": sandbox.Forum} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, sandbox.Options{ActiveThreads: 20}, kind)
			elsewhere := p.server.AddChannel(sandbox.Channel{Name: "elsewhere"})
			for range 5 {
				p.server.OpenThread(elsewhere, p.ana, "other", "talk")
			}
			theirs := p.server.OpenThread(p.room, p.ana, "theirs", "talk")
			var threads []bridge.ThreadID
			for len(threads) < 14 {
				threads = append(threads, bridgetest.Open(t, p.Discord, session(string(rune('a'+len(threads))), "Maria")))
			}
			p.say(threads[0], "not silent", "") // so the longest silent are the next ones
			s := session("new", "Maria")
			o := bridge.Opening{Key: "new"}
			for failed := 0; ; {
				thread, step, err := p.OpenThread(t.Context(), s, o)
				if err != nil {
					if failed++; failed > 1 || platform.ReasonOf(err) != bridge.ReasonTransient || bridge.AsDelivery(err, "", "").Scope != bridge.ScopeSession {
						t.Fatalf("failure %d: %v", failed, err)
					}
					continue
				}
				if thread != "" {
					if failed != 1 {
						t.Errorf("%d attempts failed", failed)
					}
					break
				}
				o.Done = append(o.Done, step)
			}
			for i, thread := range threads {
				got, _ := p.server.Thread(p.thread(thread))
				if want := i >= 1 && i <= roomAtOnce; got.Archived != want {
					t.Errorf("thread %d is archived: %t", i, got.Archived)
				}
			}
			if got, _ := p.server.Thread(theirs.ID); got.Archived {
				t.Error("another's thread is archived")
			}
			// A message opens an archived one again.
			bridgetest.Deliver(t, p.Discord, threads[1], bridge.Outgoing{Text: "hello", Kind: bridge.KindMessage})
		})
	}
	t.Run("of others' threads", func(t *testing.T) {
		t.Parallel()
		p := start(t, sandbox.Options{ActiveThreads: 3}, sandbox.Forum)
		for range 3 {
			p.server.OpenThread(p.room, p.ana, "theirs", "talk")
		}
		_, _, err := p.OpenThread(t.Context(), session("1", "Maria"), bridge.Opening{})
		if platform.ReasonOf(err) != bridge.ReasonTransient || !strings.Contains(err.Error(), adviseFull) {
			t.Errorf("the error is %v", err)
		}
	})
}

// A server that stays full is asked once which threads are silent, until all of those are used up: one that was written to since, or has
// gone, is passed over.
func TestFullOfThreadsForLong(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{ActiveThreads: 20}, sandbox.Text)
	now := time.Now()
	p.rest.now = func() time.Time { return now }
	var threads []bridge.ThreadID
	open := func(id string) {
		t.Helper()
		for o := (bridge.Opening{Key: id}); ; {
			thread, step, err := p.OpenThread(t.Context(), session(id, "Maria"), o)
			switch {
			case err != nil && platform.ReasonOf(err) != bridge.ReasonTransient:
				t.Fatal(err)
			case err != nil:
			case thread != "":
				threads = append(threads, thread)
				return
			default:
				o.Done = append(o.Done, step)
			}
		}
	}
	listed := func() (n int) {
		for _, c := range p.server.Calls() {
			if c.Method == "get_active_guild_threads" {
				n++
			}
		}
		return n
	}
	for i := range 21 { // the first five are archived for the last one
		open(fmt.Sprint(i))
	}
	bridgetest.Deliver(t, p.Discord, threads[6], bridge.Outgoing{Text: "hello", Kind: bridge.KindMessage})
	p.server.DeleteThread(p.thread(threads[7]), p.ana)
	for i := 21; i < 33; i++ {
		open(fmt.Sprint(i))
	}
	for i, thread := range threads {
		got, there := p.server.Thread(p.thread(thread))
		if want := i < 17 && i != 6; there && got.Archived != want || there == (i == 7) {
			t.Errorf("thread %d is there: %t, archived: %t", i, there, got.Archived)
		}
	}
	if n := listed(); n != 1 {
		t.Errorf("the threads were listed %d times", n)
	}
	// Nor is an old list believed.
	now = now.Add(silentFor)
	for i := 33; listed() == 1; i++ {
		open(fmt.Sprint(i))
	}
}

// A thread that was locked by hand: the bot unlocks it if it may, and opens a new one if it may not.
func TestLockedThreads(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Text)
	thread := bridgetest.Open(t, p.Discord, session("1", "Maria"))
	send := func() error {
		_, err := p.Send(t.Context(), thread, bridge.Part{Text: "x"})
		return err
	}
	p.server.LockThread(p.thread(thread), p.ana, true)
	if err := p.ReopenThread(t.Context(), thread); err != nil {
		t.Errorf("ReopenThread: %v", err)
	}
	if got, _ := p.server.Thread(p.thread(thread)); got.Locked || got.Archived {
		t.Errorf("the thread is %+v", got)
	}

	p.server.Deny("", sandbox.ManageThreads)
	p.server.ArchiveThread(p.thread(thread), p.ana)
	if err := p.ReopenThread(t.Context(), thread); err != nil {
		t.Errorf("ReopenThread of one that is not locked: %v", err)
	}
	for _, archive := range []bool{true, false} {
		p.server.LockThread(p.thread(thread), p.ana, archive)
		if err := send(); platform.ReasonOf(err) != bridge.ReasonClosed && platform.ReasonOf(err) != bridge.ReasonAuth {
			t.Errorf("sending to a locked thread: %v", err)
		}
		if err := p.ReopenThread(t.Context(), thread); platform.ReasonOf(err) != bridge.ReasonThreadGone || !strings.Contains(err.Error(), "Manage Threads") {
			t.Errorf("reopening a locked thread: %v", err)
		}
		p.server.UnlockThread(p.thread(thread), p.ana)
		p.server.UnarchiveThread(p.thread(thread), p.ana)
	}
}

// Discord allows two names in ten minutes; words do not wait for a third.
func TestRenameLimit(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Text)
	thread := bridgetest.Open(t, p.Discord, session("1", "Maria"))
	p.server.SetLimits(sandbox.Limits{Renames: sandbox.Window{Calls: 2, Per: 10 * time.Minute}})
	for _, name := range []string{"one", "two", "three", "four"} {
		if err := p.RenameThread(t.Context(), thread, name); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	if got, _ := p.server.Thread(p.thread(thread)); got.Name != "two" {
		t.Errorf("the thread is called %q", got.Name)
	}
	if n := p.server.TooEarly("update_channel"); n != 1 {
		t.Errorf("%d renames came too early", n)
	}
	for _, err := range []error{p.CloseThread(t.Context(), thread), p.ReopenThread(t.Context(), thread)} {
		if err != nil {
			t.Errorf("the thread cannot be closed and opened: %v", err)
		}
	}
	bridgetest.Deliver(t, p.Discord, thread, bridge.Outgoing{Text: "hello", Kind: bridge.KindMessage})
}

// Where the channel wants tags it gets one, and what is no place for sessions is said.
func TestChannels(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Text)
	use := func(c sandbox.Channel) *place {
		other := *p
		other.room = p.server.AddChannel(c)
		other.Discord, other.logs = adapter(t, other.config())
		return &other
	}
	tagged := use(sandbox.Channel{Kind: sandbox.Forum, Name: "f", RequireTag: true, Tags: []sandbox.Tag{{Name: "sales"}, {Name: "support"}}})
	thread := bridgetest.Open(t, tagged.Discord, session("1", "Maria"))
	if got, _ := p.server.Thread(tagged.thread(thread)); len(got.Tags) != 1 || got.Tags[0] != p.server.Tags(tagged.room)[0].ID || got.AutoArchive != weekInMinutes {
		t.Errorf("the post is %+v", got)
	}
	// One that is for moderators is taken where there is no other: the bot is to have the permission.
	for i, tags := range [][]sandbox.Tag{
		{{Name: "support", Moderated: true}}, {{Name: "support", Moderated: true}, {Name: "sales"}},
	} {
		moderated := use(sandbox.Channel{Kind: sandbox.Forum, Name: "m", RequireTag: true, Tags: tags})
		thread := bridgetest.Open(t, moderated.Discord, session("1", "Maria"))
		if got, _ := p.server.Thread(moderated.thread(thread)); len(got.Tags) != 1 || got.Tags[0] != p.server.Tags(moderated.room)[i].ID {
			t.Errorf("the post has the tags %q", got.Tags)
		}
	}
	if main := tagged.MainThread(); main != "" {
		t.Errorf("a forum has the main place %q", main)
	}
	bare := use(sandbox.Channel{Kind: sandbox.Forum, Name: "g", RequireTag: true})
	if _, _, err := bare.OpenThread(t.Context(), session("1", "Maria"), bridge.Opening{}); platform.ReasonOf(err) != bridge.ReasonAuth ||
		!strings.Contains(err.Error(), "tag") {
		t.Errorf("a forum without tags: %v", err)
	}
	voice := use(sandbox.Channel{Kind: sandbox.Voice, Name: "v"})
	if _, _, err := voice.OpenThread(t.Context(), session("1", "Maria"), bridge.Opening{}); platform.ReasonOf(err) != bridge.ReasonAuth ||
		!strings.Contains(err.Error(), "DISCORD_CHANNEL_ID") {
		t.Errorf("a voice channel: %v", err)
	}
	nowhere := *p
	nowhere.room = "5"
	nowhere.Discord, _ = adapter(t, nowhere.config())
	if _, _, err := nowhere.OpenThread(t.Context(), session("1", "Maria"), bridge.Opening{}); platform.ReasonOf(err) != bridge.ReasonAuth ||
		!strings.Contains(err.Error(), "DISCORD_CHANNEL_ID") {
		t.Errorf("no channel: %v", err)
	}
	for _, id := range []bridge.ThreadID{"", "5/6", bridge.ThreadID(p.room), bridge.ThreadID(p.room + "/x")} {
		if _, err := p.Send(t.Context(), id, bridge.Part{Text: "x"}); platform.ReasonOf(err) != bridge.ReasonThreadGone {
			t.Errorf("the thread %q: %v", id, err)
		}
	}
}

// Nobody is pinged but who is called by name, whatever a text says.
func TestPings(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Text)
	eva := p.server.AddUser(sandbox.User{Name: "eva"}).ID
	role := p.server.AddRole("Team", true)
	thread := bridgetest.Open(t, p.Discord, session("@everyone", "<@"+p.ana+"> @everyone"))
	text := "@everyone @here <@" + p.ana + "> <@&" + role + "> <@" + eva + ">"
	question := p.say(thread, "question", "")
	ids := bridgetest.Deliver(t, p.Discord, thread, bridge.Outgoing{Text: text, ReplyTo: question, Kind: bridge.KindMessage})
	ids = append(ids, bridgetest.Deliver(t, p.Discord, thread, bridge.Outgoing{Text: text, Mention: []string{eva, "x"}, Kind: bridge.KindMessage})...)
	// The plain form has the bare text: it pings nobody either.
	plain, err := p.Send(t.Context(), thread, bridge.Part{Text: text})
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range append(ids, plain...) {
		want := map[bool][]string{true: {eva}, false: nil}[i == 1]
		if got := p.message(thread, id).Pings; !slices.Equal(got, want) {
			t.Errorf("message %d pings %q", i, got)
		}
	}
	// An absent list would let everything ping.
	if raw, err := json.Marshal(postOf(bridge.Part{Text: "x"})); err != nil || !strings.Contains(string(raw), `"allowed_mentions":{"parse":[]`) {
		t.Errorf("a message is %s, %v", raw, err)
	}
	for _, m := range p.server.Messages(p.room) {
		if len(m.Pings) > 0 || !m.Silent {
			t.Errorf("the card pings %q, silent %t", m.Pings, m.Silent)
		}
	}
}

// The sign of before a restart goes when another one comes.
func TestSignsAfterARestart(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Text)
	thread := bridgetest.Open(t, p.Discord, session("1", "Maria"))
	id := p.say(thread, "an answer", "")
	if err := p.React(t.Context(), thread, id, bridge.SignDelivered); err != nil {
		t.Fatal(err)
	}
	other := p.again(t)
	for range 2 {
		if err := other.React(t.Context(), thread, id, bridge.SignRead); err != nil {
			t.Fatal(err)
		}
	}
	if got := p.message(thread, id).Reactions; len(got) != 1 || got[0].Emoji != emojiRead {
		t.Errorf("the signs are %+v", got)
	}
	if n := p.server.Count("add_my_message_reaction"); n != 2 {
		t.Errorf("%d signs were set", n)
	}
}

// A file is streamed: what cannot be read of it is its source's fault, and Discord gets nothing.
func TestBrokenUploads(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Text)
	thread := bridgetest.Open(t, p.Discord, session("1", "Maria"))
	broken := startLoose(t)
	half := bridgetest.Open(t, broken.Discord, session("1", "Maria"))
	for name, body := range map[string]io.Reader{
		"breaks off": io.MultiReader(bytes.NewReader(make([]byte, 50_000)), iotest.ErrReader(errors.New("https://secret.test/x"))),
		"too short":  bytes.NewReader(make([]byte, 50_000)),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := broken.Upload(t.Context(), half, bridge.Part{}, []bridge.File{{Name: "a", Size: 100_000, Body: body}})
			d := bridge.AsDelivery(err, "", "")
			if platform.ReasonOf(err) != bridge.ReasonTransient || d.Scope != bridge.ScopeSession || !strings.Contains(d.Detail, "the file") ||
				strings.Contains(d.Detail, "secret") {
				t.Errorf("the error is %v", err)
			}
			if got := broken.shown(half); len(got) > 0 {
				t.Errorf("shown %+v", got)
			}
		})
	}
	// One that is longer than was said is cut to it: the length stands in front.
	long := strings.NewReader(strings.Repeat("x", 200))
	if _, err := p.Upload(t.Context(), thread, bridge.Part{}, []bridge.File{{Name: `we"ird` + "\n.txt", Type: "text/\nplain", Size: 100, Body: long}}); err != nil {
		t.Fatal(err)
	}
	got := p.shown(thread)
	if len(got) != 1 || len(got[0].Files) != 1 || len(got[0].Files[0].Content) != 100 {
		t.Errorf("shown %+v", got)
	}
	ten := make([]bridge.File, maxFiles)
	for i := range ten {
		ten[i] = bridge.File{Name: string(rune('a' + i)), Size: maxUpload / maxFiles, Body: io.LimitReader(zeros{}, maxUpload/maxFiles)}
	}
	if _, err := p.Upload(t.Context(), thread, bridge.Part{Key: "ten"}, ten); err != nil {
		t.Errorf("ten files: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// A transfer that does not go on is given up, and says so; one that does may take as long as it likes.
func TestStalledTransfers(t *testing.T) {
	t.Parallel()
	p := startLoose(t)
	thread := bridgetest.Open(t, p.Discord, session("1", "Maria"))
	p.rest.stall = 2 * time.Second
	slow := func(n int, pause time.Duration) []bridge.File {
		return []bridge.File{{Name: "a", Size: int64(n), Body: iotest.OneByteReader(&dripping{left: n, pause: pause})}}
	}
	if _, err := p.Upload(t.Context(), thread, bridge.Part{}, slow(30, 80*time.Millisecond)); err != nil {
		t.Errorf("a slow file: %v", err)
	}
	if _, err := p.Upload(t.Context(), thread, bridge.Part{}, slow(2, 5*time.Second)); platform.ReasonOf(err) != bridge.ReasonTransient {
		t.Errorf("a file that stands still: %v", err)
	}
	p.server.Next("create_message", sandbox.Action{Silence: true})
	if _, err := p.Upload(t.Context(), thread, bridge.Part{}, slow(1, 0)); platform.ReasonOf(err) != bridge.ReasonUnconfirmed {
		t.Errorf("a file whose answer does not come: %v", err)
	}
	if got := p.shown(thread); len(got) != 1 {
		t.Errorf("shown %+v", got)
	}
	m := p.server.Upload(p.thread(thread), p.ana, "", sandbox.File{Name: "a.txt", Content: []byte("0123456789")})
	p.server.Next("attachment", sandbox.Action{Silence: true})
	if _, err := p.OpenFile(t.Context(), fileID(p.thread(thread), m.ID, m.Files[0].ID), 0); platform.ReasonOf(err) != bridge.ReasonTransient {
		t.Errorf("a file that does not come: %v", err)
	}
}

// dripping yields bytes with a pause before each.
type dripping struct {
	left  int
	pause time.Duration
}

func (d *dripping) Read(p []byte) (int, error) {
	if d.left == 0 {
		return 0, io.EOF
	}
	<-time.After(d.pause)
	d.left--
	p[0] = 'x'
	return 1, nil
}

// Files are read from Discord alone, at the address of now; neither a token nor an address is told.
func TestFilesOfOperators(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Text)
	thread := bridgetest.Open(t, p.Discord, session("1", "Maria"))
	m := p.server.Upload(p.thread(thread), p.ana, "", sandbox.File{Name: "a.txt", Content: []byte("0123456789")})
	ref := fileID(p.thread(thread), m.ID, m.Files[0].ID)
	read := func(from int64) (string, *bridge.Content, error) {
		c, err := p.OpenFile(t.Context(), ref, from)
		if err != nil {
			return "", nil, err
		}
		defer c.Body.Close()
		text, err := io.ReadAll(c.Body)
		return string(text), c, err
	}
	p.server.ExpireFiles() // so the address of when it was told does not hold any more
	for from, want := range map[int64]string{0: "0123456789", 4: "456789", 10: "", 11: "", -3: "0123456789"} {
		text, c, err := read(from)
		if err != nil || text != want || c.Size != 10 {
			t.Errorf("from %d: %q, %+v, %v", from, text, c, err)
		}
	}
	p.server.Next("attachment", sandbox.Page(500), sandbox.Page(404), sandbox.Action{DropBefore: true}, sandbox.Page(429))
	for _, want := range []bridge.Reason{bridge.ReasonTransient, bridge.ReasonRejected, bridge.ReasonTransient, bridge.ReasonRateLimited} {
		_, _, err := read(0)
		if platform.ReasonOf(err) != want {
			t.Errorf("the error is %v, not %s", err, want)
		}
		p.checkSafe(t, err)
	}
	for _, bad := range []string{"", "1/2", "1/2/3/4", "x/y/z", "../../1", p.thread(thread) + "/" + m.ID + "/1", p.thread(thread) + "/1/1", "1/1/1"} {
		if _, err := p.OpenFile(t.Context(), bad, 0); platform.ReasonOf(err) != bridge.ReasonRejected {
			t.Errorf("%q: %v", bad, err)
		}
	}
	// An address elsewhere is not followed, whoever says it.
	visited := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visited = true }))
	defer other.Close()
	for _, address := range []string{other.URL + "/x", "http://cdn.discordapp.com/x", "https://cdn.discordapp.com.evil.test/x",
		"https://user:pw@cdn.discordapp.com/x", "file:///etc/passwd", "https://cdn.discordapp.com:444/x", "::"} {
		if _, err := p.load(t.Context(), attachment{URL: address}, 0); platform.ReasonOf(err) != bridge.ReasonRejected {
			t.Errorf("%q: %v", address, err)
		}
	}
	if visited {
		t.Error("another server was asked")
	}
}

// All at once: the adapter's methods may be called from several goroutines.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Text)
	var threads []bridge.ThreadID
	for i := range 4 {
		threads = append(threads, bridgetest.Open(t, p.Discord, session(string(rune('a'+i)), "Maria")))
	}
	inbox := bridgetest.NewInbox(p.now())
	l := listen(t, p.Discord, inbox)
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			thread := threads[i%4]
			ids, err := p.Send(t.Context(), thread, bridge.Part{Text: "x", Key: string(rune('A' + i))})
			if err == nil {
				err = errors.Join(p.Edit(t.Context(), thread, ids[0], bridge.Part{Text: "y"}), p.React(t.Context(), thread, ids[0], bridge.SignRead),
					p.ShowTyping(t.Context(), thread), p.EditCard(t.Context(), thread, bridge.Card{Session: visitor()}, nil), p.Delete(t.Context(), thread, ids[0]))
			}
			if err != nil {
				t.Error(err)
			}
			_ = p.MainThread()
		})
	}
	for i := range 20 {
		p.say(threads[i%4], "hello", "")
	}
	all.Wait()
	inbox.Wait(t, 20)
	_ = l.stop()
}
