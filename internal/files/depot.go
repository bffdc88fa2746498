package files

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

const (
	spoolName = "pocketping-bridge-file-" // begins the name that a kept file has for a moment

	atOnce      = 32              // files under way
	perSite     = 4               // of them, of one site
	aheadMost   = 256             // files that wait for their turn, when one that is wanted ahead is left for later
	queueIn     = 2 * time.Minute // that a file waits for its turn
	bringIn     = 30 * time.Second
	rateWindow  = 5 * time.Second
	minRate     = 4 << 10 // bytes a second, in each rateWindow
	attempts    = 3
	attemptWait = 500 * time.Millisecond // before the second attempt; twice that before the third
	keptMost    = 256                    // files; each is an open descriptor
	keptBytes   = 512 << 20
)

// DepotOptions is what a Depot is made of.
type DepotOptions struct {
	// Dir is where files are kept, each without a name: they are gone when the process is, however it ends. It is made if it is
	// not there.
	Dir      string
	MaxBytes int64        // of all files together; 0: 512 MiB
	Log      *slog.Logger // nil: silence
}

// Depot fetches files and keeps them on disk for those who want them: a file that several want is fetched once. Nobody waits for
// a fetch: files come in the order in which they were wanted, a few of each site at a time, and have 30 seconds in all from
// the first call on. Files that nobody reads make room for others when the disk's share is used up; they are fetched again
// when they are wanted again. All methods may be called from several goroutines.
type Depot struct {
	dir  string
	most int64
	log  *slog.Logger
	ctx  context.Context //nolint:containedctx // of the fetches, which belong to no caller
	end  context.CancelFunc
	work sync.WaitGroup

	mu      sync.Mutex
	files   map[string]*wantedFile
	queue   []*wantedFile // in the order in which they were wanted
	running int
	sites   map[string]int // files under way
	kept    []*wantedFile  // that are here, the one used last at the end
	bytes   int64          // of all that is on disk
}

// wantedFile is a file that somebody wants.
type wantedFile struct {
	key, site string
	limit     int64
	open      func(ctx context.Context) (bridge.File, io.Closer, error)
	users     map[string]bool
	since     time.Time
	ready     chan struct{} // closed when it is here, or cannot be had
	settled   bool
	stop      context.CancelFunc // of its fetch

	err     error
	file    bridge.File // without its Body
	content *os.File
	bytes   int64 // on disk
	readers int
	gone    bool // nobody wants it any more, or its room is needed
}

// NewDepot returns an empty depot. What a process left that was killed in the middle of making a file goes.
func NewDepot(o DepotOptions) *Depot {
	if o.MaxBytes <= 0 {
		o.MaxBytes = keptBytes
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		o.Log.Warn("there is no place for visitors' files on their way; they are shown as links. Make DATA_DIR writable", "err", err)
	}
	if left, err := filepath.Glob(filepath.Join(o.Dir, spoolName+"*")); err == nil {
		for _, name := range left {
			_ = os.Remove(name) // also a name that another process is about to take away itself
		}
	}
	ctx, end := context.WithCancel(context.Background())
	return &Depot{
		dir: o.Dir, most: o.MaxBytes, log: o.Log, ctx: ctx, end: end,
		files: map[string]*wantedFile{}, sites: map[string]int{},
	}
}

// Close ends all fetches and forgets all files.
func (d *Depot) Close() {
	d.end()
	d.work.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.kept {
		_ = f.content.Close()
	}
	d.kept, d.queue, d.files = nil, nil, map[string]*wantedFile{}
}

// Want has a file fetched, unless it is here, on its way, or was fetched in vain. ready is closed when it is here or cannot be had;
// since is when it was wanted first. Of a file wanted ahead that is left for later, ready is nil.
func (d *Depot) Want(r bridge.FileRequest) (ready <-chan struct{}, since time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.files[r.Key]
	if f == nil {
		if r.Ahead && (len(d.queue) >= aheadMost || d.bytes >= d.most/2 || len(d.kept) >= keptMost/2) {
			return nil, time.Time{}
		}
		f = &wantedFile{
			key: r.Key, site: r.Site, limit: r.Limit, open: r.Open, users: map[string]bool{}, since: time.Now(), ready: make(chan struct{}),
		}
		d.files[r.Key] = f
		d.queue = append(d.queue, f)
		d.start()
		if !f.settled && f.stop == nil {
			time.AfterFunc(queueIn, func() { d.giveUpWaiting(f) })
		}
	}
	f.users[r.User] = true
	return f.ready, f.since
}

// Open opens a file that was wanted, at most as long as said. An error is bridge.ErrFileNotHere, or what Want's Open said.
func (d *Depot) Open(key string, most int64) (bridge.File, io.Closer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.files[key]
	switch {
	case f == nil || !f.settled:
		return bridge.File{}, nil, bridge.ErrFileNotHere
	case f.err != nil:
		return bridge.File{}, nil, f.err
	case f.file.Size > most:
		return bridge.File{}, nil, tooBig(most)
	}
	f.readers++
	if i := slices.Index(d.kept, f); i >= 0 { // it is the one used last
		d.kept = append(slices.Delete(d.kept, i, i+1), f)
	}
	file := f.file
	file.Body = io.NewSectionReader(f.content, 0, f.file.Size)
	return file, reading(sync.OnceFunc(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if f.readers--; f.gone {
			d.remove(f)
		}
	})), nil
}

// reading ends one reading of a kept file.
type reading func()

// Close ends the reading. It returns no error.
func (end reading) Close() error {
	end()
	return nil
}

// Drop says that a user does not want a file any more.
func (d *Depot) Drop(key, user string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.files[key]
	if f == nil {
		return
	}
	if delete(f.users, user); len(f.users) > 0 {
		return
	}
	if !f.settled && f.stop != nil {
		delete(d.files, key)
		f.stop() // its fetch removes what it has brought
		return
	}
	if i := slices.Index(d.queue, f); i >= 0 {
		d.queue = slices.Delete(d.queue, i, i+1)
		f.settle(bridge.ErrFileNotHere)
	}
	d.remove(f)
}

// settle is called under the lock.
func (f *wantedFile) settle(err error) {
	if !f.settled {
		f.settled, f.err = true, err
		close(f.ready)
	}
}

// remove forgets a file, once nobody reads it. Called under the lock.
func (d *Depot) remove(f *wantedFile) {
	f.gone = true
	if d.files[f.key] == f {
		delete(d.files, f.key)
	}
	if f.content == nil || f.readers > 0 {
		return
	}
	_ = f.content.Close()
	f.content = nil
	d.bytes -= f.bytes
	d.kept = slices.DeleteFunc(d.kept, func(other *wantedFile) bool { return other == f })
}

// start begins fetches as long as there is room for them. Called under the lock.
func (d *Depot) start() {
	for i := 0; i < len(d.queue) && d.running < atOnce; {
		f := d.queue[i]
		if f.site != "" && d.sites[f.site] >= perSite {
			i++
			continue
		}
		d.queue = slices.Delete(d.queue, i, i+1)
		d.running++
		d.sites[f.site]++
		ctx, stop := context.WithTimeoutCause(d.ctx, bringIn, errSlow)
		f.stop = stop
		d.work.Go(func() {
			defer stop()
			d.fetch(ctx, f)
		})
	}
}

// giveUpWaiting settles a file that has waited for its turn for too long.
func (d *Depot) giveUpWaiting(f *wantedFile) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := slices.Index(d.queue, f); i >= 0 {
		d.queue = slices.Delete(d.queue, i, i+1)
		f.settle(temporary("too many files of the same site are on their way"))
	}
}

// fetch brings a file, in several attempts if need be.
func (d *Depot) fetch(ctx context.Context, f *wantedFile) {
	var err error
	for n := 1; ; n++ {
		if err = bridge.Protect(d.log, "fetch", func() error { return d.bring(ctx, f) }); err == nil || n == attempts || !mayPass(err) {
			break
		}
		if bridge.Sleep(ctx, time.Duration(n)*attemptWait); ctx.Err() != nil {
			break
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f.open = nil // it may hold the content
	f.settle(err)
	d.running--
	if d.sites[f.site]--; d.sites[f.site] == 0 {
		delete(d.sites, f.site)
	}
	if err == nil {
		d.kept = append(d.kept, f)
	}
	if len(f.users) == 0 {
		d.remove(f)
	}
	for len(d.kept) > keptMost && d.makeRoom(f) {
	}
	d.start()
}

// mayPass says whether a file may be had a moment later.
func mayPass(err error) bool {
	if fault, ok := errors.AsType[*FetchError](err); ok {
		return fault.Temporary
	}
	fault, ok := errors.AsType[*bridge.DeliveryError](err)
	return ok && (fault.Reason == bridge.ReasonTransient || fault.Reason == bridge.ReasonRateLimited || fault.Reason == bridge.ReasonUnconfirmed)
}

// bring makes one attempt to have a file here.
func (d *Depot) bring(ctx context.Context, f *wantedFile) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slow := func() bool { return errors.Is(context.Cause(ctx), errSlow) }
	file, closer, err := f.open(ctx)
	if err != nil {
		if slow() {
			return tooSlow()
		}
		return err
	}
	defer func() { _ = closer.Close() }()
	if file.Size > f.limit {
		return tooBig(f.limit)
	}
	content, err := openUnnamed(d.dir)
	if err != nil {
		d.log.Warn("there is no place for a file on its way", "err", err)
		return noPlace()
	}
	w := &spooler{d: d, f: f, to: content}
	watch := watchRate(ctx, w.written, func() { cancel(errSlow) })
	size, err := io.Copy(w, io.LimitReader(file.Body, f.limit+1))
	watch()
	full, isFull := errors.AsType[*spoolError](err)
	switch {
	case isFull:
		d.log.Warn("there is no place for a file on its way", "err", full.error)
		err = noPlace()
	case slow():
		err = tooSlow()
	case err != nil:
	case size > f.limit:
		err = tooBig(f.limit)
	case file.Size >= 0 && size != file.Size:
		err = temporary("the file broke off")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		_ = content.Close()
		d.bytes -= f.bytes
		f.bytes = 0
		return err
	}
	file.Size, file.Body = size, nil
	f.file, f.content = file, content
	return nil
}

func tooSlow() error { return &FetchError{Reason: "the file comes too slowly"} }
func noPlace() error { return &FetchError{Reason: "there is no place to keep the file meanwhile"} }

// watchRate calls slow when fewer bytes come than minRate asks for, until the returned function is called.
func watchRate(ctx context.Context, bytes func() int64, slow func()) (end func()) {
	over, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(rateWindow)
		defer tick.Stop()
		for before := int64(0); ; {
			select {
			case <-over:
				return
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			now := bytes()
			if now-before < int64(minRate*rateWindow/time.Second) {
				slow()
				return
			}
			before = now
		}
	}()
	return func() {
		close(over)
		<-stopped
	}
}

// spooler writes a file, as far as there is room for it.
type spooler struct {
	d  *Depot
	f  *wantedFile
	to *os.File
}

// spoolError tells the faults of writing from those of reading.
type spoolError struct{ error }

func (s *spooler) Write(p []byte) (int, error) {
	if !s.d.grow(s.f, int64(len(p))) {
		return 0, &spoolError{errors.New("the files on their way have used up their share of the disk")}
	}
	n, err := s.to.Write(p)
	if err != nil {
		err = &spoolError{err}
	}
	return n, err
}

func (s *spooler) written() int64 {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	return s.f.bytes
}

// grow reserves room on disk for more of a file.
func (d *Depot) grow(f *wantedFile, n int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bytes += n
	f.bytes += n
	for d.bytes > d.most {
		if !d.makeRoom(f) {
			return false
		}
	}
	return true
}

// makeRoom gives up the file that nobody has used for the longest time; false: there is none. Called under the lock.
func (d *Depot) makeRoom(but *wantedFile) bool {
	for _, f := range d.kept {
		if f.readers == 0 && f != but {
			d.remove(f)
			return true
		}
	}
	return false
}

// openUnnamed returns a file that loses its name at once.
func openUnnamed(dir string) (*os.File, error) {
	content, err := os.CreateTemp(dir, spoolName)
	if err == nil {
		_ = os.Remove(content.Name())
	}
	return content, err
}
