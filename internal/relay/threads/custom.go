package threads

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
)

const (
	customData  = 500 // of a custom event's data are shown, in UTF-16 units
	customValue = 200 // of one value
	customDeep  = 4   // levels of data within data; what is deeper is left out
)

// customText says in a line what an event of the app's own tells: its name, and what it has to say, as name: value. A value is always
// followed by a blank, so that an address in it stays one; one that does not fit any more is left out rather than cut.
func customText(e *bridge.CustomEvent) string {
	text := measure.OneLine(e.Name, bridge.ShownField)
	left := customData
	for _, field := range customFields("", e.Data, customDeep) {
		n := measure.Units(field)
		if n > left {
			return text + " · …"
		}
		text += " · " + field
		left -= n
	}
	return text
}

// customFields returns the values of an object and of those in it, each with its name, in the order of the names.
func customFields(above string, object map[string]any, deep int) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(object)) {
		out = append(out, customField(above+name, object[name], deep)...)
	}
	return out
}

func customField(name string, value any, deep int) []string {
	switch v := value.(type) {
	case nil:
		return nil
	case map[string]any:
		if deep == 0 {
			return nil
		}
		return customFields(name+".", v, deep-1)
	case []any:
		texts := make([]string, 0, len(v))
		for i, one := range v {
			switch one := one.(type) {
			case map[string]any, []any:
				if deep == 0 {
					return nil
				}
				var out []string
				for i, one := range v {
					out = append(out, customField(name+"."+strconv.Itoa(i+1), one, deep-1)...)
				}
				return out
			default:
				if text := customScalar(one); text != "" && i < maxList {
					texts = append(texts, text)
				}
			}
		}
		if len(v) > maxList {
			texts = append(texts, "…")
		}
		comma := ", "
		if strings.Contains(strings.Join(texts, ""), "://") { // which may not become a part of an address
			comma = " , "
		}
		value = strings.Join(texts, comma)
	}
	text := customScalar(value)
	if name = measure.OneLine(name, bridge.ShownField); text == "" || name == "" {
		return nil
	}
	return []string{name + ": " + text}
}

// maxList is how many values of a list are shown.
const maxList = 20

// customScalar returns a value that has no others in it as people read it.
func customScalar(value any) string {
	switch v := value.(type) {
	case string:
		return measure.OneLine(v, customValue)
	case float64: // of JSON's numbers; without an exponent as far as people write numbers
		if v > -1e15 && v < 1e15 {
			return strconv.FormatFloat(v, 'f', -1, 64)
		}
		return strconv.FormatFloat(v, 'g', -1, 64)
	case json.Number:
		return v.String()
	case nil:
		return ""
	default:
		return fmt.Sprint(v)
	}
}
