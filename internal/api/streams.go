package api

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

// DefaultStreamsMax is how many streams are open at most, where nothing else is said.
const DefaultStreamsMax = 1000

// streamsRetry is how long a client is asked to wait for a stream that there is no room for.
const streamsRetry = 5 * time.Second

// streams counts the open streams, for each key too: where there are several keys, one has half of them at most.
type streams struct {
	most, each int

	mu   sync.Mutex
	open int
	of   map[int]int // key → its open streams
}

func newStreams(most, keys int) *streams {
	if most <= 0 {
		most = DefaultStreamsMax
	}
	s := &streams{most: most, each: most, of: map[int]int{}}
	if keys > 1 {
		s.each = (most + 1) / 2
	}
	return s
}

// begin counts a stream until end is called, or says why there is no room for it.
func (s *streams) begin(key int) (end func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.of[key] >= s.each && s.each < s.most:
		return nil, &problem{status: http.StatusTooManyRequests, code: "too_many_streams", retry: streamsRetry,
			text: fmt.Sprintf("this API key has %d streams open, and others need some too", s.each)}
	case s.open >= s.most:
		return nil, &problem{status: http.StatusServiceUnavailable, code: "too_many_streams", retry: streamsRetry,
			text: "there are too many streams; STREAMS_MAX says how many there may be"}
	}
	s.open++
	s.of[key]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.open--
		s.of[key]--
	}, nil
}
