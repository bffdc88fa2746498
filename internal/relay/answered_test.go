package relay_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	table "github.com/pocketping/bridge/internal/words"
)

// unplayed are texts of the desk's that no scene shows: buttons, which scenes do not write down, and what takes more than a scene can do.
var unplayed = []string{
	"ButtonAway", "ButtonBlock", "ButtonClaim", "ButtonClose", "ButtonDrop", "ButtonEdit", "ButtonHandOver", "ButtonSend",
	"EditFilesTold", "FileTooBigForBot", "LiveLocation", "VisitorSeesNoMore", // files and places of operators
	"FiltersRefused", "LaneBehind", "LaneOther", "LanePaused", "LaneWaiting", // how lanes do, at another time than a scene's
	"ListThreadSoon", "ListThreadsAt", "TranscriptNone", "WorksInChannel", "WorksOnlyThere",
	"AnOperator", "Operator", "OnSite", "CardAnswers", // TestCardsInEachLanguage
	"NoText", "File", "Kilobytes", "LongText", "StuckFor", "StuckEdit", "StuckDeletion", "StuckClose", "StuckRating",
}

// TestEveryAnswerIsInAScene: what the desk says is read by somebody, in each language, before it is said to anybody.
func TestEveryAnswerIsInAScene(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join("testdata", "answers.en.golden"))
	if err != nil {
		t.Fatal(err)
	}
	played := strings.Join(strings.Fields(string(raw)), " ")
	files, err := filepath.Glob(filepath.Join("desk", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	for _, path := range files {
		if text, err := os.ReadFile(path); err == nil && !strings.HasSuffix(path, "_test.go") {
			source.Write(text)
		}
	}
	says := map[string]bool{}
	for _, found := range regexp.MustCompile(`\b(?:say|say\(\)|Get\(\))\.([A-Z]\w+)`).FindAllStringSubmatch(source.String(), -1) {
		says[found[1]] = true
	}
	english := reflect.ValueOf(table.Languages()[table.Default]).Elem()
	for i := range english.NumField() {
		name := english.Type().Field(i).Name
		var forms []string
		switch f := english.Field(i); {
		case f.Kind() == reflect.String:
			forms = []string{f.String()}
		case f.Type() == reflect.TypeFor[table.Count]():
			forms = f.Interface().(table.Count)
		}
		if len(forms) == 0 || !says[name] {
			continue
		}
		shown := slices.ContainsFunc(forms, func(form string) bool {
			return slices.ContainsFunc([]string{"/", "!"}, func(mark string) bool {
				return strings.Contains(played, longest(table.Marked(form, mark)))
			})
		})
		switch excused := slices.Contains(unplayed, name); {
		case !shown && !excused:
			t.Errorf("no scene shows %s: %q", name, forms[0])
		case shown && excused:
			t.Errorf("a scene shows %s: it needs no excuse", name)
		}
	}
}

// longest is the longest piece of a text between two places of it.
func longest(text string) (piece string) {
	for _, p := range regexp.MustCompile(`%(\[\d\])?[sd]`).Split(strings.Join(strings.Fields(text), " "), -1) {
		if len(p) > len(piece) {
			piece = p
		}
	}
	return piece
}
