package api

import (
	"encoding/json"
	"strings"
	"testing"
)

// FuzzDepth: how deep a body is nested is seen as a decoder sees it.
func FuzzDepth(f *testing.F) {
	for _, n := range []int{1, maxDepth - 1, maxDepth, maxDepth + 1, 3 * maxDepth} {
		f.Add(strings.Repeat("[", n) + strings.Repeat("]", n))
		f.Add(strings.Repeat(`{"a":`, n) + `"\\\"["` + strings.Repeat("}", n))
		f.Add(`["\"` + strings.Repeat("[", n) + `\\",` + strings.Repeat("[", n) + strings.Repeat("]", n) + "]")
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !json.Valid([]byte(text)) {
			_ = shallow([]byte(text))
			return
		}
		deepest, depth := 0, 0
		for tokens := json.NewDecoder(strings.NewReader(text)); ; {
			token, err := tokens.Token()
			if err != nil {
				break
			}
			switch token {
			case json.Delim('['), json.Delim('{'):
				depth++
				deepest = max(deepest, depth)
			case json.Delim(']'), json.Delim('}'):
				depth--
			}
		}
		if err := shallow([]byte(text)); (err == nil) != (deepest <= maxDepth) {
			t.Errorf("%d deep: %v", deepest, err)
		}
	})
}
