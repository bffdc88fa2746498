package site_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/site"
	"github.com/pocketping/bridge/internal/site/sitetest"
)

// trapped are transcripts of which one look-up panics.
type trapped struct {
	bridge.Transcripts
	next atomic.Bool
}

func (x *trapped) TranscriptOf(ctx context.Context, session string, messages ...string) ([]bridge.TranscriptMessage, error) {
	if x.next.CompareAndSwap(true, false) {
		panic("as the test says")
	}
	return x.Transcripts.TranscriptOf(ctx, session, messages...)
}

// A panic over what a page is told ends that page's socket alone; the widget opens another one and misses nothing.
func TestPanicEndsOneSocket(t *testing.T) {
	t.Parallel()
	x := &trapped{}
	r := newRig(t, func(o *site.Options) { x.Transcripts, o.Transcripts = o.Transcripts, x }).serve()
	one, two := r.page(sitetest.Options{}, nil), r.page(sitetest.Options{}, nil)
	for _, w := range []*sitetest.Widget{one, two} {
		if _, err := w.Send("hello", nil, ""); err != nil {
			t.Fatal(err)
		}
		r.shows(w, "the own word", func(s sitetest.State) bool { return len(s.Messages) == 1 })
	}
	x.next.Store(true)
	for i := 0; i == 0 || x.next.Load(); i++ { // a socket that opens now is told all at once, by another way
		for _, w := range []*sitetest.Widget{one, two} {
			text := fmt.Sprint("answer ", i)
			r.answers(w.Session(), w.Session()+fmt.Sprint(50+i), text)
			r.shows(w, text, func(s sitetest.State) bool { return len(s.Messages) == i+2 && s.Messages[i+1].Content == text })
		}
	}
	if !strings.Contains(r.said.String(), "a panic was caught") {
		t.Error("nothing panicked")
	}
}
