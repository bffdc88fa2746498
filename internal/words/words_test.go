package words_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/words"
)

// texts returns every text of a field, in all its forms, and how many places it has; -1: it is no text.
func texts(v reflect.Value) (all []string, places int) {
	switch t := v.Interface().(type) {
	case words.One:
		return []string{string(t)}, 1
	case words.Two:
		return []string{string(t)}, 2
	case words.Three:
		return []string{string(t)}, 3
	case words.Four:
		return []string{string(t)}, 4
	case words.Count:
		return t, 0
	case string:
		return []string{t}, 0
	case [12]string:
		return t[:], 0
	case [7]string:
		return t[:], 0
	}
	return nil, -1
}

var (
	place   = regexp.MustCompile(`%(?:\[(\d)\])?([a-z])|%`)
	command = regexp.MustCompile(`[/!]([a-z]+)`)
	setting = regexp.MustCompile(`\b[A-Z]+_?[A-Z_]{6,}\b`)
)

// placesOf returns which texts a text has places for.
func placesOf(t *testing.T, text string) []int {
	t.Helper()
	seen := map[int]bool{}
	for i, m := range place.FindAllStringSubmatch(text, -1) {
		n := i + 1
		if m[1] != "" {
			n, _ = strconv.Atoi(m[1])
		}
		if m[2] != "s" {
			t.Errorf("%q has a place of another kind: %q", text, m[0])
		}
		seen[n] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

// namedIn returns the commands and settings that a text names.
func namedIn(text string) []string {
	found := setting.FindAllString(text, -1)
	for _, m := range command.FindAllStringSubmatch(text, -1) {
		if _, ok := bridge.FindCommand(m[1]); ok && m[0] != "!name" { // which stands for any
			found = append(found, m[0])
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// TestEveryLanguageIsWhole: no text is missing, its places are as many as its type says and English has, and it names the same commands.
func TestEveryLanguageIsWhole(t *testing.T) {
	all := words.Languages()
	english := reflect.ValueOf(all[words.Default]).Elem()
	for language, table := range all {
		v := reflect.ValueOf(table).Elem()
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			got, places := texts(v.Field(i))
			if places < 0 {
				if v.Field(i).IsZero() {
					t.Errorf("%s: %s is not set", language, name)
				}
				continue
			}
			if _, counted := v.Field(i).Interface().(words.Count); counted && len(got) != table.Forms {
				t.Errorf("%s: %s has %d forms of %d", language, name, len(got), table.Forms)
			}
			original, _ := texts(english.Field(i))
			for n, text := range got {
				if strings.TrimSpace(text) == "" {
					t.Errorf("%s: %s is empty", language, name)
				}
				want := make([]int, places)
				for p := range want {
					want[p] = p + 1
				}
				if has := placesOf(t, strings.ReplaceAll(text, "%d", "")); !slices.Equal(has, want) {
					t.Errorf("%s: %s has places for %v of %v: %q", language, name, has, want, text)
				}
				if has, want := namedIn(text), namedIn(original[min(n, len(original)-1)]); !slices.Equal(has, want) {
					t.Errorf("%s: %s names %q, and in English %q", language, name, has, want)
				}
			}
		}
		for n := range 200 {
			if form := table.Form(n); form < 0 || form >= table.Forms {
				t.Errorf("%s: %d takes form %d of %d", language, n, form, table.Forms)
			}
		}
	}
}

// TestMarked: where ! alone works, commands are named by it, and nothing else is changed.
func TestMarked(t *testing.T) {
	for text, want := range map[string]string{
		"/unclaim frees the visitor.":           "!unclaim frees the visitor.",
		"“/close”, /reopen and 1/2, http://x/y": "“!close”, !reopen and 1/2, http://x/y",
		"Type /link %s (or !link %s).":          "Type /link %s (or !link %s).",
		"Something is missing after /%s.":       "Something is missing after !%s.",
	} {
		if got := words.Marked(text, "!"); got != want {
			t.Errorf("%q became %q", text, got)
		}
		if got := words.Marked(text, "/"); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
	if got := string(words.By("!").DoesNotTake); strings.Contains(got, "/") {
		t.Errorf("a whole table: %q", got)
	}
}

// TestFrenchSigns: no line breaks in front of a sign that French sets apart. A mark in front of a command is none.
func TestFrenchSigns(t *testing.T) {
	loose := regexp.MustCompile(` [:;»]|« | [!?](?:[^\pL%]|$)`)
	v := reflect.ValueOf(words.Languages()["fr"]).Elem()
	for i := range v.NumField() {
		all, _ := texts(v.Field(i))
		for _, text := range all {
			if loose.MatchString(text) {
				t.Errorf("%s: %q has a plain blank before a sign", v.Type().Field(i).Name, text)
			}
		}
	}
}

// TestMenusFit: Discord takes descriptions of up to 100 characters.
func TestMenusFit(t *testing.T) {
	for language, table := range words.Languages() {
		v := reflect.ValueOf(table).Elem()
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if text, ok := v.Field(i).Interface().(string); ok && (strings.HasPrefix(name, "Help") || strings.HasPrefix(name, "Option")) &&
				name != "HelpOnThread" && len([]rune(text)) > 100 {
				t.Errorf("%s: %s has %d characters", language, name, len([]rune(text)))
			}
		}
	}
}

// sources are the files of the product.
func sources(t *testing.T, root string, each func(path string, f *ast.File)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err == nil {
			each(path, f)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestEveryTextIsUsed: what nothing says is not in the table.
func TestEveryTextIsUsed(t *testing.T) {
	used := map[string]bool{}
	sources(t, filepath.Join("..", ".."), func(_ string, f *ast.File) {
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				used[s.Sel.Name] = true
			}
			return true
		})
	})
	v := reflect.TypeFor[words.Table]()
	for i := range v.NumField() {
		if name := v.Field(i).Name; !used[name] && name != "Forms" {
			t.Errorf("nothing says %s", name)
		}
	}
}

// TestNoTextStandsElsewhere: the rooms that speak with operators have no sentences of their own, but for errors and what is logged.
func TestNoTextStandsElsewhere(t *testing.T) {
	sentence := regexp.MustCompile(`\pL{2,} .*\pL{2,}|^\PL*\p{Lu}\pL+ ?$`)
	allowed := map[string]bool{
		"they are not online": true, "must be online, away or offline": true, // for programs
		"App": true, "OPERATORS=": true,
	}
	for _, room := range []string{"relay/desk", "presence"} {
		sources(t, filepath.Join("..", filepath.FromSlash(room)), func(path string, f *ast.File) {
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.ImportSpec:
					return false
				case *ast.CallExpr:
					if s, ok := n.Fun.(*ast.SelectorExpr); ok {
						switch s.Sel.Name {
						case "Errorf", "Debug", "Info", "Warn", "Error":
							return false
						}
					}
				case *ast.CompositeLit:
					if id, ok := n.Type.(*ast.Ident); ok && id.Name == "HoursError" {
						return false // of the configuration
					}
				case *ast.Field:
					n.Tag = nil
				case *ast.BasicLit:
					text, err := strconv.Unquote(n.Value)
					if n.Kind == token.STRING && err == nil && sentence.MatchString(text) && !allowed[text] {
						t.Errorf("%s says %q; what operators read stands in internal/words", path, text)
					}
				}
				return true
			})
		})
	}
}

// TestTimesAndSizes: as each language writes them.
func TestTimesAndSizes(t *testing.T) {
	at := time.Date(2026, 3, 1, 9, 5, 0, 0, time.UTC)
	var b strings.Builder
	for _, language := range words.Names() {
		say := words.Languages()[language]
		b.WriteString(language + "\n")
		for _, d := range []time.Duration{0, 75 * time.Second, 30 * time.Minute, 2 * time.Hour, 125 * time.Minute, 49 * time.Hour, 96 * time.Hour} {
			b.WriteString(say.Lasting(d) + "; ")
		}
		b.WriteString("\n" + say.Clock(at, at) + "; " + say.Clock(at, at.AddDate(0, 0, 1)) + "; " + say.Date(at) + "; " + say.Weekday(at) + "\n")
		for _, n := range []int64{0, 999, 12_345, 3_400_000, 2_500_000_000} {
			b.WriteString(say.Size(n) + "; ")
		}
		b.WriteString("\n")
		for _, n := range []int{0, 1, 2} {
			b.WriteString(say.Of(say.Messages, n) + "; ")
		}
		b.WriteString("\n")
	}
	golden(t, filepath.Join("testdata", "times.golden"), b.String())
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s has\n%s\nnow it is\n%s", path, want, got)
	}
}
