package engine

// TailPage is how many events are read at once.
const TailPage = tailPage

// ReadAheadMost is how many unfinished events are in memory where nothing else is said.
const ReadAheadMost = readAheadMost

// Held is how many unfinished events of a lane are in memory.
func (r *Engine) Held(name string) int {
	l := r.lane(name)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.queue == nil {
		return 0
	}
	n, _ := l.queue.waiting()
	return n
}
