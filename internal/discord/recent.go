package discord

// recent remembers the last things that were put into it, between half of maxRecent and maxRecent of them. It is used under a
// lock; its zero value is empty.
type recent[V any] struct{ young, old map[string]V }

const maxRecent = 10_000

func (r *recent[V]) put(key string, value V) {
	if r.young == nil || len(r.young) >= maxRecent/2 {
		r.young, r.old = map[string]V{}, r.young
	}
	r.young[key] = value
}

func (r *recent[V]) get(key string) (value V, ok bool) {
	if value, ok = r.young[key]; !ok {
		value, ok = r.old[key]
	}
	return value, ok
}
