package threads

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
)

// What an app tells of its own reads as text, and an address in it ends where it ends.
func TestCustomText(t *testing.T) {
	for data, want := range map[string]string{
		`{}`:                                     "cart",
		`{"total":42}`:                           "cart · total: 42",
		`{"total":12.50,"n":1e3}`:                "cart · n: 1000 · total: 12.5",
		`{"big":12345678901,"no":null}`:          "cart · big: 12345678901",
		`{"url":"https://a.example/x?y"}`:        "cart · url: https://a.example/x?y",
		`{"url":"https://a.example/x","z":true}`: "cart · url: https://a.example/x · z: true",
		`{"item":{"name":"Tea","tags":["a","b"]},"ok":false}`:     "cart · item.name: Tea · item.tags: a, b · ok: false",
		`{"items":[{"sku":"A1","n":2},{"sku":"B2"}]}`:             "cart · items.1.n: 2 · items.1.sku: A1 · items.2.sku: B2",
		`{"links":["https://a.example/1","https://a.example/2"]}`: "cart · links: https://a.example/1 , https://a.example/2",
		`{"text":"two\nlines","empty":"","nothing":[],"none":{}}`: "cart · text: two lines",
		`{"a":{"b":{"c":{"d":{"e":{"f":1}}}}},"x":1}`:             "cart · x: 1",
		`{"first":"` + strings.Repeat("x", 300) + `","url":"https://a.example/` + strings.Repeat("y", 150) + `","z":"` +
			strings.Repeat("z", 199) + `"}`: "cart · first: " + strings.Repeat("x", 199) + "… · url: https://a.example/" + strings.Repeat("y", 150) + " · …",
	} {
		e := bridge.CustomEvent{Name: "cart"}
		if err := json.Unmarshal([]byte(data), &e.Data); err != nil {
			t.Fatal(err)
		}
		if got := customText(&e); got != want {
			t.Errorf("%s:\n%q, want\n%q", data, got, want)
		} else if measure.Units(got) > customData+100 {
			t.Errorf("%s: %d units", data, measure.Units(got))
		}
	}
}
