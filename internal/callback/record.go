package callback

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// record is a registration as the store keeps it. It holds secrets in clear and is never shown or logged.
type record struct {
	ID        string        `json:"id"`
	URL       string        `json:"url"`
	Keys      []key         `json:"keys"` // newest first
	Events    []bridge.Type `json:"events,omitempty"`
	TTL       time.Duration `json:"ttl"`
	CreatedAt time.Time     `json:"createdAt"`
	ExpiresAt time.Time     `json:"expiresAt"`
}

// key is a secret in clear; one that was replaced is still used until Until.
type key struct {
	Value string    `json:"value"`
	Until time.Time `json:"until,omitzero"`
}

func decode(value []byte) (*record, error) {
	rec := new(record)
	if err := json.Unmarshal(value, rec); err != nil {
		return nil, err
	}
	if rec.ID == "" || rec.URL == "" {
		return nil, errors.New("a registration without an id or a URL")
	}
	return rec, nil
}

func (rec *record) expired(now time.Time) bool { return !now.Before(rec.ExpiresAt) }

// sameTarget says whether events go where they go with the other one.
func (rec *record) sameTarget(other *record) bool {
	if rec == nil || other == nil {
		return rec == other
	}
	return rec.URL == other.URL && slices.Equal(rec.Events, other.Events)
}

func (rec *record) wants(t bridge.Type) bool { return bridge.Wanted(rec.Events, t) }

func (rec *record) registration() bridge.Registration {
	return bridge.Registration{
		ID: rec.ID, URL: rec.URL, Events: slices.Clone(rec.Events), CreatedAt: rec.CreatedAt, ExpiresAt: rec.ExpiresAt,
	}
}

// secrets returns those that sign at the given time.
func (rec *record) secrets(now time.Time) []bridge.Secret {
	var out []bridge.Secret
	for _, k := range rec.Keys {
		if k.Until.IsZero() || now.Before(k.Until) {
			out = append(out, bridge.Secret(k.Value))
		}
	}
	return out
}
