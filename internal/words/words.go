// Package words has every text that operators and visitors read, in each language: answers of commands, cards, notices, reminders,
// menus, and how times and sizes are written. What stands in logs, in answers of HTTP and in errors of the configuration is English
// everywhere, and is not here.
//
// A language is one file with one Table, and a line in Languages. Names of commands are the same in all languages.
//
// A process speaks one language, as it has one time.Local. Use sets it before anything else runs; Get returns it. Both may be called
// by any goroutine.
package words

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// Default is the language of a process that was told no other.
const Default = "en"

// Languages returns the tables by the names of their languages, as LANGUAGE has them.
func Languages() map[string]*Table {
	return map[string]*Table{"de": &german, "en": &english, "es": &spanish, "fr": &french}
}

// Names returns the languages' names, the default first.
func Names() []string {
	others := slices.DeleteFunc(slices.Sorted(maps.Keys(Languages())), func(name string) bool { return name == Default })
	return append([]string{Default}, others...)
}

var current atomic.Pointer[Table]

// Use makes a language the process's; false where there is no such language.
func Use(language string) bool {
	t, ok := Languages()[language]
	if ok {
		current.Store(t)
	}
	return ok
}

// Get returns the texts in the process's language.
func Get() *Table {
	if t := current.Load(); t != nil {
		return t
	}
	return &english
}

// By is Get for a place where a command begins with a mark, / or !.
func By(mark string) *Table {
	t := Get()
	if mark == "/" {
		return t
	}
	if marked, ok := byMark.Load(t); ok {
		return marked.(*Table)
	}
	marked, _ := byMark.LoadOrStore(t, withMark(t, mark))
	return marked.(*Table)
}

// byMark are the tables that name commands by !, by those that name them by /.
var byMark sync.Map

// slashed matches a command that a text names. One that stands beside its other form is named in both.
var slashed = regexp.MustCompile(`(^|[\s(“«„:])/([a-z]+|%)`)

// withMark is a table in whose texts commands begin with a mark.
func withMark(t *Table, mark string) *Table {
	out := *t
	v := reflect.ValueOf(&out).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); {
		case f.Kind() == reflect.String:
			f.SetString(Marked(f.String(), mark))
		case f.Type() == reflect.TypeFor[Count]():
			forms := slices.Clone(f.Interface().(Count))
			for n, form := range forms {
				forms[n] = Marked(form, mark)
			}
			f.Set(reflect.ValueOf(forms))
		}
	}
	return &out
}

// Marked is a text of a table's in which commands begin with a mark, / or !.
func Marked(text, mark string) string {
	if mark == "/" {
		return text
	}
	return slashed.ReplaceAllStringFunc(text, func(found string) string {
		at := strings.Index(found, "/")
		if strings.Contains(text, mark+found[at+1:]) {
			return found
		}
		return found[:at] + mark + found[at+1:]
	})
}

// A text with places for others is of a type that says how many there are. A place is %s, or %[2]s where the language wants them in
// another order.
type (
	// One is a text with a place for another.
	One string
	// Two is a text with places for two others.
	Two string
	// Three is a text with places for three others.
	Three string
	// Four is a text with places for four others.
	Four string
)

// With returns the text with another one in its place.
func (t One) With(a string) string { return fmt.Sprintf(string(t), a) }

// With returns the text with others in their places.
func (t Two) With(a, b string) string { return fmt.Sprintf(string(t), a, b) }

// With returns the text with others in their places.
func (t Three) With(a, b, c string) string { return fmt.Sprintf(string(t), a, b, c) }

// With returns the text with others in their places.
func (t Four) With(a, b, c, d string) string { return fmt.Sprintf(string(t), a, b, c, d) }

// Count is a text with a number, in the forms that the language has for numbers: one for each that Table.Form returns. %d is the number.
type Count []string

// Of returns a text for a number.
func (t *Table) Of(c Count, n int) string {
	return strings.ReplaceAll(c[t.Form(n)], "%d", strconv.Itoa(n))
}

// oneOrMore is the rule of languages that say one thing, and several or no things.
func oneOrMore(n int) int {
	if n == 1 {
		return 0
	}
	return 1
}

// Status is a status of operators, in words.
func (t *Table) Status(name string) string {
	return cmp.Or(map[string]string{"online": t.StatusOnline, "away": t.StatusAway, "offline": t.StatusOffline}[name], name)
}
