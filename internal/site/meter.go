package site

// Meter counts what pages do. Its methods do not wait, and may be called from several goroutines.
type Meter interface {
	// PageOpened counts a page that hears from now on; way is socket or stream.
	PageOpened(way string)
	PageClosed(way string)
	// Pushed counts something that a page was told by its socket or stream.
	Pushed()
	// Refused counts a request that was refused; code is that of the answer, one of a few words.
	Refused(code string)
}

// The ways by which a page hears.
const (
	waySocket = "socket"
	wayStream = "stream"
)

// codeConnects stands for new sessions of one address that are not announced any more. Their connects are answered.
const codeConnects = "connects"

type uncounted struct{}

func (uncounted) PageOpened(string) {}
func (uncounted) PageClosed(string) {}
func (uncounted) Pushed()           {}
func (uncounted) Refused(string)    {}
