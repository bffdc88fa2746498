package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

func newDepot(t *testing.T, o DepotOptions) *Depot {
	t.Helper()
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "files")
	}
	d := NewDepot(o)
	t.Cleanup(d.Close)
	return d
}

// drip is a content of so many bytes, of which some come at once and each further one after a while.
type drip struct {
	ctx   context.Context
	left  int
	piece int
	every time.Duration
}

func (d *drip) Read(p []byte) (int, error) {
	if d.left == 0 {
		return 0, io.EOF
	}
	select {
	case <-time.After(d.every):
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	}
	n := min(d.left, d.piece, len(p))
	d.left -= n
	return n, nil
}

// wants is a request for a file of so many bytes that come in pieces.
func wants(key, user, site string, size, piece int, every time.Duration) bridge.FileRequest {
	return bridge.FileRequest{Key: key, User: user, Site: site, Limit: 1 << 20,
		Open: func(ctx context.Context) (bridge.File, io.Closer, error) {
			return bridge.File{Name: key, Size: -1, Body: &drip{ctx, size, piece, every}}, io.NopCloser(nil), nil
		}}
}

// took returns how long it takes until a file is here or cannot be had.
func took(ready <-chan struct{}) time.Duration {
	began := time.Now()
	<-ready
	return time.Since(began)
}

func TestDepotKeeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDepot(t, DepotOptions{})
		defer d.Close()
		opened := 0
		r := bridge.FileRequest{Key: "a", User: "one", Limit: 100, Open: func(context.Context) (bridge.File, io.Closer, error) {
			opened++
			return bridge.File{Name: "a.png", Type: "image/png", Size: -1, Body: strings.NewReader("content")}, io.NopCloser(nil), nil
		}}
		if _, _, err := d.Open("a", 100); !errors.Is(err, bridge.ErrFileNotHere) {
			t.Errorf("%v", err)
		}
		ready, _ := d.Want(r)
		r.User = "two"
		d.Want(r)
		<-ready
		for range 2 { // it can be read several times, and by several at a time
			f, closer, err := d.Open("a", 100)
			if err != nil || f.Name != "a.png" || f.Type != "image/png" || f.Size != 7 {
				t.Fatalf("%+v %v", f, err)
			}
			if body, err := io.ReadAll(f.Body); string(body) != "content" || err != nil {
				t.Errorf("%q %v", body, err)
			}
			if _, ok := f.Body.(io.Seeker); !ok {
				t.Error("it cannot be read once more")
			}
			defer func() { _ = closer.Close() }()
		}
		if names, err := os.ReadDir(d.dir); err != nil || len(names) != 0 {
			t.Errorf("%d names are seen, %v", len(names), err)
		}
		if _, _, err := d.Open("a", 6); err == nil || !strings.Contains(err.Error(), "longer") {
			t.Errorf("of 7 bytes where 6 are allowed: %v", err)
		}
		f, closer, _ := d.Open("a", 100)
		d.Drop("a", "one")
		if _, other, err := d.Open("a", 100); err != nil {
			t.Errorf("the other does not have it any more: %v", err)
		} else {
			_ = other.Close()
		}
		d.Drop("a", "two")
		if body, err := io.ReadAll(f.Body); string(body) != "content" || err != nil {
			t.Errorf("what is being read is gone: %q %v", body, err)
		}
		_ = closer.Close()
		if _, _, err := d.Open("a", 100); !errors.Is(err, bridge.ErrFileNotHere) || opened != 1 {
			t.Errorf("%v, opened %d times", err, opened)
		}
	})
}

// A file has thirty seconds in all, and a rate below which it is given up; its attempts are within them.
func TestDepotTimes(t *testing.T) {
	fails := func(err error) bridge.FileRequest {
		return bridge.FileRequest{Key: "x", User: "u", Limit: 100, Open: func(context.Context) (bridge.File, io.Closer, error) {
			return bridge.File{}, nil, err
		}}
	}
	hangs := bridge.FileRequest{Key: "x", User: "u", Limit: 100, Open: func(ctx context.Context) (bridge.File, io.Closer, error) {
		<-ctx.Done()
		return bridge.File{}, nil, temporary("cancelled")
	}}
	for name, c := range map[string]struct {
		r     bridge.FileRequest
		after time.Duration
		err   string
	}{
		"fast":             {wants("x", "u", "s", 60_000, 30_000, time.Second), 2 * time.Second, ""},
		"slow enough":      {wants("x", "u", "s", 100_000, 5_000, 800*time.Millisecond), 16 * time.Second, ""},
		"a byte at a time": {wants("x", "u", "s", 100_000, 1, 4*time.Second), 5 * time.Second, "too slowly"},
		"below the rate":   {wants("x", "u", "s", 100_000, 3_000, time.Second), 5 * time.Second, "too slowly"},
		"too long":         {wants("x", "u", "s", 1_000_000, 20_000, time.Second), 30 * time.Second, "too slowly"},
		"no answer":        {hangs, 30 * time.Second, "too slowly"},
		"too big":          {wants("x", "u", "s", 2<<20, 1<<20, 0), 0, "longer than 1 MB"},
		"refused":          {fails(cannot("no")), 0, "no"},
		"refused for now":  {fails(temporary("not now")), 1500 * time.Millisecond, "not now"},
		"of a platform":    {fails(&bridge.DeliveryError{Reason: bridge.ReasonRejected, Op: "getFile", Detail: "no such file"}), 0, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDepot(t, DepotOptions{})
				defer d.Close()
				ready, _ := d.Want(c.r)
				if after := took(ready); after != c.after {
					t.Errorf("after %v, not %v", after, c.after)
				}
				_, closer, err := d.Open("x", 1<<20)
				switch {
				case c.err == "" && err == nil:
					_ = closer.Close()
				case err == nil || c.err == "" || !strings.Contains(err.Error(), c.err):
					t.Errorf("%v", err)
				}
			})
		})
	}
}

// state returns how many files wait and how many are under way, of how many sites, and the bytes that are kept.
func (d *Depot) state() (queued, running, sites int, bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.queue), d.running, len(d.sites), d.bytes
}

// A site has a few at a time, and others' files come meanwhile. What waits for too long is given up.
func TestDepotSites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDepot(t, DepotOptions{})
		defer d.Close()
		var slow []<-chan struct{}
		for i := range 200 {
			ready, _ := d.Want(wants(fmt.Sprint("slow", i), "u", "slow.test", 100, 1, 4*time.Second))
			slow = append(slow, ready)
		}
		ready, _ := d.Want(wants("good", "u", "good.test", 100, 100, time.Second))
		if after := took(ready); after != time.Second {
			t.Errorf("another site's file is here after %v", after)
		}
		synctest.Wait()
		if _, running, _, _ := d.state(); running != perSite {
			t.Errorf("%d of one site are under way", running)
		}
		began := time.Now()
		for _, ready := range slow {
			<-ready
		}
		if after := time.Since(began).Round(time.Second); after > queueIn+bringIn {
			t.Errorf("the last is given up after %v", after)
		}
		synctest.Wait()
		if queued, running, sites, _ := d.state(); queued+running+sites != 0 {
			t.Errorf("%d wait, %d run, of %d sites", queued, running, sites)
		}
	})
}

// The disk's share is never exceeded: what was not used for the longest time makes room, and is fetched again when it is wanted.
func TestDepotRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDepot(t, DepotOptions{MaxBytes: 1000})
		defer d.Close()
		get := func(key string, size int) {
			ready, _ := d.Want(wants(key, "u", "", size, size, 0))
			<-ready
		}
		for i := range 4 {
			get(fmt.Sprint("f", i), 300)
		}
		_, _, err := d.Open("f0", 1000)
		if _, _, _, bytes := d.state(); !errors.Is(err, bridge.ErrFileNotHere) || bytes != 900 {
			t.Errorf("%v, %d bytes", err, bytes)
		}
		_, closer, err := d.Open("f1", 1000)
		if err != nil {
			t.Fatal(err)
		}
		get("f0", 300) // f1 is being read: f2 goes
		if _, _, err := d.Open("f2", 1000); !errors.Is(err, bridge.ErrFileNotHere) {
			t.Errorf("%v", err)
		}
		get("huge", 900)
		if _, _, err := d.Open("huge", 1000); err == nil || !strings.Contains(err.Error(), "no place") {
			t.Errorf("%v", err)
		}
		_ = closer.Close()
		ahead := wants("ahead", "u", "", 10, 10, 0)
		ahead.Ahead = true
		get("half", 500)
		if ready, _ := d.Want(ahead); ready != nil {
			t.Error("a file is fetched ahead though half of the room is taken")
		}
	})
}

// Without a place on disk no file is had, and nothing else happens. Names that a process left go at the start.
func TestDepotDisk(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{spoolName + "1", "other"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	newDepot(t, DepotOptions{Dir: dir})
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
		t.Errorf("%d names are left, %v", len(names), err)
	}
	d := newDepot(t, DepotOptions{Dir: filepath.Join(dir, "other", "below a file")})
	ready, _ := d.Want(wants("x", "u", "", 10, 10, 0))
	<-ready
	if _, _, err := d.Open("x", 100); err == nil || !strings.Contains(err.Error(), "no place") {
		t.Errorf("%v", err)
	}
}

// A file that nobody wants any more is not fetched to its end.
func TestDepotDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDepot(t, DepotOptions{})
		defer d.Close()
		running, _ := d.Want(wants("x", "u", "s", 100_000, 10_000, 2*time.Second))
		for i := range perSite {
			d.Want(wants(fmt.Sprint(i), "u", "s", 100_000, 10_000, 2*time.Second))
		}
		d.Drop("3", "u") // which waits for its turn
		synctest.Wait()
		d.Drop("x", "u")
		if after := took(running); after != 0 {
			t.Errorf("it was fetched on for %v", after)
		}
		again, _ := d.Want(wants("x", "u", "other", 10, 10, 0))
		<-again
		if _, closer, err := d.Open("x", 100); err != nil {
			t.Errorf("wanted again: %v", err)
		} else {
			_ = closer.Close()
		}
	})
}

// A panic over somebody's file is an attempt that failed.
func TestDepotOutlivesPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDepot(t, DepotOptions{})
		defer d.Close()
		opened := 0
		ready, _ := d.Want(bridge.FileRequest{Key: "a", User: "one", Limit: 100, Open: func(context.Context) (bridge.File, io.Closer, error) {
			if opened++; opened == 1 {
				panic("as the test says")
			}
			return bridge.File{Name: "a", Size: -1, Body: strings.NewReader("content")}, io.NopCloser(nil), nil
		}})
		<-ready
		if _, closer, err := d.Open("a", 100); err != nil {
			t.Error(err)
		} else {
			_ = closer.Close()
		}
	})
}
