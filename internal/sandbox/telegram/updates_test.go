package telegram

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// office is a forum with an operator.
type office struct {
	*Server
	chat, user int64
}

func newOffice(t *testing.T, o Options) *office {
	t.Helper()
	s := New(o)
	t.Cleanup(s.Close)
	return &office{s, s.AddChat(Chat{Kind: Forum, ID: -1001}), s.AddUser(User{FirstName: "Ana"}).ID}
}

func (o *office) say(texts ...string) {
	for _, text := range texts {
		o.Say(o.chat, 0, o.user, text)
	}
}

// updates calls getUpdates and returns the ids and texts of what came.
func (o *office) updates(t *testing.T, pairs ...string) (ids []int, texts []string) {
	t.Helper()
	code, answer := call(t, o.Server, "getUpdates", form(pairs...))
	if code != http.StatusOK {
		t.Fatalf("%d %v", code, answer)
	}
	for _, one := range answer["result"].([]any) {
		u := one.(map[string]any)
		ids = append(ids, int(u["update_id"].(float64)))
		if m, ok := u["message"].(map[string]any); ok {
			texts = append(texts, m["text"].(string))
		}
	}
	return ids, texts
}

// pass lets the clock of a synctest bubble go on.
func pass(d time.Duration) { <-time.After(d) }

func TestGetUpdatesOffsets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, Options{FirstUpdateID: 100})
		o.say("a", "b", "c", "d", "e")
		steps := []struct {
			in   []string
			want []string
			left int
		}{
			{[]string{"limit", "2"}, []string{"a", "b"}, 5},
			{[]string{}, []string{"a"}, 5}, // the same place at once: one update
			{[]string{"offset", "102"}, []string{"c", "d", "e"}, 3},
			{[]string{"offset", "101", "limit", "900"}, []string{"c", "d", "e"}, 3}, // what is confirmed stays confirmed
			{[]string{"offset", "116"}, []string{"c", "d", "e"}, 3},                 // too far in the future to be believed
			{[]string{"offset", "-2"}, []string{"d", "e"}, 2},
			{[]string{"offset", "105"}, nil, 0},
		}
		for _, step := range steps {
			_, texts := o.updates(t, step.in...)
			if diff := cmp.Diff(step.want, texts); diff != "" || o.Pending() != step.left {
				t.Errorf("getUpdates %v: %d left, (-want +got):\n%s", step.in, o.Pending(), diff)
			}
		}
	})
}

func TestLongPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, Options{})
		begin := time.Now()
		if ids, _ := o.updates(t, "timeout", "20", "offset", "1"); len(ids) != 0 || time.Since(begin) != 20*time.Second {
			t.Errorf("%v after %v", ids, time.Since(begin))
		}
		go func() {
			pass(5 * time.Second)
			o.say("hello")
		}()
		begin = time.Now()
		if _, texts := o.updates(t, "timeout", "20", "offset", "2"); len(texts) != 1 || time.Since(begin) != 5*time.Second {
			t.Errorf("%v after %v", texts, time.Since(begin))
		}
		o.updates(t, "offset", "-1")
		// Asking the same again within three seconds is made to wait.
		o.updates(t, "offset", "800000000")
		begin = time.Now()
		o.PushUpdate(map[string]any{"poll": map[string]any{}})
		o.updates(t, "offset", strconv.Itoa(727_000_003))
		o.updates(t, "offset", strconv.Itoa(727_000_003))
		if time.Since(begin) != 3*time.Second {
			t.Errorf("the second call came back after %v", time.Since(begin))
		}
	})
}

func TestTwoPollers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, Options{})
		const conflict = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
		type ended struct {
			code  int
			text  any
			after time.Duration
		}
		begin := time.Now()
		results := make(chan ended, 3)
		for i := range 3 {
			go func() {
				code, answer := call(t, o.Server, "getUpdates", form("timeout", "30", "offset", strconv.Itoa(i+1)))
				results <- ended{code, answer["description"], time.Since(begin)}
			}()
			synctest.Wait()
		}
		// The first is ended at once, the second conflict within three seconds is answered late.
		if got := <-results; got != (ended{409, conflict, 0}) {
			t.Errorf("first: %+v", got)
		}
		if got := <-results; got != (ended{409, conflict, 3 * time.Second}) {
			t.Errorf("second: %+v", got)
		}
		if got := <-results; got != (ended{200, nil, 30 * time.Second}) {
			t.Errorf("third: %+v", got)
		}
		pass(time.Minute)
		go func() {
			code, _ := call(t, o.Server, "getUpdates", form("timeout", "30", "offset", "9"))
			results <- ended{code: code}
		}()
		synctest.Wait()
		o.Close()
		if got := <-results; got.code != 500 {
			t.Errorf("at the end: %+v", got)
		}
	})
}

func TestUpdatesAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, Options{FirstUpdateID: 1000})
		o.say("old")
		pass(23 * time.Hour)
		o.say("new")
		pass(time.Hour)
		if ids, texts := o.updates(t); len(ids) != 1 || ids[0] != 1001 || texts[0] != "new" {
			t.Errorf("after a day: %v %v", ids, texts)
		}
		pass(7 * 24 * time.Hour)
		o.say("later")
		if ids, _ := o.updates(t); len(ids) != 1 || ids[0] >= 1001 {
			t.Errorf("after a silent week: %v", ids)
		}
		// An old offset confirms nothing of the new numbers, as it is far beyond them.
		if _, texts := o.updates(t, "offset", "1002"); len(texts) != 1 {
			t.Errorf("with the old offset: %v", texts)
		}
	})
}

func TestAllowedUpdates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, Options{})
		m := o.Say(o.chat, 0, o.user, "a")
		o.React(m, o.user, "👍")
		if o.Pending() != 1 {
			t.Errorf("%d updates; reactions have to be asked for", o.Pending())
		}
		o.updates(t, "allowed_updates", `["message","message_reaction"]`, "offset", "-1")
		o.updates(t, "offset", strconv.Itoa(727_000_002)) // the setting stays
		o.React(m, o.user, "👍", "👀")
		o.Edit(m, "b") // not asked for
		code, answer := call(t, o.Server, "getUpdates", form("offset", "1"))
		list := answer["result"].([]any)
		if code != 200 || len(list) != 1 {
			t.Fatalf("%d %v", code, answer)
		}
		r := list[0].(map[string]any)["message_reaction"].(map[string]any)
		if len(r["old_reaction"].([]any)) != 1 || len(r["new_reaction"].([]any)) != 2 || r["message_thread_id"] != nil {
			t.Errorf("%v", r)
		}
	})
}

// receiver is a webhook.
type receiver struct {
	mu      sync.Mutex
	secrets []string
	ids     []int
	answer  func(n int) int
	got     chan int
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	var u struct {
		ID int `json:"update_id"`
	}
	err := json.NewDecoder(q.Body).Decode(&u)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil || q.Header.Get("Content-Type") != "application/json" {
		u.ID = -1
	}
	r.ids = append(r.ids, u.ID)
	r.secrets = append(r.secrets, q.Header.Get("X-Telegram-Bot-Api-Secret-Token"))
	w.WriteHeader(r.answer(len(r.ids)))
	r.got <- u.ID
}

func TestWebhook(t *testing.T) {
	o := newOffice(t, Options{FirstUpdateID: 1, WebhookPause: time.Millisecond})
	// Refused three times, then the second update once; a redirect is not followed.
	codes := []int{500, 302, 401, 200, 503, 204, 200}
	r := &receiver{got: make(chan int, 20), answer: func(n int) int { return codes[min(n, len(codes))-1] }}
	hook := httptest.NewServer(r)
	defer hook.Close()
	o.say("a", "b")

	waiting := make(chan map[string]any, 1)
	received := o.Await(Received, "getUpdates")
	go func() {
		_, answer := call(t, o.Server, "getUpdates", form("timeout", "30", "offset", "3"))
		waiting <- answer
	}()
	<-received
	if err := o.Wait(t.Context(), func() bool { return o.Pending() == 0 }); err != nil {
		t.Fatal(err)
	}
	o.say("c", "d")
	if answer := <-waiting; len(answer["result"].([]any)) == 0 {
		t.Errorf("%v", answer)
	}
	set := form("url", hook.URL+"/x", "secret_token", "s-1_2")
	if code, answer := call(t, o.Server, "setWebhook", set); code != 200 || answer["description"] != "Webhook was set" {
		t.Fatalf("%d %v", code, answer)
	}
	if code, answer := call(t, o.Server, "getUpdates", url.Values{}); code != 409 || answer["description"] !=
		"Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first" {
		t.Errorf("%d %v", code, answer)
	}
	var ids []int
	for range 6 {
		ids = append(ids, <-r.got)
	}
	if diff := cmp.Diff([]int{3, 3, 3, 3, 4, 4}, ids); diff != "" {
		t.Errorf("posts (-want +got):\n%s", diff)
	}
	if err := o.Wait(t.Context(), func() bool { return o.Pending() == 0 }); err != nil {
		t.Fatal(err)
	}
	_, answer := call(t, o.Server, "getWebhookInfo", nil)
	info := answer["result"].(map[string]any)
	if info["url"] != hook.URL+"/x" || info["last_error_message"] != "Wrong response from the webhook: 503 Service Unavailable" {
		t.Errorf("%v", info)
	}
	if _, answer := call(t, o.Server, "setWebhook", set); answer["description"] != "Webhook is already set" {
		t.Errorf("%v", answer)
	}
	o.say("e")
	if id := <-r.got; id != 5 {
		t.Errorf("update %d", id)
	}
	drop := form("drop_pending_updates", "true")
	if _, answer := call(t, o.Server, "deleteWebhook", drop); answer["description"] != "Webhook was deleted" {
		t.Errorf("%v", answer)
	}
	if _, answer := call(t, o.Server, "deleteWebhook", nil); answer["description"] != "Webhook is already deleted" {
		t.Errorf("%v", answer)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, secret := range r.secrets {
		if secret != "s-1_2" {
			t.Errorf("secret %q", secret)
		}
	}
}

func TestRevoke(t *testing.T) {
	o := newOffice(t, Options{})
	result := make(chan int, 1)
	go func() {
		code, _ := call(t, o.Server, "getUpdates", form("timeout", "30"))
		result <- code
	}()
	if err := o.Wait(t.Context(), o.Polling); err != nil {
		t.Fatal(err)
	}
	o.Revoke()
	if code := <-result; code != http.StatusUnauthorized {
		t.Errorf("the poll that waited: %d", code)
	}
	code, answer := call(t, o.Server, "getMe", nil)
	if code != http.StatusUnauthorized || answer["description"] != "Unauthorized" {
		t.Errorf("%d %v", code, answer)
	}
	o.Restore()
	if code, _ := call(t, o.Server, "getMe", nil); code != http.StatusOK {
		t.Errorf("restored: %d", code)
	}
}

// A webhook that is set in the place of another is told at once, though an update to the other is still under way; its own come afterwards.
func TestWebhookInTheOthersPlace(t *testing.T) {
	arrived, release := make(chan string, 20), make(chan struct{})
	o := newOffice(t, Options{FirstUpdateID: 1, WebhookPause: time.Millisecond, WebhookClient: &http.Client{Transport: posts(func(to string) {
		arrived <- to
		if to == "/old" {
			<-release
		}
	})}})
	set := func(path string) map[string]any {
		_, answer := call(t, o.Server, "setWebhook", form("url", "http://127.0.0.1:1"+path))
		return answer
	}
	set("/old")
	o.say("a")
	<-arrived
	answered := make(chan map[string]any)
	go func() { answered <- set("/new") }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := o.Wait(ctx, func() bool { return o.Webhook() == "http://127.0.0.1:1/new" }); err != nil {
		t.Errorf("the webhook is %q: %v", o.Webhook(), err)
	}
	select {
	case to := <-arrived:
		t.Errorf("%s is told while the other is", to)
	default:
	}
	close(release)
	if answer := <-answered; answer["description"] != "Webhook was set" {
		t.Errorf("%v", answer)
	}
	if to := <-arrived; to != "/new" {
		t.Errorf("%s is told", to)
	}
}

// posts is told of each post, and fails it.
type posts func(path string)

func (p posts) RoundTrip(r *http.Request) (*http.Response, error) {
	p(r.URL.Path)
	return nil, errors.New("nobody is there")
}

func TestSetWebhookEndsThePoll(t *testing.T) {
	o := newOffice(t, Options{})
	result := make(chan any, 1)
	received := o.Await(Received, "getUpdates")
	go func() {
		_, answer := call(t, o.Server, "getUpdates", form("timeout", "30"))
		result <- answer["description"]
	}()
	<-received
	if err := o.Wait(t.Context(), o.Polling); err != nil {
		t.Fatal(err)
	}
	call(t, o.Server, "setWebhook", form("url", "http://127.0.0.1:1/"))
	if text := <-result; text != "Conflict: terminated by setWebhook request" {
		t.Errorf("%v", text)
	}
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, Options{})
		o.SetLimits(DocumentedLimits())
		send := func() (int, map[string]any) {
			return call(t, o.Server, "sendMessage", form("chat_id", "-1001", "text", "x"))
		}
		_, answer := send()
		id := strconv.Itoa(int(answer["result"].(map[string]any)["message_id"].(float64)))
		for i := range 9 {
			pass(time.Second)
			call(t, o.Server, "editMessageText", form("chat_id", "-1001", "message_id", id, "text", strconv.Itoa(i)))
			call(t, o.Server, "createForumTopic", form("chat_id", "-1001", "name", strconv.Itoa(i)))
		}
		if code, _ := send(); code != 200 {
			t.Errorf("the 20th: %d", code)
		}
		w := httptest.NewRecorder()
		o.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/bot"+o.Token()+"/createForumTopic?chat_id=-1001&name=x", nil))
		want := `{"description":"Too Many Requests: retry after 51","error_code":429,"ok":false,"parameters":{"retry_after":51}}`
		if w.Body.String() != want || w.Code != 429 || w.Header().Get("Retry-After") != "51" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		pass(51 * time.Second)
		if code, _ := send(); code != 200 {
			t.Errorf("after the wait: %d", code)
		}
		// Thirty a second over all chats.
		pass(time.Hour)
		for i := range 31 {
			user := o.AddUser(User{})
			o.AddChat(Chat{Kind: Private, User: user.ID})
			code, _ := call(t, o.Server, "sendMessage", form("chat_id", strconv.FormatInt(user.ID, 10), "text", "x"))
			if want := map[bool]int{true: 200, false: 429}[i < 30]; code != want {
				t.Errorf("message %d: %d", i+1, code)
			}
		}
		call(t, o.Server, "setWebhook", form("url", "http://127.0.0.1:1/"))
		if code, _ := call(t, o.Server, "setWebhook", form("url", "http://127.0.0.1:2/")); code != 429 {
			t.Errorf("setWebhook twice in a second: %d", code)
		}
	})
}
