package desk

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/sandbox/soak"
	"github.com/pocketping/bridge/internal/store/bolt"
	"github.com/pocketping/bridge/internal/store/redis"
	"github.com/pocketping/bridge/internal/store/redis/redistest"
)

// visitorOf makes one of many visitors: names that many share, an e-mail address and ids of their own, places that are rare.
func visitorOf(random *rand.Rand, i int) *bridge.Session {
	first := []string{"Maria", "Marcel", "Ana", "Ben", "Zoë", "José", "李", "Mariano", "Lea", "Lena"}[random.IntN(10)]
	last := []string{"Berg", "Bauer", "Lopez", "Lund", "Smith"}[random.IntN(5)]
	s := &bridge.Session{
		ID: fmt.Sprintf("s-%08d", i), VisitorID: fmt.Sprintf("v%d", i/3),
		Identity: &bridge.Identity{ID: fmt.Sprintf("u%d", i), Name: first + " " + last, Email: fmt.Sprintf("%s%d@%s.example", strings.ToLower(last), i, strings.ToLower(first))},
		Metadata: &bridge.Metadata{City: []string{"Lyon", "Bern", "Lima"}[random.IntN(3)], Browser: "Firefox"},
	}
	if i%100 == 7 {
		s.Metadata.City = "Timbuktu"
	}
	if i < 300 { // gone out of use
		s.Metadata.PageTitle = "Advent calendar"
	}
	return s
}

// What is found is what a look at all sessions finds, the newest first, on both stores; and soon at a million sessions.
func TestSearch(t *testing.T) {
	many, limits := 450, searchMost{word: 200, all: 600, page: 150}
	if soak.Asked() {
		many, limits = 1_000_000, searchLimits()
	}
	for name, open := range map[string]func(t *testing.T) Store{
		"bolt": func(t *testing.T) Store {
			s, err := bolt.Open(filepath.Join(t.TempDir(), "bridge.db"), bolt.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			return s
		},
		"redis": func(t *testing.T) Store {
			s, err := redis.Open(t.Context(), redistest.Start(t).URL(), redis.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			r := New(Options{Store: s})
			r.searching = limits
			random := rand.New(rand.NewPCG(1, 2))
			words := make([][]string, many)
			var rows []bridge.Row
			for i := range many {
				v := visitorOf(random, i)
				words[i] = indexWords(v)
				rows = append(rows, indexRows(v.ID, indexed{}, indexed{At: bridge.Seq(i + 1), Words: words[i]})...)
				if len(rows) > 500 || i == many-1 {
					if _, err := s.Commit(t.Context(), bridge.Batch{Rows: rows}); err != nil {
						t.Fatal(err)
					}
					rows = nil
				}
			}
			last := fmt.Sprintf("u%d", many-1)
			for _, asked := range []string{
				"maria", "mar", "m", "zoë", "zo", "josé", "李", "timbuktu", "tim", last, "u", "u1", "u12", "bauer12", "lopez1@a", "firefox", "lyon",
				"ana bauer", "ana timb", "lyon timbuktu", "firefox zoë lu", "advent", "advent bern", "s-0000", "s-00000001", "example", "nobody", "v1 ana",
			} {
				terms := strings.Fields(asked)
				var want []string
				for i := many - 1; i >= 0 && len(want) < foundMost; i-- {
					if begins(words[i], terms) {
						want = append(want, fmt.Sprintf("s-%08d", i))
					}
				}
				begun := time.Now()
				got, err := r.search(context.Background(), terms, foundMost)
				took := time.Since(begun)
				if err != nil {
					t.Fatal(err)
				}
				var ids []string
				for _, one := range got {
					ids = append(ids, one.session)
				}
				switch {
				case slices.Equal(ids, want):
				case !soak.Asked() || len(ids) != len(want): // of a million, many have a word that none of the newest has: then some are found
					t.Errorf("%q: %q, not %q", asked, ids, want)
				}
				for _, id := range ids {
					n, _ := strconv.Atoi(strings.TrimPrefix(id, "s-"))
					if !begins(words[n], terms) {
						t.Errorf("%q finds %s: %q", asked, id, words[n])
					}
				}
				if soak.Asked() {
					soak.Row(t, "%s, %d sessions: %q finds %d in %s", name, many, asked, len(got), took.Round(100*time.Microsecond))
					if took > 100*time.Millisecond {
						t.Errorf("%q took %s", asked, took)
					}
				}
			}
			r.searching = searchMost{word: 50, all: 100, page: 50} // none of the newest has it any more
			for _, terms := range [][]string{{"advent"}, {"advent", "calendar"}} {
				got, err := r.search(context.Background(), terms, foundMost)
				if err != nil || len(got) != foundMost {
					t.Errorf("%q finds %v, %v", terms, got, err)
				}
			}
			all, err := r.earlierOf(context.Background(), visitorOf(rand.New(rand.NewPCG(1, 1)), 301), foundMost)
			if err != nil || len(all) != 2 || all[0].session != "s-00000302" || all[1].session != "s-00000300" {
				t.Errorf("the visitor's other sessions are %v, %v", all, err)
			}
		})
	}
}
