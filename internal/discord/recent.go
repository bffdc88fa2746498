package discord

import "sync"

// recent remembers the last things that were put into it, between half of maxRecent and maxRecent of them. Its methods may be called
// from several goroutines; its zero value is empty.
type recent[V any] struct {
	mu         sync.Mutex
	young, old map[string]V
}

const maxRecent = 10_000

func (r *recent[V]) put(key string, value V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.young == nil || len(r.young) >= maxRecent/2 {
		r.young, r.old = map[string]V{}, r.young
	}
	r.young[key] = value
}

func (r *recent[V]) get(key string) (value V, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if value, ok = r.young[key]; !ok {
		value, ok = r.old[key]
	}
	return value, ok
}
