package relay_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// An erased session leaves no draft: not in the store, whether it was proposed, edited, awaited, sent or dropped, and not in the chats. Another
// session's stays.
func TestDraftsAreErasedWithTheirSession(t *testing.T) {
	t.Parallel()
	inTeam(t, nil, func(t *testing.T, tm *team) {
		propose := func(session, id, text string) string {
			t.Helper()
			if _, err := tm.relay.Propose(t.Context(), session, bridge.Draft{ID: id, Content: text, Author: "Bot"}, "", ""); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return bridge.Digest([]byte(session + "\n" + id))
		}
		press := func(platform, data string) {
			t.Helper()
			u := tm.update(tm.thread(platform, "s"), "Ana", "", "")
			u.Kind, u.Slash, u.Press = bridge.UpdatePress, true, data
			tm.do(platform, u)
		}
		tm.ingest(message("s", "m1", "hello"))
		tm.ingest(message("other", "m1", "hello"))
		synctest.Wait()
		propose("other", "d1", "of another")
		propose("s", "d1", "secret-open")
		press("telegram", "send:"+propose("s", "d2", "secret-sent"))
		press("telegram", "drop:"+propose("s", "d3", "secret-dropped"))
		press("slack", "edit:"+propose("s", "d4", "secret-edited")) // whose next message is awaited
		if n, edits := tm.rows("drafts"), tm.rows("draftedits"); n != 5 || edits != 1 {
			t.Fatalf("there are %d drafts, and %d awaited texts", n, edits)
		}
		threads := map[string]bridge.ThreadID{}
		for _, platform := range platformNames {
			threads[platform] = tm.thread(platform, "s")
			if shown := strings.Join(tm.places[platform].Texts(threads[platform]), "\n"); strings.Count(shown, "secret-") < 3 {
				t.Fatalf("%s shows %q", platform, shown)
			}
		}
		if _, err := tm.relay.Erase(t.Context(), "s", true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if n, edits := tm.rows("drafts"), tm.rows("draftedits"); n != 1 || edits != 0 {
			t.Errorf("there are %d drafts, and %d awaited texts", n, edits)
		}
		for _, platform := range platformNames {
			left := strings.Join(tm.places[platform].Texts(threads[platform]), "\n") // what answers a press is no message on a platform
			if strings.Contains(left, "secret-") || strings.Contains(left, "draft by Bot") || strings.Contains(left, "Draft by Bot") {
				t.Errorf("%s still shows %q", platform, left)
			}
			tm.shows(platform, "other", "📝 Draft by Bot, not sent: of another")
		}
	})
}
