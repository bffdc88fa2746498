package desk

import (
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// Platforms tell that somebody types, and not what. So that visitors see dots for words and not for commands, they are told a while after
// somebody has begun, unless a command has come of it by then; and where one comes later, that nobody types.
const (
	typingSettles = 3 * time.Second  // longer than a command takes to be typed
	typingLasts   = 15 * time.Second // a sign of typing comes every ten seconds while somebody does
	typistsMost   = 1000
)

// typing is who types. Its methods may be called from several goroutines.
type typing struct {
	tell func(platform, session string, is bool) // nil: nobody is told

	mu  sync.Mutex
	all map[string]*typist
}

// typist is somebody who types in a place.
type typist struct {
	platform, session string
	timer             *time.Timer // until it is told; nil: it is not about to be
	told              time.Time   // when it was told last; zero: not since the last message
	began             time.Time   // the last sign of typing
}

func newTyping(tell func(platform, session string, is bool)) *typing {
	return &typing{tell: tell, all: map[string]*typist{}}
}

// typist names the author of an update, and where they type.
func (in *inbox) typist(u bridge.Update) string {
	return in.platform + "\n" + string(u.Thread) + "\n" + u.Author.ID
}

// begins takes a sign that somebody types.
func (t *typing) begins(who, platform, session string) {
	if t.tell == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	p := t.all[who]
	if p == nil {
		if len(t.all) >= typistsMost {
			t.forget(now)
		}
		p = &typist{}
		t.all[who] = p
	}
	p.platform, p.session, p.began = platform, session, now
	switch {
	case p.timer != nil:
	case now.Sub(p.told) < typingLasts: // whoever goes on typing types words
		p.told = now
		t.tell(platform, session, true)
	default:
		p.timer = time.AfterFunc(typingSettles, func() { t.settled(who, p) })
	}
}

// settled tells that somebody types of whom no command has come.
func (t *typing) settled(who string, p *typist) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all[who] != p || p.timer == nil {
		return
	}
	p.timer, p.told = nil, time.Now()
	t.tell(p.platform, p.session, true)
}

// ends takes what has come of typing: words for the visitor, who need not be told more, or something else.
func (t *typing) ends(who string, words bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.all[who]
	if p == nil {
		return
	}
	delete(t.all, who)
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	if !words && time.Since(p.told) < typingLasts {
		t.tell(p.platform, p.session, false)
	}
}

// forget forgets those who have stopped typing. Called under the lock.
func (t *typing) forget(now time.Time) {
	for who, p := range t.all {
		if p.timer == nil && now.Sub(p.began) >= typingLasts {
			delete(t.all, who)
		}
	}
}
