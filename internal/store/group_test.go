package store

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/pocketping/bridge/internal/bridge"
)

// TestGroup holds the writer while calls queue up behind its first, and sees how they are taken.
func TestGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var groups [][]int
		release := make(chan struct{})
		g := NewGroup(3, 100, func(calls []*Call[int]) {
			var group []int
			for _, c := range calls {
				group = append(group, c.Payload)
				c.Result.First = bridge.Seq(c.Payload)
			}
			groups = append(groups, group)
			<-release
		})
		queue := func(ctx context.Context, n, size int, want error) {
			go func() {
				r, err := g.Commit(ctx, n, size)
				if !errors.Is(err, want) || want == nil && int(r.First) != n {
					t.Errorf("%d: %+v, %v", n, r, err)
				}
			}()
			synctest.Wait()
		}
		first, leave := context.WithCancel(t.Context())
		third, withdraw := context.WithCancel(t.Context())
		queue(first, 1, 0, bridge.ErrUnavailable)
		queue(t.Context(), 2, 10, nil)
		queue(third, 3, 10, context.Canceled)
		queue(t.Context(), 4, 10, nil)
		queue(t.Context(), 5, 10, nil)
		queue(t.Context(), 6, 10, nil)
		queue(t.Context(), 7, 1000, nil)
		queue(t.Context(), 8, 50, nil)
		queue(t.Context(), 9, 51, nil)
		leave()
		withdraw()
		synctest.Wait()
		go g.Close()
		synctest.Wait()
		if _, err := g.Commit(t.Context(), 10, 0); !errors.Is(err, bridge.ErrUnavailable) {
			t.Errorf("after Close: %v", err)
		}
		close(release)
		g.Close()
		want := [][]int{{1}, {2, 4, 5}, {6}, {7}, {8}, {9}}
		if !slices.EqualFunc(groups, want, slices.Equal[[]int]) {
			t.Errorf("groups %v, want %v", groups, want)
		}
	})
}
