package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// utterance is what somebody said while everything failed.
type utterance struct {
	mark string // in its text: no other has it
	by   string // visitor, or the platform where Ana wrote it
	// certain: it was answered with 200, or stands on the platform. Of what was not answered nobody knows whether it was taken.
	certain bool
}

// record is what was said in a session, as it was said.
type record struct {
	session string
	all     []utterance
}

// exhibit is one thread of those who show what was said: the marks that stand there, one after the other. An empty session: the title does
// not tell whose it is.
type exhibit struct {
	session string
	marks   []string
}

// verdict is what the judge finds.
type verdict struct {
	accepted, shown, lost, reordered, misplaced, repeated int

	found []string // the first faults
}

func (v *verdict) fault(format string, args ...any) {
	if len(v.found) < 10 {
		v.found = append(v.found, fmt.Sprintf(format, args...))
	}
}

// add counts another verdict with this one.
func (v *verdict) add(other verdict) {
	v.accepted += other.accepted
	v.shown += other.shown
	v.lost += other.lost
	v.reordered += other.reordered
	v.misplaced += other.misplaced
	v.repeated += other.repeated
	v.found = append(v.found, other.found...)
}

// sound says whether nothing is lost, in another order or in a wrong place.
func (v *verdict) sound() bool { return v.lost+v.reordered+v.misplaced == 0 }

func (v *verdict) String() string {
	return fmt.Sprintf("%d accepted, %d shown, %d lost, %d reordered, %d in a wrong thread, %d repeated",
		v.accepted, v.shown, v.lost, v.reordered, v.misplaced, v.repeated)
}

// chaosMarks are the marks of utterances, wherever they stand in a text.
var chaosMarks = regexp.MustCompile(`w[0-9]{7}`)

// judge holds threads against what was said. What was written in the chat on a platform is nothing that it has to be shown there.
func judge(records []record, threads []exhibit, on string) verdict {
	var v verdict
	owner := map[string]string{} // mark → session
	for _, r := range records {
		for _, u := range r.all {
			owner[u.mark] = r.session
		}
	}
	shown := map[string][]string{} // session → marks in its thread
	for _, t := range threads {
		if t.session == "" && len(t.marks) > 0 {
			t.session = owner[t.marks[0]]
		}
		own := slices.DeleteFunc(slices.Clone(t.marks), func(mark string) bool { return owner[mark] != t.session })
		if n := len(t.marks) - len(own); n > 0 {
			v.misplaced += n
			v.fault("the thread of %q shows %d texts of others: %q", t.session, n, t.marks)
		}
		if before := shown[t.session]; len(before) > 0 && len(own) > 0 {
			v.misplaced += min(len(before), len(own))
			v.fault("%q has two threads, with %q and %q", t.session, before, own)
		}
		shown[t.session] = append(shown[t.session], own...)
	}
	for _, r := range records {
		v.add(r.judged(shown[r.session], on))
	}
	return v
}

// judged holds the marks that a session's thread shows against what was said.
func (r record) judged(shown []string, on string) verdict {
	var v verdict
	place := map[string]int{} // mark → where it stands first
	for i, mark := range shown {
		if _, again := place[mark]; again {
			v.repeated++
			continue
		}
		place[mark] = i
	}
	last := map[string]int{} // author → the place of what they said before
	for _, u := range r.all {
		if u.by == on {
			continue
		}
		at, there := place[u.mark]
		if u.certain {
			v.accepted++
		}
		switch before, spoke := last[u.by]; {
		case !there && u.certain:
			v.lost++
			v.fault("%s of %s in %s is not shown: %q", u.mark, u.by, r.session, shown)
			continue
		case !there:
			continue
		case spoke && at < before:
			v.reordered++
			v.fault("%s of %s in %s is shown before what was said before it: %q", u.mark, u.by, r.session, shown)
		default:
			last[u.by] = at
		}
		v.shown++
	}
	return v
}

// The judge finds what is lost, in another order, in a wrong thread or there twice, and nothing else.
func TestJudge(t *testing.T) {
	said := []record{
		{"mia", []utterance{
			{"w0000001", "visitor", true}, {"w0000002", "visitor", true}, {"w0000003", "discord", true}, {"w0000004", "visitor", false},
			{"w0000005", "telegram", true},
		}},
		{"tom", []utterance{{"w0000006", "visitor", true}, {"w0000007", "visitor", true}}},
	}
	for _, test := range []struct{ name, mia, tom, more, want string }{
		{"all is right", "1 2 3", "6 7", "", "5 accepted, 5 shown, 0 lost, 0 reordered, 0 in a wrong thread, 0 repeated"},
		{"what was not answered is shown", "1 2 3 4", "6 7", "", "5 accepted, 6 shown, 0 lost, 0 reordered, 0 in a wrong thread, 0 repeated"},
		{"two authors cross", "3 1 2", "6 7", "", "5 accepted, 5 shown, 0 lost, 0 reordered, 0 in a wrong thread, 0 repeated"},
		{"one is dropped", "1 3", "6 7", "", "5 accepted, 4 shown, 1 lost, 0 reordered, 0 in a wrong thread, 0 repeated"},
		{"the last is dropped", "1 2 3", "6", "", "5 accepted, 4 shown, 1 lost, 0 reordered, 0 in a wrong thread, 0 repeated"},
		{"all of a session is dropped", "1 2 3", "", "", "5 accepted, 3 shown, 2 lost, 0 reordered, 0 in a wrong thread, 0 repeated"},
		{"two change places", "2 1 3", "6 7", "", "5 accepted, 5 shown, 0 lost, 1 reordered, 0 in a wrong thread, 0 repeated"},
		{"one is with another", "1 2 3", "6 7 2", "", "5 accepted, 5 shown, 0 lost, 0 reordered, 1 in a wrong thread, 0 repeated"},
		{"a second thread", "1 2", "6 7", "3", "5 accepted, 5 shown, 0 lost, 0 reordered, 1 in a wrong thread, 0 repeated"},
		{"one is there twice", "1 2 1 3", "6 7", "", "5 accepted, 5 shown, 0 lost, 0 reordered, 0 in a wrong thread, 1 repeated"},
	} {
		var threads []exhibit
		for _, thread := range []exhibit{{session: "mia", marks: strings.Fields(test.mia)}, {marks: strings.Fields(test.tom)}, {marks: strings.Fields(test.more)}} {
			for i, mark := range thread.marks {
				thread.marks[i] = "w000000" + mark
			}
			threads = append(threads, thread)
		}
		v := judge(said, threads, "telegram")
		if got := v.String(); got != test.want {
			t.Errorf("%s: %s, not %s\n%s", test.name, got, test.want, strings.Join(v.found, "\n"))
		}
		if fine := len(v.found) == 0; fine != v.sound() {
			t.Errorf("%s: it finds %q", test.name, v.found)
		}
	}
}
