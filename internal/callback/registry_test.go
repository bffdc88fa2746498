package callback

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/outbound"
)

// newRegistry takes every address that a setting can allow.
func newRegistry(t *testing.T, s Store, change ...func(*Options)) *Registry {
	t.Helper()
	o := Options{
		Store: s, Guard: must(outbound.NewGuard("on"))(t), UserAgent: "bridge/test", Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	for _, f := range change {
		f(&o)
	}
	r := New(o)
	if err := r.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func put(t *testing.T, r *Registry, w bridge.RegisterRequest) bridge.Registration {
	t.Helper()
	if w.URL == "" {
		w.URL = "http://127.0.0.1:1/hook"
	}
	reg, _, _, err := r.Put(t.Context(), w, nil)
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

func TestPut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemory()
		r := newRegistry(t, s)
		changed := r.Changed()
		status := bridge.Event{Type: bridge.TypeOperatorStatus, Origin: bridge.OriginBridge}
		also := func(id string) []bridge.Event {
			e := status
			e.Callback = id
			return []bridge.Event{e}
		}
		reg, made, created, err := r.Put(t.Context(), bridge.RegisterRequest{ID: "app-1", URL: "http://127.0.0.1/a"}, also)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now().UTC()
		want := bridge.Registration{ID: "app-1", URL: "http://127.0.0.1/a", CreatedAt: now, ExpiresAt: now.Add(24 * time.Hour)}
		if diff := cmp.Diff(want, reg); diff != "" || !created || !strings.HasPrefix(made.Reveal(), "whsec_") {
			t.Errorf("created: %v, secret: %v, %s", created, made, diff)
		}
		if s.writes != 1 || len(s.events) != 1 || s.events[0].Callback != "app-1" {
			t.Errorf("%d writes, events %+v", s.writes, s.events)
		}
		select {
		case <-changed:
		default:
			t.Error("nobody was told")
		}

		time.Sleep(time.Hour)
		changed = r.Changed()
		reg, again, created, err := r.Put(t.Context(), bridge.RegisterRequest{ID: "app-1", URL: "http://127.0.0.1/a", TTL: time.Minute}, also)
		if err != nil {
			t.Fatal(err)
		}
		want.ExpiresAt = time.Now().UTC().Add(time.Minute)
		if diff := cmp.Diff(want, reg); diff != "" || created || again != "" {
			t.Errorf("created: %v, secret: %v, %s", created, again, diff)
		}
		if rec := r.known["app-1"]; rec.Keys[0].Value != made.Reveal() {
			t.Error("a refresh changed the secret")
		}
		select {
		case <-changed:
			t.Error("a refresh was told as a change")
		default:
		}

		if _, made, _, err = r.Put(t.Context(), bridge.RegisterRequest{ID: "app-1", URL: "http://127.0.0.1/b", Secret: "mine"}, nil); err != nil || made != "" {
			t.Errorf("%v, %v", made, err)
		}
		select {
		case <-changed:
		default:
			t.Error("another URL was not told")
		}
		if got := r.target("app-1").secrets; len(got) != 1 || got[0].Reveal() != "mine" {
			t.Errorf("%d secrets", len(got))
		}
		reg, made, created, err = r.Put(t.Context(), bridge.RegisterRequest{URL: "http://127.0.0.1/c"}, nil)
		if err != nil || !validID(reg.ID) || made == "" || !created {
			t.Errorf("%+v, %v", reg, err)
		}
		list := must(r.List(t.Context()))(t)
		if len(list) != 2 || list[0].ID != "app-1" || list[1].ID != reg.ID {
			t.Errorf("%+v", list)
		}
		if got, ok, err := r.Get(t.Context(), reg.ID); err != nil || !ok || got.URL != reg.URL {
			t.Errorf("%+v, %v, %v", got, ok, err)
		}
		if ok := must(r.Delete(t.Context(), reg.ID))(t); !ok {
			t.Error("nothing was deleted")
		}
		if ok := must(r.Delete(t.Context(), reg.ID))(t); ok {
			t.Error("it was deleted twice")
		}
		if _, ok, err := r.Get(t.Context(), reg.ID); err != nil || ok {
			t.Errorf("%v, %v", ok, err)
		}
	})
}

func TestPutRefuses(t *testing.T) {
	s := newMemory()
	r := newRegistry(t, s)
	const u = "http://127.0.0.1/"
	for name, c := range map[string]struct {
		w     bridge.RegisterRequest
		field string
	}{
		"slash":            {bridge.RegisterRequest{ID: "a/b", URL: u}, "id"},
		"control":          {bridge.RegisterRequest{ID: "a\nb", URL: u}, "id"},
		"long id":          {bridge.RegisterRequest{ID: strings.Repeat("é", 129), URL: u}, "id"},
		"backend":          {bridge.RegisterRequest{ID: "backend", URL: u}, "id"},
		"no url":           {bridge.RegisterRequest{ID: "a"}, "url"},
		"scheme":           {bridge.RegisterRequest{ID: "a", URL: "ftp://127.0.0.1/"}, "url"},
		"metadata":         {bridge.RegisterRequest{ID: "a", URL: "http://169.254.169.254/"}, "url"},
		"secret":           {bridge.RegisterRequest{ID: "a", URL: u, Secret: "whsec_?"}, "secret"},
		"empty key":        {bridge.RegisterRequest{ID: "a", URL: u, Secret: "whsec_"}, "secret"},
		"long secret":      {bridge.RegisterRequest{ID: "a", URL: u, Secret: bridge.Secret(strings.Repeat("a", 513))}, "secret"},
		"negative ttl":     {bridge.RegisterRequest{ID: "a", URL: u, TTL: -time.Second}, "ttl"},
		"long ttl":         {bridge.RegisterRequest{ID: "a", URL: u, TTL: 366 * 24 * time.Hour}, "ttl"},
		"event":            {bridge.RegisterRequest{ID: "a", URL: u, Events: []bridge.Type{"operator_message", "Message!"}}, "events[1]"},
		"empty event":      {bridge.RegisterRequest{ID: "a", URL: u, Events: []bridge.Type{""}}, "events[0]"},
		"too many entries": {bridge.RegisterRequest{ID: "a", URL: u, Events: make([]bridge.Type, 65)}, "events"},
	} {
		_, _, _, err := r.Put(t.Context(), c.w, nil)
		if f, ok := errors.AsType[*bridge.FieldError](err); !ok || f.Field != c.field {
			t.Errorf("%s: %v, want a fault of %s", name, err, c.field)
		}
	}
	strict := newRegistry(t, s, func(o *Options) { o.Guard = nil })
	_, _, _, err := strict.Put(t.Context(), bridge.RegisterRequest{ID: "a", URL: "http://127.0.0.1/"}, nil)
	if f, ok := errors.AsType[*bridge.FieldError](err); !ok || !strings.Contains(f.Problem, outbound.GuardSetting) {
		t.Errorf("%v, want the setting that allows it", err)
	}
	s.fail(bridge.ErrUnavailable)
	if _, _, _, err := r.Put(t.Context(), bridge.RegisterRequest{ID: "a", URL: u}, nil); !errors.Is(err, bridge.ErrUnavailable) {
		t.Errorf("%v, want ErrUnavailable", err)
	}
	if len(s.rows) != 0 {
		t.Errorf("%d rows", len(s.rows))
	}
}

func TestAtMostThousand(t *testing.T) {
	s := newMemory()
	put(t, newRegistry(t, s), bridge.RegisterRequest{ID: "app-0"})
	for i := range 999 {
		s.rows[fmt.Sprint("app-", i+1)] = bytes.Replace(s.rows["app-0"], []byte("app-0"), fmt.Append(nil, "app-", i+1), 1)
	}
	r := newRegistry(t, s)
	w := bridge.RegisterRequest{ID: "one more", URL: "http://127.0.0.1/"}
	if _, _, _, err := r.Put(t.Context(), w, nil); !errors.Is(err, bridge.ErrTooManyCallbacks) {
		t.Fatalf("%v, want bridge.ErrTooManyCallbacks", err)
	}
	put(t, r, bridge.RegisterRequest{ID: "app-7"})
	if ok := must(r.Delete(t.Context(), "app-7"))(t); !ok {
		t.Error("nothing was deleted")
	}
	if _, _, _, err := r.Put(t.Context(), w, nil); err != nil {
		t.Error(err)
	}
}

func TestTouch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemory()
		r := newRegistry(t, s)
		put(t, r, bridge.RegisterRequest{ID: "app"})
		before := s.count()
		for range 50 {
			if ok := must(r.Touch(t.Context(), "app"))(t); !ok {
				t.Fatal("it is not known")
			}
			time.Sleep(10 * time.Second)
		}
		if n := s.count() - before; n < 7 || n > 8 { // 500 seconds, at most once in 60
			t.Errorf("%d writes", n)
		}
		for range 30 {
			time.Sleep(23 * time.Hour)
			if ok := must(r.Touch(t.Context(), "app"))(t); !ok {
				t.Fatal("it expired although it was named")
			}
		}
		time.Sleep(24 * time.Hour)
		if ok := must(r.Touch(t.Context(), "app"))(t); ok {
			t.Error("it did not expire")
		}
		if got := r.Targets(operatorMessage("s"), "app"); len(got) != 0 {
			t.Errorf("expired, and still a target: %v", got)
		}
		for _, id := range []string{"unknown", "", "a/b", "backend"} {
			if ok := must(r.Touch(t.Context(), id))(t); ok {
				t.Errorf("%q is known", id)
			}
		}
		if err := r.Reload(t.Context()); err != nil || len(s.rows) != 0 {
			t.Errorf("%d rows are left, %v", len(s.rows), err)
		}

		put(t, r, bridge.RegisterRequest{ID: "short", TTL: 2 * time.Second})
		for range 20 {
			time.Sleep(time.Second)
			if ok := must(r.Touch(t.Context(), "short"))(t); !ok {
				t.Fatal("a short registration expired although it was named")
			}
		}
		time.Sleep(time.Second)
		s.fail(bridge.ErrUnavailable)
		if _, err := r.Touch(t.Context(), "short"); !errors.Is(err, bridge.ErrUnavailable) {
			t.Errorf("%v, want ErrUnavailable", err)
		}
		if _, err := r.Touch(t.Context(), "unknown"); !errors.Is(err, bridge.ErrUnavailable) {
			t.Errorf("%v, want ErrUnavailable", err)
		}
	})
}

// A store that is slow to take one refresh holds up no request that names the same callback meanwhile.
func TestTouchDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemory()
		r := newRegistry(t, s)
		put(t, r, bridge.RegisterRequest{ID: "app"})
		time.Sleep(2 * time.Minute)
		s.gate = make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = r.Touch(context.WithoutCancel(t.Context()), "app") })
		synctest.Wait()
		if ok := must(r.Touch(t.Context(), "app"))(t); !ok {
			t.Error("it is not known")
		}
		close(s.gate)
		wg.Wait()
		if ok := must(r.Touch(t.Context(), "app"))(t); !ok || s.count() != 2 {
			t.Errorf("%d writes", s.count())
		}
	})
}

func TestOtherBridges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemory()
		one, two := newRegistry(t, s), newRegistry(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { two.Run(ctx) })
		changed := two.Changed()
		put(t, one, bridge.RegisterRequest{ID: "app"})
		if ok := must(two.Touch(t.Context(), "app"))(t); !ok {
			t.Error("a registration of another bridge is not known at once")
		}
		<-changed
		put(t, one, bridge.RegisterRequest{ID: "late"})
		time.Sleep(reloadEvery + time.Millisecond)
		if got := two.Targets(operatorMessage("s"), ""); !cmp.Equal(got, []string{"app", "late"}) {
			t.Errorf("targets %v", got)
		}
		if ok := must(one.Delete(t.Context(), "app"))(t); !ok {
			t.Error("nothing was deleted")
		}
		s.fail(bridge.ErrUnavailable)
		time.Sleep(2 * reloadEvery)
		if got := two.Targets(operatorMessage("s"), ""); len(got) != 2 {
			t.Errorf("targets %v while the store is away", got)
		}
		s.fail(nil)
		time.Sleep(reloadEvery)
		if got := two.Targets(operatorMessage("s"), "app"); !cmp.Equal(got, []string{"late"}) {
			t.Errorf("targets %v", got)
		}
		cancel()
		wg.Wait()
	})
}

func TestConcurrentPuts(t *testing.T) {
	s := newMemory()
	bridges := []*Registry{newRegistry(t, s), newRegistry(t, s)}
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			if _, _, _, err := bridges[i%2].Put(t.Context(), bridge.RegisterRequest{ID: fmt.Sprint(i % 5), URL: "http://127.0.0.1/"}, nil); err != nil {
				t.Error(err)
			}
			_, _ = bridges[(i+1)%2].Touch(t.Context(), fmt.Sprint(i%5))
			_ = bridges[i%2].Targets(operatorMessage("s"), "")
		})
	}
	wg.Wait()
	if list := must(bridges[0].List(t.Context()))(t); len(list) != 5 {
		t.Errorf("%d registrations", len(list))
	}
}

func TestRotate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry(t, newMemory())
		put(t, r, bridge.RegisterRequest{ID: "app", Secret: "first", TTL: 72 * time.Hour})
		_, made, err := r.Rotate(t.Context(), "app")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{made.Reveal(), "first"}, revealed(r.target("app").secrets)); diff != "" {
			t.Error(diff)
		}
		time.Sleep(24 * time.Hour)
		if diff := cmp.Diff([]string{made.Reveal()}, revealed(r.target("app").secrets)); diff != "" {
			t.Error(diff)
		}
		if _, _, err := r.Rotate(t.Context(), "unknown"); !errors.Is(err, ErrUnknown) {
			t.Errorf("%v, want ErrUnknown", err)
		}
	})
}

func revealed(secrets []bridge.Secret) []string {
	var out []string
	for _, s := range secrets {
		out = append(out, s.Reveal())
	}
	return out
}

func TestUnreadableRow(t *testing.T) {
	s := newMemory()
	s.rows["broken"] = []byte("{")
	r := newRegistry(t, s)
	if _, ok, err := r.Get(t.Context(), "broken"); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	put(t, r, bridge.RegisterRequest{ID: "broken"})
	if ok := must(r.Touch(t.Context(), "broken"))(t); !ok {
		t.Error("it cannot be replaced")
	}
}
