package files

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/url"
	"strings"

	"github.com/pocketping/bridge/internal/bridge"
)

// decoded opens a file that came within its URL, as RFC 2397 has it: data:[<type>][;base64],<content>. The base64 may be of either
// alphabet, padded or not, and percent-encoded: clients write all of these.
func decoded(a bridge.Attachment, limit int64) (bridge.File, io.Closer, error) {
	head, text, ok := strings.Cut(a.URL[len("data:"):], ",")
	if !ok {
		return bridge.File{}, nil, cannot("the file's data: URL has no content")
	}
	text, err := url.PathUnescape(text)
	if err != nil {
		return bridge.File{}, nil, cannot("the file's data: URL is damaged")
	}
	content := []byte(text)
	typ, isBase64 := strings.CutSuffix(strings.TrimSpace(head), ";base64")
	if isBase64 {
		text = strings.NewReplacer("-", "+", "_", "/", "=", "", "\r", "", "\n", "", " ", "").Replace(text)
		if content, err = base64.RawStdEncoding.DecodeString(text); err != nil {
			return bridge.File{}, nil, cannot("the file's data: URL is damaged")
		}
	}
	switch {
	case len(content) == 0:
		return bridge.File{}, nil, cannot("the file is empty")
	case int64(len(content)) > limit:
		return bridge.File{}, nil, tooBig(limit)
	}
	file := bridge.File{Name: nameOf(a, &url.URL{}), Size: int64(len(content)), Body: bytes.NewReader(content)}
	if file.Type, err = typeOf(announced(a, file.Name), typ, content[:min(len(content), sniffed)]); err != nil {
		return bridge.File{}, nil, err
	}
	return file, io.NopCloser(nil), nil
}
