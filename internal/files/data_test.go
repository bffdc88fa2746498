package files

import (
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
)

// A data: URL is the file, in all the ways in which clients write one.
func TestFetchData(t *testing.T) {
	png := pngHead + "\xff\xfe\x00 a picture?"
	std := base64.StdEncoding.EncodeToString([]byte(png))
	for _, c := range []struct {
		a    bridge.Attachment
		want bridge.File // without its Body
		body string
	}{
		{bridge.Attachment{Filename: "a.png", Size: 520000, URL: "data:image/png;base64," + std}, bridge.File{Name: "a.png", Type: "image/png"}, png},
		{bridge.Attachment{URL: "DATA:;base64," + strings.TrimRight(std, "=")}, bridge.File{Name: "file", Type: "image/png"}, png},
		{bridge.Attachment{Filename: "a.png", URL: "data:image/png;base64," + strings.ReplaceAll(base64.URLEncoding.EncodeToString([]byte(png)), "=", "%3D")},
			bridge.File{Name: "a.png", Type: "image/png"}, png},
		{bridge.Attachment{Filename: "n.txt", URL: "data:text/plain;charset=utf-8,caf%C3%A9%20,%2B"}, bridge.File{Name: "n.txt", Type: "text/plain"}, "café ,+"},
		{bridge.Attachment{Filename: "n.txt", URL: "data:,x"}, bridge.File{Name: "n.txt", Type: "text/plain"}, "x"},
	} {
		got, closer, err := fetcher(t, FetchOptions{}).Fetch(t.Context(), c.a, 0)
		if err != nil {
			t.Errorf("%.40s: %v", c.a.URL, err)
			continue
		}
		body, _ := io.ReadAll(got.Body)
		if string(body) != c.body || got.Size != int64(len(c.body)) || got.Name != c.want.Name || got.Type != c.want.Type {
			t.Errorf("%.40s: %+v %q", c.a.URL, got, body)
		}
		_ = closer.Close()
	}
	for url, want := range map[string]string{
		"data:": "no content", "data:image/png;base64": "no content", "data:image/png;base64,": "empty", "data:,": "empty",
		"data:image/png;base64,§": "damaged", "data:,%zz": "damaged", "data:;base64," + strings.Repeat("AAAA", 2000): "longer than 4 kB",
	} {
		_, closer, err := fetcher(t, FetchOptions{}).Fetch(t.Context(), bridge.Attachment{URL: url}, 4096)
		if fault, ok := errors.AsType[*FetchError](err); !ok || !strings.Contains(fault.Reason, want) || fault.Temporary || closer != nil {
			t.Errorf("%.40s: %v", url, err)
		}
	}
}
