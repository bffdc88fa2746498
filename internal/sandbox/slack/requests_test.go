package slack

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	api "github.com/slack-go/slack"
	"github.com/slack-go/slack/slackevents"
)

// post is a request as the app got it.
type post struct {
	header  http.Header
	event   slackevents.EventsAPIEvent
	id      string
	command api.SlashCommand
}

// app is a receiver of the Events API and of commands, which answers as the test says.
func app(t *testing.T, o *office, answer http.HandlerFunc) (string, <-chan post) {
	t.Helper()
	posts := make(chan post, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		// The library checks the signature.
		verifier, err := api.NewSecretsVerifier(r.Header, o.SigningSecret())
		if err == nil {
			_, _ = verifier.Write(body)
			err = verifier.Ensure()
		}
		if err != nil {
			t.Errorf("signature: %v", err)
		}
		p := post{header: r.Header}
		if r.URL.Path == "/commands" {
			r.Body = io.NopCloser(bytes.NewReader(body))
			if p.command, err = api.SlashCommandParse(r); err != nil {
				t.Error(err)
			}
		} else {
			if p.event, err = slackevents.ParseEvent(body, slackevents.OptionNoVerifyToken()); err != nil {
				t.Error(err)
			}
			if p.event.Type == slackevents.URLVerification {
				var challenge slackevents.ChallengeResponse
				_ = json.Unmarshal(body, &challenge)
				_, _ = w.Write([]byte(challenge.Challenge))
				return
			}
			if outer, ok := p.event.Data.(*slackevents.EventsAPICallbackEvent); ok {
				p.id = outer.EventID
			}
		}
		posts <- p
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, posts
}

// answering is quick for an app that answers all: a busy machine is no time-out.
func answering() Options {
	o := quick()
	o.AckWithin = time.Minute
	return o
}

func TestEventsAPI(t *testing.T) {
	o := newOffice(t, answering())
	o.FailOnFaults(t)
	fails := 2
	address, posts := app(t, o, func(w http.ResponseWriter, _ *http.Request) {
		if fails--; fails >= 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	if err := o.SetRequestURL(t.Context(), address); err != nil {
		t.Fatal(err)
	}
	o.Say(o.channel, "", o.ana.ID, "hello")
	id := ""
	for i, want := range []string{"", "1", "2"} {
		p := <-posts
		reason := p.header.Get("X-Slack-Retry-Reason")
		if p.header.Get("X-Slack-Retry-Num") != want || (reason == "http_error") != (i > 0) || id != "" && p.id != id {
			t.Errorf("%d: %v %s", i, p.header, p.id)
		}
		id = p.id
		if e, ok := p.event.InnerEvent.Data.(*slackevents.MessageEvent); !ok || e.Text != "hello" {
			t.Errorf("%+v", p.event.InnerEvent)
		}
	}
	if err := o.Wait(t.Context(), func() bool { return o.Pending() == 0 }); err != nil || o.GivenUp() != 0 {
		t.Fatalf("%v, %d", err, o.GivenUp())
	}
	o.Redeliver(2)
	o.Say(o.channel, "", o.ana.ID, "twice")
	first, second := <-posts, <-posts
	if first.id != second.id || second.header.Get("X-Slack-Retry-Num") != "1" || second.header.Get("X-Slack-Retry-Reason") != "http_timeout" {
		t.Errorf("%v %v", first.id, second.header)
	}
	o.Redeliver(1)
	// The URL is given up, and sockets are used again.
	if err := o.SetRequestURL(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
}

func TestEventsAPIGivesUp(t *testing.T) {
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		posts  int
		reason string
	}{
		"error": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, 4, "http_error"},
		"no retry": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Slack-No-Retry", "1")
			w.WriteHeader(500)
		}, 1, ""},
		"late":     {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 4, "http_timeout"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusTemporaryRedirect) }, 12, "too_many_redirects"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := answering()
			if tt.reason == "http_timeout" {
				options.AckWithin = time.Second // each is to be there before its time is over
			}
			o := newOffice(t, options)
			address, posts := app(t, o, tt.answer)
			if err := o.SetRequestURL(t.Context(), address); err != nil {
				t.Fatal(err)
			}
			o.Say(o.channel, "", o.ana.ID, "hello")
			if err := o.Wait(t.Context(), func() bool { return o.GivenUp() == 1 && o.Pending() == 0 }); err != nil {
				t.Fatal(err)
			}
			if len(posts) != tt.posts {
				t.Errorf("%d posts", len(posts))
			}
			var last post
			for range len(posts) {
				last = <-posts
			}
			if got := last.header.Get("X-Slack-Retry-Reason"); got != tt.reason {
				t.Errorf("%q", got)
			}
		})
	}
}

func TestRequestURLRefused(t *testing.T) {
	o := newOffice(t, answering())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("no")) }))
	t.Cleanup(server.Close)
	if err := o.SetRequestURL(t.Context(), server.URL); err == nil || !strings.Contains(err.Error(), "challenge") {
		t.Errorf("%v", err)
	}
	for kind, body := range map[string]string{
		"text/plain": "c\n", "application/json": `{"challenge":"c"}`, "application/x-www-form-urlencoded": "challenge=c",
	} {
		if !answersChallenge(kind, []byte(body), "c") || answersChallenge(kind, []byte(body), "d") {
			t.Errorf("%s", kind)
		}
	}
}

func TestCommandURL(t *testing.T) {
	o := newOffice(t, Options{}).listen(t)
	o.FailOnFaults(t)
	answers := []func(http.ResponseWriter){
		func(w http.ResponseWriter) { _, _ = w.Write([]byte("plain")) },
		func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"response_type":"in_channel","text":"for all"}`))
		},
		func(http.ResponseWriter) {},
		func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) },
	}
	address, posts := app(t, o, func(w http.ResponseWriter, _ *http.Request) {
		answers[0](w)
		answers = answers[1:]
	})
	o.SetCommandURL(address + "/commands")
	for range 4 {
		made := o.Slash(o.channel, o.ana.ID, "/status", "now")
		p := <-posts
		if p.command.Command != "/status" || p.command.Text != "now" || p.command.UserID != o.ana.ID || p.command.ChannelName != "support" ||
			!strings.Contains(p.command.ResponseURL, made.ID) || p.header.Get("Content-Type") != "application/x-www-form-urlencoded" {
			t.Errorf("%+v", p)
		}
		if err := o.Wait(t.Context(), func() bool {
			c := o.Commands()
			return c[len(c)-1].Acked || c[len(c)-1].Error != ""
		}); err != nil {
			t.Fatal(err)
		}
	}
	if m := o.Ephemerals(o.channel, o.ana.ID); len(m) != 1 || m[0].Plain != "plain" {
		t.Errorf("%+v", m)
	}
	if m := o.Messages(o.channel, ""); len(m) != 1 || m[0].Plain != "for all" {
		t.Errorf("%+v", m)
	}
	if c := o.Commands(); c[0].Error != "" || c[3].Error != "operation_timeout" {
		t.Errorf("%+v", c)
	}
}

// TestSign holds the signature against the example of Slack's documentation.
func TestSign(t *testing.T) {
	body := "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&" +
		"user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2F" +
		"commands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
	want := "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
	if got := Sign("8f742231b10e8888abcd99yyyzzz85a5", "1531420618", []byte(body)); got != want {
		t.Error(got)
	}
}

// TestDefaults: the pauses are Slack's unless a test wants others.
func TestDefaults(t *testing.T) {
	s := New(Options{})
	t.Cleanup(s.Close)
	if p := s.options.RetryPauses; len(p) != 3 || p[0] != 0 || p[1] != time.Minute || p[2] != 5*time.Minute || s.options.AckWithin != 3*time.Second {
		t.Errorf("%v %v", p, s.options.AckWithin)
	}
}
