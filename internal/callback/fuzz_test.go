package callback

import (
	"testing"
	"time"
)

// FuzzRecord reads registrations as the store has them.
func FuzzRecord(f *testing.F) {
	for _, seed := range []string{
		`{"id":"a","url":"https://app.example.com/","keys":[{"value":"whsec_c2VjcmV0"}],"ttl":1}`, `{"id":"a","url":"u","keys":null,"events":[]}`, `{}`, `null`, `[]`,
		`{"id":"a","url":"u","keys":[{"value":"whsec_%"},{"value":"x","until":"2026-01-01T00:00:00Z"}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		rec, err := decode(value)
		if err != nil {
			if rec != nil {
				t.Fatalf("%v, and %+v", err, rec)
			}
			return
		}
		if rec.ID == "" || rec.URL == "" || rec.registration().ID != rec.ID {
			t.Fatalf("%+v", rec)
		}
		for _, now := range []time.Time{{}, rec.CreatedAt, rec.ExpiresAt} {
			if n := len(rec.secrets(now)); n > len(rec.Keys) {
				t.Fatalf("%d secrets", n)
			}
			_ = rec.expired(now)
		}
	})
}
