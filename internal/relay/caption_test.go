package relay_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
)

// beside runs a test on a platform where a text of up to 40 characters stands beside a file.
func beside(t *testing.T, test func(t *testing.T, h *house, p *bridgetest.Platform, began time.Time)) {
	t.Helper()
	slowly(t, func(t *testing.T, h *house, p *bridgetest.Platform, began time.Time) {
		p.Caption = 40
		test(t, h, p, began)
	})
}

// A text and the files that are here in time are one message, behind the thread's card; the rest follows.
func TestTextAndItsFilesTogether(t *testing.T) {
	long := strings.Repeat("long ", 10) + "."
	for name, c := range map[string]struct {
		text string
		urls []string
		want []string
	}{
		"here at once":      {"see", []string{"a-0s"}, []string{"0 ", "0 see[a]"}},
		"several":           {"see", []string{"a-0s", "b-1s"}, []string{"1 ", "1 see[a]", "1 [b]"}},
		"here too late":     {"see", []string{"a-7s"}, []string{"3 see", "7 ↩[a]"}},
		"some of them":      {"see", []string{"a-7s", "b-1s"}, []string{"3 ", "3 see[b]", "7 ↩[a]"}},
		"not to be had":     {"see", []string{"a-gone", "b-1s"}, []string{"1 ", "1 see\n[file a][b]"}},
		"too long for that": {long, []string{"a-0s"}, []string{"0 " + long, "0 [a]"}},
		"no text":           {"", []string{"a-0s"}, []string{"0 📎 a", "0 [a]"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			beside(t, func(t *testing.T, h *house, p *bridgetest.Platform, began time.Time) {
				h.ingest(withFiles("s", "1", c.text, c.urls...))
				time.Sleep(time.Minute)
				got := timeline(p, began, "s")
				for i := range got {
					got[i] = strings.TrimSuffix(got[i], "[card v-s]\n")
				}
				want(t, got, c.want...)
				if n := len(h.of(bridge.TypeMessageDelivered)); n != 1 {
					t.Errorf("%d receipts", n)
				}
			})
		})
	}
}

// What is done to a message later is done to what stands beside its file, and to the file; what has become too long for that stands below.
func TestChangesBesideFiles(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("long ", 10) + "."
	beside(t, func(t *testing.T, h *house, p *bridgetest.Platform, _ time.Time) {
		files := func() (n int) {
			for _, m := range p.Shown(p.Threads("a")[0]) {
				n += len(m.Files)
			}
			return n
		}
		h.ingest(message("a", "0", "hello"))
		h.ingest(withFiles("a", "1", "see", "x-0s", "y-0s"))
		h.ingest(withFiles("a", "2", "look", "z-0s"))
		time.Sleep(time.Minute)
		want(t, texts(p, "a"), "hello", "see", "", "look")

		h.ingest(edited("1", "look here", 1))
		time.Sleep(time.Minute)
		want(t, texts(p, "a"), "hello", "look here", "", "look")
		h.ingest(edited("1", long, 2))
		time.Sleep(time.Minute)
		want(t, texts(p, "a"), "hello", "✏️ below", "", "look", "✏️ "+long)
		shown := p.Shown(p.Threads("a")[0])
		if shown[4].ReplyTo != shown[1].ID {
			t.Errorf("what has become too long replies to %q, not to %q", shown[4].ReplyTo, shown[1].ID)
		}
		h.ingest(edited("1", "short again", 3)) // it stays where it is
		time.Sleep(time.Minute)
		want(t, texts(p, "a"), "hello", "✏️ below", "", "look", "short again")
		if n := files(); n != 3 {
			t.Errorf("%d files are shown", n)
		}
		h.ingest(deleted("1"))
		time.Sleep(time.Minute)
		want(t, texts(p, "a"), "hello", "look")
		h.ingest(deleted("2"))
		time.Sleep(time.Minute)
		want(t, texts(p, "a"), "hello")
		if got := h.letterIDs(""); len(got) > 0 {
			t.Errorf("dead letters: %v", got)
		}
	})
}

// Where the platform can no longer change it, the new text replies to it, and goes with it.
func TestTooLateBesideFiles(t *testing.T) {
	t.Parallel()
	beside(t, func(t *testing.T, h *house, p *bridgetest.Platform, _ time.Time) {
		h.ingest(message("a", "0", "hello"))
		h.ingest(withFiles("a", "1", "see", "x-0s"))
		time.Sleep(time.Minute)
		p.Fail(bridgetest.OpEdit, fault(bridge.ReasonTooLate, bridge.ScopeSession))
		h.ingest(edited("1", "look", 1))
		time.Sleep(time.Minute)
		want(t, texts(p, "a"), "hello", "see", "✏️ look")
		h.ingest(edited("1", "look again", 2))
		time.Sleep(time.Minute)
		want(t, texts(p, "a"), "hello", "see", "look again")
		h.ingest(deleted("1"))
		time.Sleep(time.Minute)
		want(t, texts(p, "a"), "hello")
	})
}

// A text that the platform refuses together with its file goes alone, and the file behind it, or as a link where it is what was refused.
func TestRefusedTogether(t *testing.T) {
	t.Parallel()
	refusal := fault(bridge.ReasonRejected, bridge.ScopeSession)
	for name, c := range map[string]struct {
		fail []error
		want []string
	}{
		"together":        {[]error{refusal}, []string{"hello", "see", ""}},
		"the file itself": {[]error{refusal, refusal}, []string{"hello", "see", "\n[file x]"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			beside(t, func(t *testing.T, h *house, p *bridgetest.Platform, _ time.Time) {
				h.ingest(message("a", "0", "hello"))
				p.Fail(bridgetest.OpUpload, c.fail...)
				h.ingest(withFiles("a", "1", "see", "x-0s"))
				time.Sleep(time.Minute)
				want(t, texts(p, "a"), c.want...)
				h.ingest(edited("1", "look", 1))
				time.Sleep(time.Minute)
				if got := texts(p, "a"); got[1] != "look" && got[1] != "look\n[file x]" {
					t.Errorf("after an edit it shows %q", got)
				}
			})
		})
	}
}

// A card that the platform refuses is left out, whatever the first message has with it.
func TestRefusedCardBeforeFiles(t *testing.T) {
	t.Parallel()
	beside(t, func(t *testing.T, h *house, p *bridgetest.Platform, _ time.Time) {
		p.Fail(bridgetest.OpSend, fault(bridge.ReasonRejected, bridge.ScopeSession))
		h.ingest(withFiles("a", "1", "see", "x-0s"))
		time.Sleep(time.Minute)
		want(t, texts(p, "a"), "see")
	})
}

// A process that ends between the calls of such a message, or of its edit, goes on where it was.
func TestBesideFilesSurvives(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("long ", 10) + "."
	beside(t, func(t *testing.T, h *house, p *bridgetest.Platform, _ time.Time) {
		h.ingest(message("a", "0", "hello"))
		for _, op := range []string{bridgetest.OpUpload, bridgetest.OpSend} {
			release := p.Hold(op)
			if op == bridgetest.OpUpload {
				h.ingest(withFiles("a", "1", "see", "x-0s", "y-0s"))
			} else {
				h.ingest(edited("1", long, 1))
			}
			time.Sleep(time.Second)
			h.stop()
			release()
			h.start()
			time.Sleep(time.Hour)
		}
		got := texts(p, "a")
		if len(got) < 4 || got[len(got)-1] != "✏️ "+long || strings.Count(strings.Join(got, "|"), "✏️ below") != 1 {
			t.Errorf("it shows %q", got)
		}
	})
}

// A message whose answer was lost goes again as it went, though its files came meanwhile, or have to be fetched anew by the next process: by
// what went, a platform knows that it is shown.
func TestBesideFilesInDoubt(t *testing.T) {
	t.Parallel()
	lost := bridgetest.After(fault(bridge.ReasonUnconfirmed, bridge.ScopeSession))
	for name, c := range map[string]struct {
		url  string
		op   string
		next bool   // by the next process
		text string // that is written before that
		want []string
	}{
		"the file came meanwhile":        {"x-5s", bridgetest.OpSend, false, "", []string{"see", "see", "see", "see", "↩[x]"}},
		"the file is to be fetched anew": {"x-2s", bridgetest.OpUpload, true, "", []string{"see[x]", "see[x]", "see[x]", "see[x]"}},
		"and somebody has written on":    {"x-2s", bridgetest.OpUpload, true, "on", []string{"see[x]", "see[x]", "see[x]", "see[x]", "on"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			beside(t, func(t *testing.T, h *house, p *bridgetest.Platform, began time.Time) {
				h.ingest(message("a", "0", "hello"))
				time.Sleep(time.Second)
				p.Fail(c.op, lost, lost, lost)
				h.ingest(withFiles("a", "1", "see", c.url))
				if c.text == "" {
					time.Sleep(4 * time.Second)
				}
				for i := 0; len(p.Calls(c.op)) == 0 && i < 1000; i++ {
					time.Sleep(10 * time.Millisecond)
				}
				if c.text != "" {
					h.ingest(message("a", "2", c.text))
				}
				if c.next {
					h.stop()
					h.start()
				}
				time.Sleep(time.Minute)
				var got []string
				for _, call := range p.Calls(bridgetest.OpSend, bridgetest.OpUpload) {
					text := call.Text
					for _, f := range call.Part.Files {
						text += "[" + f.Filename + "]"
					}
					if call.Part.ReplyTo != "" {
						text = "↩" + text
					}
					got = append(got, text)
				}
				want(t, got[1:], c.want...)
			})
		})
	}
}

// So it is where an edit has made another message of it before it could be shown.
func TestEditedBesideFilesInDoubt(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("long ", 10) + "."
	beside(t, func(t *testing.T, h *house, p *bridgetest.Platform, _ time.Time) {
		h.ingest(message("a", "0", "hello"))
		time.Sleep(time.Second)
		p.Fail(bridgetest.OpUpload, fault(bridge.ReasonTransient, bridge.ScopeSession))
		p.Fail(bridgetest.OpSend, bridgetest.After(fault(bridge.ReasonUnconfirmed, bridge.ScopeSession)))
		h.ingest(withFiles("a", "1", "see", "x-0s"))
		time.Sleep(50 * time.Millisecond)
		h.ingest(edited("1", long, 1))
		time.Sleep(time.Minute)
		var got []string
		for _, call := range p.Calls(bridgetest.OpSend, bridgetest.OpUpload, bridgetest.OpEdit)[1:] {
			got = append(got, call.Op+" "+call.Text)
		}
		want(t, got, "Upload see", "Send "+long, "Send "+long, "Upload ")
	})
}

// So it is of files that came late, and of one that is a message of its own, behind the text that it does not fit beside: the next process has
// none of them, and fetches them again before it asks whether they are shown.
func TestFileBehindItsTextInDoubt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, url string }{
		"late":      {"see", "x-7s"},
		"by itself": {strings.Repeat("long ", 10) + ".", "x-2s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			beside(t, func(t *testing.T, h *house, p *bridgetest.Platform, _ time.Time) {
				h.ingest(message("a", "0", "hello"))
				time.Sleep(time.Second)
				p.Fail(bridgetest.OpUpload, bridgetest.After(fault(bridge.ReasonUnconfirmed, bridge.ScopeSession)))
				h.ingest(withFiles("a", "1", c.text, c.url))
				for i := 0; len(p.Calls(bridgetest.OpUpload)) == 0 && i < 1000; i++ {
					time.Sleep(10 * time.Millisecond)
				}
				h.stop()
				h.start()
				time.Sleep(time.Minute)
				calls := p.Calls(bridgetest.OpUpload)
				if len(calls) != 2 || calls[0].Part.Key != calls[1].Part.Key || calls[1].Part.Since.IsZero() {
					t.Errorf("it is uploaded by %+v", calls)
				}
			})
		})
	}
}
