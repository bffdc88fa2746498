package bridgetest

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

func testClose(t *testing.T, h *Harness) {
	c, ok := h.Platform.(bridge.ThreadCloser)
	if !ok {
		return
	}
	thread := Open(t, h.Platform, session("close", "Maria"))
	for range 2 { // the second changes nothing
		if err := c.CloseThread(t.Context(), thread); err != nil {
			t.Fatalf("CloseThread: %v", err)
		}
	}
	if r, ok := h.Platform.(bridge.ThreadReopener); ok {
		if err := r.ReopenThread(t.Context(), thread); err != nil {
			t.Fatalf("ReopenThread: %v", err)
		}
	}
	Deliver(t, h.Platform, thread, bridge.Outgoing{Text: "open again", Kind: bridge.KindMessage})
	if got := joinedShown(h.Shown(thread)); !strings.Contains(got, "open again") {
		t.Errorf("a thread that was closed and reopened shows %q", got)
	}
}

func testEdit(t *testing.T, h *Harness) {
	e, ok := h.Platform.(bridge.Editor)
	if !ok {
		return
	}
	thread := Open(t, h.Platform, session("edit", "Maria"))
	ids := Deliver(t, h.Platform, thread, bridge.Outgoing{Text: "the first <b>", Kind: bridge.KindMessage})
	other := Deliver(t, h.Platform, thread, bridge.Outgoing{Text: "another", Kind: bridge.KindMessage})
	part := h.Platform.Render(bridge.Outgoing{Thread: thread, Text: "the second & <i>", Kind: bridge.KindMessage})[0]
	for range 2 { // the second changes nothing
		if err := e.Edit(t.Context(), thread, ids[0], part); err != nil {
			t.Fatalf("Edit: %v", err)
		}
	}
	shown := h.Shown(thread)
	if len(shown) != 2 || shown[0].Text != "the second & <i>" || shown[1].Text != "another" {
		t.Errorf("after an edit the thread shows %+v", shown)
	}
	d, ok := h.Platform.(bridge.Deleter)
	if !ok {
		return
	}
	if err := d.Delete(t.Context(), thread, other[0]); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	err := e.Edit(t.Context(), thread, other[0], part)
	if err == nil {
		t.Fatal("a message that is gone was edited")
	}
	if fault := checkError(t, h, err, "the second"); fault.Reason != bridge.ReasonMessageGone && fault.Reason != bridge.ReasonTooLate {
		t.Errorf("editing a message that is gone: %v", fault)
	}
}

func testDelete(t *testing.T, h *Harness) {
	d, ok := h.Platform.(bridge.Deleter)
	if !ok {
		return
	}
	thread := Open(t, h.Platform, session("delete", "Maria"))
	Deliver(t, h.Platform, thread, bridge.Outgoing{Text: "stays", Kind: bridge.KindMessage})
	ids := Deliver(t, h.Platform, thread, bridge.Outgoing{Text: "goes", Kind: bridge.KindMessage})
	for range 2 { // the second finds nothing to do
		if err := d.Delete(t.Context(), thread, ids[0]); err != nil {
			t.Fatalf("Delete: %v", err)
		}
	}
	if got := joinedShown(h.Shown(thread)); got != "stays" {
		t.Errorf("after a deletion the thread shows %q", got)
	}
}

func testUpload(t *testing.T, h *Harness) {
	u, ok := h.Platform.(bridge.Uploader)
	if !ok {
		if n := h.Platform.Limits().MaxFile; n != 0 {
			t.Errorf("a platform that takes no files has a limit of %d bytes for them", n)
		}
		return
	}
	if h.Platform.Limits().MaxFile <= 0 {
		t.Error("a platform that takes files says no limit for them")
	}
	thread := Open(t, h.Platform, session("upload", "Maria"))
	contents := map[string][]byte{
		"a <b>&.png": append([]byte("\x89PNG\r\n\x1a\n"), bytes.Repeat([]byte{7}, 5000)...),
		"two.png":    append([]byte("\x89PNG\r\n\x1a\n"), bytes.Repeat([]byte{8}, 100)...),
		"three.pdf":  []byte("%PDF-1.7 not really"),
	}
	files := []bridge.Attachment{
		{Filename: "a <b>&.png", MimeType: "image/png", Size: 5008}, {Filename: "two.png", MimeType: "image/png", Size: 108},
		{Filename: "three.pdf", MimeType: "application/pdf", Size: int64(len(contents["three.pdf"]))},
	}
	var sent []string
	var ids []bridge.MessageID
	for i, part := range h.Platform.Render(bridge.Outgoing{Thread: thread, Text: "see these", Files: files, Kind: bridge.KindMessage}) {
		if len(part.Files) == 0 {
			if i > 0 || part.Text == "" {
				t.Fatalf("part %d is neither the text nor files: %+v", i, part)
			}
			got, err := h.Platform.Send(t.Context(), thread, part)
			if err != nil {
				t.Fatalf("Send: %v", err)
			}
			ids = append(ids, got...)
			continue
		}
		if i > 0 && part.Text != "" || part.Caption != (part.Text != "") {
			t.Errorf("part %d has files and the text %q", i, part.Text)
		}
		var bodies []bridge.File
		for _, f := range part.Files {
			sent = append(sent, f.Filename)
			bodies = append(bodies, bridge.File{Name: f.Filename, Type: f.MimeType, Size: f.Size, Body: bytes.NewReader(contents[f.Filename])})
		}
		part.Key = "upload-" + part.Files[0].Filename
		got, err := u.Upload(t.Context(), thread, part, bodies)
		if err != nil {
			t.Fatalf("Upload: %v", err)
		}
		if len(got) == 0 || slices.Contains(got, "") {
			t.Fatalf("Upload returned the ids %q", got)
		}
		ids = append(ids, got...)
	}
	want := make([]string, 0, len(files))
	for _, f := range files {
		want = append(want, f.Filename)
	}
	slices.Sort(sent)
	slices.Sort(want)
	if !slices.Equal(sent, want) {
		t.Errorf("the parts have the files %q", sent)
	}
	got := map[string][]byte{}
	all := h.Shown(thread)
	for _, s := range all {
		for _, f := range s.Files {
			got[f.Name] = f.Content
		}
	}
	if len(got) != len(contents) {
		t.Errorf("%d files are shown: %+v", len(got), got)
	}
	for name, content := range contents {
		if !bytes.Equal(got[name], content) && !anyEqual(got, content) {
			t.Errorf("the file %q is not shown as it was sent", name)
		}
	}
	if !strings.Contains(all[0].Text, "see these") || len(all[0].Files) == 0 {
		t.Errorf("the text does not stand first, with a file: %+v", all[0])
	}
	for _, part := range h.Platform.Render(bridge.Outgoing{Thread: thread, Text: "see these", Files: files, Apart: true, Kind: bridge.KindMessage}) {
		if part.Text != "" && len(part.Files) > 0 {
			t.Errorf("what is to go apart goes together: %+v", part)
		}
	}
	testCaption(t, h, thread, ids[0])
	d, ok := h.Platform.(bridge.Deleter)
	if !ok {
		return
	}
	for _, id := range ids {
		if err := d.Delete(t.Context(), thread, id); err != nil {
			t.Errorf("Delete of %q: %v", id, err)
		}
	}
	if left := h.Shown(thread); len(left) > 0 {
		t.Errorf("after the deletion of all its messages the thread shows %+v", left)
	}
}

// testCaption changes the text of a message that shows files, too: these stay.
func testCaption(t *testing.T, h *Harness, thread bridge.ThreadID, id bridge.MessageID) {
	t.Helper()
	before := h.Shown(thread)[0]
	parts := h.Platform.Render(bridge.Outgoing{Thread: thread, Text: "look at <these> & *those*", Caption: true, Kind: bridge.KindMessage})
	if len(parts) != 1 || !parts[0].Caption || len(parts[0].Files) > 0 {
		t.Fatalf("a text that stands beside files is rendered as %+v", parts)
	}
	for range 2 { // the second changes nothing
		if err := h.Platform.(bridge.Editor).Edit(t.Context(), thread, id, parts[0]); err != nil {
			t.Fatalf("Edit: %v", err)
		}
	}
	after := h.Shown(thread)[0]
	if !strings.Contains(after.Text, "look at <these> & *those*") || strings.Contains(after.Text, "see") || len(after.Files) != len(before.Files) {
		t.Errorf("after an edit of what is said beside files: %+v", after)
	}
	if long := h.Platform.Render(bridge.Outgoing{Thread: thread, Text: strings.Repeat("long ", 2000), Caption: true, Kind: bridge.KindMessage}); len(long) < 2 {
		t.Errorf("10 000 characters stand beside files as %d part", len(long))
	}
}

// anyEqual says whether a file of another name has the content: platforms change names, photos have none.
func anyEqual(files map[string][]byte, content []byte) bool {
	for _, got := range files {
		if bytes.Equal(got, content) {
			return true
		}
	}
	return false
}

func testSigns(t *testing.T, h *Harness) {
	r, ok := h.Platform.(bridge.Reactor)
	if !ok || h.Say == nil {
		return
	}
	thread := Open(t, h.Platform, session("signs", "Maria"))
	id := h.Say(thread, "an answer", "")
	var before []string
	for _, sign := range []bridge.Sign{bridge.SignDelivered, bridge.SignDelivered, bridge.SignRead, bridge.SignRead} {
		if err := r.React(t.Context(), thread, id, sign); err != nil {
			t.Fatalf("React: %v", err)
		}
		now := h.Signs(thread, id)
		if len(now) != 1 {
			t.Fatalf("after the sign %q the message carries %q", sign, now)
		}
		if sign == bridge.SignRead && slices.Equal(now, before) {
			t.Errorf("both signs look the same: %q", now)
		}
		if sign == bridge.SignDelivered {
			before = now
		}
	}
}

func testMention(t *testing.T, h *Harness) {
	if h.AnaID == "" {
		return
	}
	thread := Open(t, h.Platform, session("mention", "Maria"))
	Deliver(t, h.Platform, thread, bridge.Outgoing{Text: "a visitor waits", Mention: []string{h.AnaID}, Kind: bridge.KindMessage})
	shown := h.Shown(thread)
	if len(shown) != 1 || !strings.Contains(shown[0].Text, "a visitor waits") || !slices.Equal(shown[0].Pings, []string{h.AnaID}) {
		t.Errorf("shown %+v", shown)
	}
}

func testTyping(t *testing.T, h *Harness) {
	y, ok := h.Platform.(bridge.Typer)
	if !ok {
		return
	}
	if err := y.ShowTyping(t.Context(), Open(t, h.Platform, session("typing", "Maria"))); err != nil {
		t.Errorf("ShowTyping: %v", err)
	}
}

// testLostAnswer sends a message whose answer is lost, and sends it again as the relay does.
func testLostAnswer(t *testing.T, h *Harness) {
	cut, known := h.Faults[FaultCut]
	if !known {
		return
	}
	thread := Open(t, h.Platform, session("lost", "Maria"))
	part := h.Platform.Render(bridge.Outgoing{Thread: thread, Text: "once", Kind: bridge.KindMessage})[0]
	part.Key = "evt_1/0"
	began := time.Now()
	cut(thread)
	if _, err := h.Platform.Send(t.Context(), thread, part); err == nil {
		t.Fatal("the send worked")
	}
	part.Since = began
	ids, err := h.Platform.Send(t.Context(), thread, part)
	if err != nil {
		t.Fatalf("the second send: %v", err)
	}
	shown := h.Shown(thread)
	if want := map[bool]int{false: 1, true: 2}[h.RepeatsShow]; len(shown) != want {
		t.Errorf("the message is shown %d times, not %d", len(shown), want)
	}
	if len(ids) != 1 || shown[len(shown)-1].ID != ids[0] {
		t.Errorf("the second send returned %q; shown are %+v", ids, shown)
	}
	// Another message of the same text is another message.
	part.Key, part.Since = "evt_2/0", time.Time{}
	if _, err := h.Platform.Send(t.Context(), thread, part); err != nil {
		t.Fatal(err)
	}
	if again := h.Shown(thread); len(again) != len(shown)+1 {
		t.Errorf("a second message of the same text is not shown: %+v", again)
	}
}

func testListenChanges(t *testing.T, h *Harness) {
	inbox := NewInbox(h.Cursor)
	stop, _ := listen(t, h, inbox)
	thread := Open(t, h.Platform, session("changes", "Maria"))
	ours := Deliver(t, h.Platform, thread, bridge.Outgoing{Text: "question", Kind: bridge.KindMessage})
	id := h.Say(thread, "first", "")
	inbox.Wait(t, 1)
	await := func(kind bridge.UpdateKind, id bridge.MessageID, n int) bridge.Update {
		t.Helper()
		got := inbox.WaitFor(t, n, func(u bridge.Update) bool { return u.Kind == kind })
		u := got[n-1]
		if u.Message != id || u.ID == "" {
			t.Fatalf("the update is %+v, not of %q", u, id)
		}
		return u
	}
	if h.Edit != nil {
		h.Edit(thread, id, "second")
		one := await(bridge.UpdateEdit, id, 1)
		if one.Text != "second" || one.Edited.IsZero() || one.Author.Name != "Ana" {
			t.Errorf("the edit is %+v", one)
		}
		h.Edit(thread, id, "third")
		if two := await(bridge.UpdateEdit, id, 2); two.Text != "third" || two.ID == one.ID {
			t.Errorf("the second edit is %+v", two)
		}
	}
	if h.React != nil {
		h.React(thread, ours[0])
		await(bridge.UpdateReaction, ours[0], 1)
	}
	if h.Delete != nil {
		h.Delete(thread, id)
		await(bridge.UpdateDelete, id, 1)
	}
	checkStopped(t, stop())
}

func testListenFiles(t *testing.T, h *Harness) {
	source, ok := h.Platform.(bridge.FileSource)
	if !ok || h.Upload == nil {
		return
	}
	inbox := NewInbox(h.Cursor)
	stop, _ := listen(t, h, inbox)
	thread := Open(t, h.Platform, session("files-in", "Maria"))
	content := bytes.Repeat([]byte("0123456789"), 1000)
	id := h.Upload(thread, "notes.txt", "text/plain", content)
	u := inbox.Wait(t, 1)[0]
	if u.Message != id || len(u.Files) != 1 {
		t.Fatalf("the update is %+v", u)
	}
	f := u.Files[0]
	if f.Filename != "notes.txt" || f.Size != int64(len(content)) || f.BridgeFileID == "" || f.URL != "" {
		t.Errorf("the file is %+v", f)
	}
	for _, from := range []int64{0, 1234} {
		c, err := source.OpenFile(t.Context(), f.BridgeFileID, from)
		if err != nil {
			t.Fatalf("OpenFile: %v", err)
		}
		got, err := io.ReadAll(c.Body)
		if err != nil || c.Body.Close() != nil {
			t.Fatalf("reading: %v", err)
		}
		if c.From != 0 && c.From != from || !bytes.Equal(got, content[c.From:]) {
			t.Errorf("from byte %d: %d bytes from byte %d", from, len(got), c.From)
		}
		if c.Size != -1 && c.Size != int64(len(content)) {
			t.Errorf("the size is %d", c.Size)
		}
	}
	_, err := source.OpenFile(t.Context(), "no such file", 0)
	if err == nil {
		t.Fatal("a file that is not there was opened")
	}
	if d := checkError(t, h, err, "no such file"); d.Reason != bridge.ReasonRejected {
		t.Errorf("a file that is not there: %v", d)
	}
	checkStopped(t, stop())
}
