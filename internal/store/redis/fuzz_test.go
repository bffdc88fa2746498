package redis

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// FuzzTarget reads REDIS_URL: a fault of it never shows the password, however it is written.
func FuzzTarget(f *testing.F) {
	for _, seed := range []string{
		"redis://user:%s@host:6379/0", "rediss://:%s@a,b", "redis+sentinel://u:%s@a:1,b:2/master?sentinel_password=%s", "unix://%s@/tmp/x", "redis://%s", "redis://a?x=%s",
		"redis+cluster://%s@a/1", "://%s", "redis://u:%s@[::1", "redis://u:p@h:%s/0", "redis://h/0?db=%s", "redis://h?cluster=%s",
	} {
		f.Add(seed)
	}
	const secret = "p4sSw0rd-0f-Th3-St0re"
	f.Fuzz(func(t *testing.T, form string) {
		if _, err := parse(strings.ReplaceAll(form, "%s", secret)); err != nil && strings.Contains(err.Error(), secret) {
			t.Fatalf("%q: %v", form, err)
		}
	})
}

// FuzzEntry reads entries of the stream as somebody's hand may have changed them.
func FuzzEntry(f *testing.F) {
	f.Add("5-0", "{\"type\":\"x\"}\n{}")
	f.Add("-", "")
	f.Fuzz(func(t *testing.T, id, data string) {
		e, err := entry(redis.XMessage{ID: id, Values: map[string]any{fieldEvent: data}})
		if err == nil && strings.Contains(data, "\n") != (e.Event.Body != nil) && !strings.HasSuffix(data, "\n") {
			t.Fatalf("%q is %+v", data, e)
		}
		_, _ = entry(redis.XMessage{ID: id, Values: map[string]any{"other": data}})
	})
}
