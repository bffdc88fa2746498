package demo

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// transcript writes whole lines; several goroutines may.
type transcript struct {
	mu     sync.Mutex
	w      io.Writer
	unread func() // called when nobody reads any more
}

func (t *transcript) line(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, err := fmt.Fprintf(t.w, format+"\n", args...); err != nil && t.unread != nil {
		t.unread()
	}
}

// who is as wide as the first column.
const who = 26

// say writes who said or did what; further lines of it stand below the first.
func (t *transcript) say(from, format string, args ...any) {
	text := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "\n"+strings.Repeat(" ", len("15:04:05  ")+who+1))
	t.line("%s", time.Now().Format("15:04:05")+fmt.Sprintf("  %-*s %s", who, from, text))
}
