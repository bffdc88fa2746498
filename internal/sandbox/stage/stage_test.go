package stage_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/pocketping/bridge/internal/sandbox/stage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// box is a stand-in for nothing: each call of /name adds a line.
type box struct {
	*stage.Stage
	back  stage.Backstage
	lines chan string
}

func newBox(t *testing.T, keep int) *box {
	t.Helper()
	b := &box{lines: make(chan string, 100)}
	b.Stage, b.back = stage.New(stage.Options{Name: "box sandbox", Handler: b, KeepCalls: keep})
	t.Cleanup(b.Close)
	return b
}

func (b *box) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !b.back.Enter() {
		stage.Write(w, http.StatusServiceUnavailable, nil)
		return
	}
	defer b.back.Leave()
	call := stage.Call{Method: strings.Trim(r.URL.Path, "/"), Text: r.URL.Query().Get("text")}
	b.back.Serve(w, r, call, func(ctx context.Context) (any, error) {
		switch call.Text {
		case "wait":
			<-ctx.Done()
			return nil, ctx.Err()
		case "wrong":
			return nil, stage.Faultf("no such text as %q", call.Text)
		}
		b.lines <- call.Text
		b.back.Change()
		return "said " + call.Text, nil
	}, func(w http.ResponseWriter, result any, err error) int {
		if err != nil {
			stage.Write(w, http.StatusBadRequest, []byte(err.Error()))
			return http.StatusBadRequest
		}
		stage.Write(w, http.StatusOK, fmt.Append(nil, result))
		return http.StatusOK
	})
}

// get calls over the network and returns the status, or an error where there is no answer.
func get(ctx context.Context, t *testing.T, url string) (int, string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(r)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

func TestActions(t *testing.T) {
	opened := make(chan struct{})
	close(opened)
	tests := map[string]struct {
		action stage.Action
		code   int // 0: no answer
		body   string
		effect bool
	}{
		"nothing":     {stage.Action{}, 200, "said x", true},
		"page":        {stage.Page(502), 502, "<h1>502 Bad Gateway</h1>", false},
		"redirect":    {stage.Redirect(302, "https://elsewhere.example/"), 302, "", false},
		"delay":       {stage.Action{Delay: time.Millisecond}, 200, "said x", true},
		"hold":        {stage.Action{Hold: opened}, 200, "said x", true},
		"drop before": {stage.Action{DropBefore: true}, 0, "", false},
		"drop after":  {stage.Action{DropAfter: true}, 0, "", true},
		"late lie":    {stage.Action{Status: 500, Body: "oops", After: true}, 500, "oops", true},
		"hold answer": {stage.Action{HoldAnswer: opened}, 200, "said x", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBox(t, 0)
			base, err := b.Listen(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			b.Next("say", tt.action)
			code, body, err := get(t.Context(), t, base+"/say?text=x")
			if code != tt.code || (err == nil) != (tt.code != 0) || !strings.Contains(body, tt.body) {
				t.Errorf("%d %q %v", code, body, err)
			}
			if effect := len(b.lines) == 1; effect != tt.effect {
				t.Errorf("it had an effect: %v", effect)
			}
			if code, _, err := get(t.Context(), t, base+"/say?text=again"); code != 200 {
				t.Errorf("the next call: %d %v", code, err)
			}
			calls := b.Calls()
			if len(calls) != 2 || calls[0].Text != "x" || calls[1].N != 2 || calls[1].At.IsZero() || b.Count("say") != 2 {
				t.Errorf("%+v", calls)
			}
			if err := b.Wait(t.Context(), func() bool { return b.Calls()[0].Code == tt.code && b.Calls()[1].Code == 200 }); err != nil {
				t.Errorf("%+v: %v", b.Calls(), err)
			}
		})
	}
}

func TestMoments(t *testing.T) {
	b := newBox(t, 0)
	base, err := b.Listen(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	b.On("", func(stage.Call) stage.Action { return stage.Action{Status: http.StatusTeapot} })
	b.On("say", func(c stage.Call) stage.Action { return stage.Action{DropAfter: c.N == 2, Silence: c.N == 3} })
	moments := make(chan stage.Moment, 20)
	b.Observe(func(m stage.Moment, c stage.Call) {
		if c.Method == "say" {
			moments <- m
		}
	})
	answered := b.Await(stage.Answered, "other")
	if code, _, err := get(t.Context(), t, base+"/other"); code != http.StatusTeapot {
		t.Errorf("%d %v", code, err)
	}
	if c := <-answered; c.Code != http.StatusTeapot || c.Method != "other" {
		t.Errorf("awaited %+v", c)
	}
	b.On("say", func(c stage.Call) stage.Action { return stage.Action{Delay: time.Nanosecond * time.Duration(c.N%2)} })
	said := b.Await(stage.Answered, "say")
	if code, _, _ := get(t.Context(), t, base+"/say?text=a"); code != 200 {
		t.Errorf("what was asked for last does not decide first: %d", code)
	}
	<-said
	if code, _, err := get(t.Context(), t, base+"/say?text=b"); err == nil {
		t.Errorf("answered %d", code)
	}
	b.Next("say", stage.Action{Silence: true})
	ctx, cancel := context.WithCancel(t.Context())
	received, dropped := b.Await(stage.Received, "say"), b.Await(stage.Dropped, "say")
	go func() {
		<-received
		cancel()
	}()
	if _, _, err := get(ctx, t, base+"/say?text=c"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	<-dropped
	b.Close()
	close(moments)
	want := []stage.Moment{
		stage.Received, stage.Processed, stage.Answered,
		stage.Received, stage.Processed, stage.Dropped,
		stage.Received, stage.Dropped,
	}
	if got := slices.Collect(func(yield func(stage.Moment) bool) {
		for m := range moments {
			if !yield(m) {
				return
			}
		}
	}); !slices.Equal(got, want) {
		t.Errorf("moments %v", got)
	}
	if len(b.lines) != 2 {
		t.Errorf("%d effects", len(b.lines))
	}
}

type reporter struct {
	ends  []func()
	lines []string
}

func (r *reporter) Helper()          {}
func (r *reporter) Cleanup(f func()) { r.ends = append(r.ends, f) }
func (r *reporter) Errorf(format string, args ...any) {
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func TestFaults(t *testing.T) {
	b := newBox(t, 0)
	var r reporter
	b.FailOnFaults(&r)
	w := httptest.NewRecorder()
	b.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/say?text=wrong", http.NoBody))
	if w.Code != 400 {
		t.Errorf("%d", w.Code)
	}
	b.back.Fault("second")
	if b.back.Keep(errors.New("no fault")) {
		t.Error("an ordinary error was kept")
	}
	for _, end := range r.ends {
		end()
	}
	want := []string{`box sandbox: no such text as "wrong"`, "box sandbox: second"}
	if diff := cmp.Diff(want, r.lines); diff != "" {
		t.Error(diff)
	}
}

func TestKeepCalls(t *testing.T) {
	b := newBox(t, 3)
	for range 20 {
		b.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/say?text=a", http.NoBody))
	}
	calls := b.Calls()
	if n := len(calls); n < 3 || n > 6 || calls[n-1].N != 20 || b.Count("say") != 20 {
		t.Errorf("%d calls, %d counted", n, b.Count("say"))
	}
}

func TestClose(t *testing.T) {
	b := newBox(t, 0)
	base, err := b.Listen(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	b.Next("say", stage.Action{Hold: make(chan struct{})}, stage.Action{Delay: time.Hour}, stage.Action{HoldAnswer: make(chan struct{})})
	results := make(chan error, 4)
	for range 3 {
		received := b.Await(stage.Received, "say")
		go func() {
			_, _, err := get(t.Context(), t, base+"/say?text=x")
			results <- err
		}()
		<-received
	}
	waited := make(chan error, 1)
	go func() { waited <- b.Wait(t.Context(), func() bool { return false }) }()
	ended := false
	b.back.Go(func() {
		<-b.back.Closed()
		ended = true
	})
	b.Close()
	for range 3 {
		if err := <-results; err == nil {
			t.Error("answered")
		}
	}
	if err := <-waited; !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Wait: %v", err)
	}
	if !ended {
		t.Error("Close did not wait for Go")
	}
	if _, err := b.Listen(t.Context(), ""); !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Listen: %v", err)
	}
	w := httptest.NewRecorder()
	b.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/say", http.NoBody))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d", w.Code)
	}
	b.back.Go(func() { t.Error("ran on a closed stage") })
}

// TestBubble has a call wait an hour of the bubble's time.
func TestBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t, 0)
		b.Next("say", stage.Action{Delay: time.Hour})
		began := time.Now()
		go func() {
			w := httptest.NewRecorder()
			b.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/say?text=x", http.NoBody).WithContext(t.Context()))
		}()
		if err := b.Wait(t.Context(), func() bool { return len(b.lines) == 1 }); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d != time.Hour {
			t.Errorf("it took %v", d)
		}
		synctest.Wait()
	})
}

// TestGone lets a client go while its call waits for something of the stand-in's own.
func TestGone(t *testing.T) {
	b := newBox(t, 0)
	base, err := b.Listen(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	received, dropped := b.Await(stage.Received, "say"), b.Await(stage.Dropped, "say")
	go func() {
		<-received
		cancel()
	}()
	if _, _, err := get(ctx, t, base+"/say?text=wait"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	<-dropped
}
