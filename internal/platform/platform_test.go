package platform

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
)

func TestSizeOf(t *testing.T) {
	for size, want := range map[int64]string{1: "1 B", 999: "999 B", 12345: "12 kB", 2_345_678: "2.3 MB", 5_000_000_000: "5.0 GB"} {
		if got := SizeOf(size); got != want {
			t.Errorf("%d: %q", size, got)
		}
	}
}

func TestContentRange(t *testing.T) {
	for text, want := range map[string]string{
		"bytes 5-9/10": "5 10 true", "bytes 0-0/*": "0 -1 true", "": "0 0 false", "bytes */10": "0 0 false", "bytes -5-9/10": "0 0 false",
		"items 5-9/10": "0 0 false", "bytes 5-9": "0 0 false",
	} {
		begin, whole, ok := ContentRange(text)
		if got := fmt.Sprint(begin, whole, ok); got != want {
			t.Errorf("%q: %s, not %s", text, got, want)
		}
	}
}

func TestFileLine(t *testing.T) {
	for _, c := range []struct {
		file           bridge.Attachment
		label, address string
	}{
		{bridge.Attachment{Filename: "a\nb.pdf", Size: 12345, URL: "https://x.test/ a"}, "📎 a b.pdf (12 kB): ", "https://x.test/a"},
		{bridge.Attachment{Filename: "\u200b"}, "📎 file", ""},
	} {
		if label, address := FileLine(c.file); label != c.label || address != c.address {
			t.Errorf("%q %q", label, address)
		}
	}
}

// A form has the length that it says, whatever its files' readers hold beyond theirs, and says what is missing of it.
func TestForm(t *testing.T) {
	form := func(r io.Reader) *Body {
		f := NewForm()
		f.Field("chat_id", "1", "")
		f.File("document", `a"b.txt`, "text/plain", bridge.File{Size: 4, Body: r})
		return f.Body()
	}
	whole := form(strings.NewReader("four and more"))
	all, err := io.ReadAll(whole)
	missing, _ := whole.Stop()
	if err != nil || int64(len(all)) != whole.Size || !strings.Contains(string(all), "\r\n\r\nfour\r\n--") || missing != "" {
		t.Errorf("%q %v %q", all, err, missing)
	}
	if _, err := whole.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("it is read after its end: %v", err)
	}
	for _, c := range []struct {
		r    io.Reader
		want string
		file bool
	}{
		{strings.NewReader("fou"), "the file is shorter than was said", true},
		{io.MultiReader(strings.NewReader("f"), failing{}), "the file broke off", true},
	} {
		short := form(c.r)
		_, err := io.ReadAll(short)
		if missing, file := short.Stop(); err == nil || missing != c.want || file != c.file {
			t.Errorf("%v %q %v", err, missing, file)
		}
	}
	if missing, file := form(strings.NewReader("four")).Stop(); missing == "" || file {
		t.Errorf("of a form that nobody read: %q %v", missing, file)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("gone") }

// The card says whether an identity is proved, where somebody looked.
func TestCardSaysVerified(t *testing.T) {
	yes, no := true, false
	for want, verified := range map[string]*bool{"a@b.c": nil, "a@b.c · ✅ verified": &yes, "a@b.c · not verified": &no} {
		card := CardOf(&bridge.Session{ID: "s", VisitorID: "v", Identity: &bridge.Identity{ID: "u", Email: "a@b.c", Verified: verified}})
		if card.Contact != want {
			t.Errorf("the card says %q, want %q", card.Contact, want)
		}
	}
}
