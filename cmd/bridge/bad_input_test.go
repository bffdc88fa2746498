package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"go.etcd.io/bbolt"

	"github.com/pocketping/bridge/internal/api/apitest"
)

const badInputKey = "bad-input-key-0123"

// TestBadInput: whatever a client does wrong is answered as its own fault, and nothing of it is kept.
func TestBadInput(t *testing.T) {
	t.Parallel()
	requests := slices.Concat(apitest.Malformed(), refusedRegistrations(), refusedKeys())
	onStores(t, func(t *testing.T, r *rig) {
		t.Parallel()
		r.env["BIND"], r.env["API_KEY"] = "127.0.0.1", badInputKey
		p := r.start()
		r.fill()
		r.end(p)
		var before map[string]string
		r.until("what a start and an end write by themselves is written, and what follows the log has come to its end", func() bool {
			p = r.start()
			r.idle()
			r.end(p)
			last := before
			before = r.dump()
			counted, watched := placeOf(before, "stats"), placeOf(before, "watch")
			return counted == watched && counted != "" && maps.Equal(before, last)
		})
		if len(before) < 10 {
			t.Fatalf("there is little that could be harmed: %v", slices.Collect(maps.Keys(before)))
		}

		p = r.start()
		r.idle()
		for _, req := range requests {
			header := []string{"Authorization", "Bearer " + badInputKey}
			if slices.Contains(req.Header, "Authorization") || req.Status == http.StatusUnauthorized {
				header = nil
			}
			got, err := req.Send(t.Context(), p.base, header...)
			if err == nil {
				err = req.Check(got)
			}
			if err != nil {
				t.Errorf("%s %q %.200s: %v", req.Name, req.Header, req.Body, err)
			}
			if got.Status >= http.StatusInternalServerError {
				t.Errorf("%s: a fault of ours: %d", req.Name, got.Status)
			}
		}
		if code, said := r.ask(http.MethodGet, "/readyz?verbose", "", ""); code != http.StatusOK {
			t.Errorf("not ready afterwards: %s", said)
		}
		r.end(p)
		if p.says("level=ERROR") || p.says("panic") {
			t.Errorf("the bridge said:\n%s", lastLines(p.Output(), 60))
		}
		if diff := cmp.Diff(before, r.dump()); diff != "" {
			t.Errorf("the store has changed: -before +after\n%s", diff)
		}
		t.Logf("%d requests, %d values in the store", len(requests), len(before))

		r.start()
		if code, said := r.ask(http.MethodPost, "/api/messages", badInputKey, message("mia", "m9", "still there")); code != http.StatusOK {
			t.Errorf("a good request afterwards: %s", said)
		}
		r.until("shown", func() bool {
			topics := r.topics("mia")
			return len(topics) == 1 && slices.Contains(r.shown(topics[0].ID), "still there")
		})
	})
}

// refusedRegistrations are callbacks that only the whole program refuses.
func refusedRegistrations() []apitest.Request {
	var out []apitest.Request
	for _, test := range []struct{ id, body, field string }{
		{"backend", `{"url":"https://a.example"}`, "id"},
		{"a%2Fb", `{"url":"https://a.example"}`, "id"},
		{"x", `{"url":""}`, "url"},
		{"x", `{"url":"nonsense"}`, "url"},
		{"x", `{"url":"/path"}`, "url"},
		{"x", `{"url":"ftp://a.example"}`, "url"},
		{"x", `{"url":"javascript:alert(1)"}`, "url"},
		{"x", `{"url":"file:///etc/passwd"}`, "url"},
		{"x", `{"url":"http://"}`, "url"},
		{"x", `{"url":"https://user:secret@a.example"}`, "url"},
		{"x", `{"url":"http://169.254.169.254/latest/meta-data"}`, "url"},
		{"x", `{"url":"http://0.0.0.0/"}`, "url"},
		{"x", `{"url":"http://[ff02::1]/"}`, "url"},
		{"x", `{"url":"https://a.example/\u0000"}`, "url"},
		{"x", `{"url":"https://127.0.0.1/","secret":"whsec_***"}`, "secret"},
		{"x", `{"url":"https://127.0.0.1/","secret":"` + strings.Repeat("s", 10_000) + `"}`, "secret"},
		{"x", `{"url":"https://127.0.0.1/","events":["operator_message","Bad Name"]}`, "events[1]"},
		{"x", `{"url":"https://127.0.0.1/","events":[""]}`, "events[0]"},
		{"x", `{"url":"https://127.0.0.1/","events":["` + strings.Repeat("a", 10_000) + `"]}`, "events[0]"},
		{"x", `{"url":"https://127.0.0.1/","events":[` + strings.Repeat(`"a",`, 1000) + `"a"]}`, "events"},
	} {
		out = append(out, apitest.Request{
			Name: "callback " + test.field, Method: http.MethodPut, Path: "/api/callbacks/" + test.id, Body: test.body,
			Status: http.StatusBadRequest, Code: "invalid_field", Field: test.field,
		})
	}
	return out
}

// refusedKeys are good events without a good key.
func refusedKeys() []apitest.Request {
	var out []apitest.Request
	for _, header := range [][]string{
		nil,
		{"Authorization", ""},
		{"Authorization", badInputKey},
		{"Authorization", "Bearer"},
		{"Authorization", "Bearer " + badInputKey[1:]},
		{"Authorization", "Bearer " + badInputKey + "x"},
		{"Authorization", "Bearer " + badInputKey + "\xff"},
		{"Authorization", "Bearer " + strings.Repeat("k", 10_000)},
		{"Authorization", "Basic " + badInputKey},
		{"Authorization", "Bearer " + badInputKey, "Authorization", "Bearer " + badInputKey},
		{"X-Api-Key", badInputKey},
	} {
		out = append(out, apitest.Request{
			Name: "key", Method: http.MethodPost, Path: "/api/messages", Header: header, Body: message("eve", "m1", "let me in"),
			Status: http.StatusUnauthorized, Code: "unauthorized",
		})
	}
	return out
}

// fill has something of everything in the store, and waits until the bridge has no more to do.
func (r *rig) fill() {
	r.t.Helper()
	for _, q := range []struct{ method, path, body string }{
		{http.MethodPost, "/api/sessions", `{"id":"mia","visitorId":"mia"}`},
		{http.MethodPost, "/api/messages", message("mia", "m1", "hello")},
		{http.MethodPost, "/api/messages", message("mia", "m2", "are you there?")},
		{http.MethodPost, "/api/operator/status", `{"online":true}`},
		{http.MethodPut, "/api/callbacks/web-1", `{"url":` + quoted(r.app.url+"/callback") + `}`},
	} {
		if code, said := r.ask(q.method, q.path, badInputKey, q.body); code/100 != 2 {
			r.t.Fatalf("%s %s: %s", q.method, q.path, said)
		}
	}
	r.until("shown", func() bool {
		topics := r.topics("mia")
		return len(topics) == 1 && len(r.shown(topics[0].ID)) == 2
	})
	r.idle()
}

// idle waits until every lane works and has nothing to do, and what Telegram tells is taken.
func (r *rig) idle() {
	r.t.Helper()
	r.until("idle: no update waits", func() bool { return r.telegram.Pending() == 0 })
	r.until("idle", func() bool {
		_, said := r.ask(http.MethodGet, "/readyz?verbose", "", "")
		_, body, _ := strings.Cut(said, "\r\n\r\n")
		var ready struct {
			Lanes []struct {
				State   string `json:"state"`
				Waiting int    `json:"waiting"`
			} `json:"lanes"`
		}
		if err := json.Unmarshal([]byte(body), &ready); err != nil || len(ready.Lanes) == 0 {
			r.t.Fatalf("readyz: %v: %s", err, said)
		}
		for _, lane := range ready.Lanes {
			if lane.State != "delivering" || lane.Waiting > 0 {
				return false
			}
		}
		return true
	})
}

// allLooked waits until every lane has looked at all that was accepted so far, and has nothing to do. A lane that says that it has nothing to do
// may not have looked yet; what is accepted later is looked at later.
func (r *rig) allLooked() {
	r.t.Helper()
	r.mu.Lock()
	r.marks++
	mark := fmt.Sprint("mark ", r.marks)
	r.mu.Unlock()
	r.must("/api/messages", message("marker", mark, mark))
	r.until(mark+" shown", func() bool {
		return !slices.ContainsFunc(r.boards, func(b board) bool { return !slices.Contains(texts(b, "marker"), mark) })
	})
	r.idle()
}

func quoted(text string) string { return fmt.Sprintf("%q", text) }

// end ends the bridge properly.
func (r *rig) end(p *proc) {
	r.t.Helper()
	if code := p.Exit(); code != 0 {
		r.t.Fatalf("the bridge ended with %d:\n%s", code, lastLines(p.Output(), 60))
	}
}

// dump returns all that the store holds, but for what a bridge writes by itself: probes, leases, and how far the lanes are.
// The bridge must not be running.
func (r *rig) dump() map[string]string {
	r.t.Helper()
	if url := r.env["REDIS_URL"]; url != "" {
		return dumpRedis(r.t, url)
	}
	return dumpBolt(r.t, filepath.Join(r.env["DATA_DIR"], "bridge.db"))
}

// placeOf returns how far the follower of the log is whose table it is.
func placeOf(dump map[string]string, table string) string {
	for key, value := range dump {
		if strings.HasSuffix(key, ":rows:"+table) {
			_, place, _ := strings.Cut(value, `"cursor":"0:`)
			place, _, _ = strings.Cut(place, `"`)
			return place
		}
		if key == fmt.Sprintf("rows %q", "\x00"+string(rune(len(table)))+table+"cursor") {
			return value
		}
	}
	return ""
}

func dumpBolt(t *testing.T, path string) map[string]string {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: hung})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	out, journal := map[string]string{}, map[string]string{}
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			out[string(name)] = fmt.Sprintf("bucket, at %d", b.Sequence())
			switch string(name) {
			case "lanes":
				return nil
			case "journal": // sessions' entries on their way to their place, which the store brings there now and then
				delete(out, string(name))
				return b.ForEach(func(_, record []byte) error {
					for len(record) > 0 {
						var key, value string
						key, record = cutName(t, record)
						value, record = cutName(t, record)
						journal[fmt.Sprintf("sessions %q", key)] = value
					}
					return nil
				})
			}
			return b.ForEach(func(k, v []byte) error {
				ping := string(name) == "meta" && string(k) == "ping"
				owner := string(name) == "rows" && strings.HasPrefix(string(k), "\x00\x06owners") // which process worked a lane
				ordered := string(name) == "rows" && string(k) == "\x00\x05watchordered"          // the table of before was looked at, some time after the start
				if !ping && !owner && !ordered {
					out[fmt.Sprintf("%s %q", name, k)] = string(v)
				}
				return nil
			})
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(out, journal)
	return out
}

// cutName cuts a text of the embedded store, two bytes of length and so many bytes, off the front of a record.
func cutName(t *testing.T, record []byte) (name string, rest []byte) {
	t.Helper()
	if len(record) < 2 || len(record) < 2+int(binary.BigEndian.Uint16(record)) {
		t.Fatalf("the journal has a record that ends too soon: %q", record)
	}
	end := 2 + int(binary.BigEndian.Uint16(record))
	return string(record[2:end]), record[end:]
}

func dumpRedis(t *testing.T, url string) map[string]string {
	t.Helper()
	options, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(options)
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), hung)
	defer cancel()
	out := map[string]string{}
	keys := c.Scan(ctx, 0, "*", 1000).Iterator()
	for keys.Next(ctx) {
		key := keys.Val()
		own := strings.TrimPrefix(key, "bridge:{default}:")
		if own == key {
			t.Errorf("a key of no project: %q", key)
		}
		if own == "ping" || own == "lanes" || own == "seq" || own == "rows:owners" || strings.HasPrefix(own, "lease:") {
			continue
		}
		kind, err := c.Type(ctx, key).Result()
		if err != nil {
			t.Fatal(err)
		}
		var value any
		switch kind {
		case "string":
			value, err = c.Get(ctx, key).Result()
		case "hash":
			var fields map[string]string
			fields, err = c.HGetAll(ctx, key).Result() // a map, which is printed sorted
			if own == "rows:watch" {
				delete(fields, "ordered")
			}
			value = fields
		case "set":
			var members []string
			members, err = c.SMembers(ctx, key).Result()
			slices.Sort(members)
			value = members
		case "zset":
			value, err = c.ZRangeWithScores(ctx, key, 0, -1).Result()
		case "stream":
			value, err = c.XRange(ctx, key, "-", "+").Result()
		case "list":
			value, err = c.LRange(ctx, key, 0, -1).Result()
		default:
			t.Fatalf("%s is a %s", key, kind)
		}
		if err != nil {
			t.Fatal(err)
		}
		out[key] = fmt.Sprintf("%s %#v", kind, value)
	}
	if err := keys.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}
