package engine

import "sync"

// workers runs the attempts of one ownership, each in a goroutine that has ended another and waits for the next, where there is one: a
// new one's stack has to grow first. It is here for throughput alone.
type workers struct {
	idle chan func()
	quit chan struct{} // closed when the ownership ends
	all  sync.WaitGroup
}

func newWorkers() *workers { return &workers{idle: make(chan func()), quit: make(chan struct{})} }

// begin runs do in a goroutine that has nothing to do any more, or in a new one.
func (w *workers) begin(do func()) {
	select {
	case w.idle <- do:
		return
	default:
	}
	w.all.Go(func() {
		for {
			do()
			select {
			case do = <-w.idle:
			case <-w.quit:
				return
			}
		}
	})
}

// end waits until all have ended.
func (w *workers) end() {
	close(w.quit)
	w.all.Wait()
}
