package api

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"

	"github.com/pocketping/bridge/internal/bridge"
)

// decoded returns a reader of a body without its content encoding. The size of what it gives is bounded by the caller.
func decoded(r *http.Request, body io.Reader) (io.Reader, error) {
	switch coding := strings.ToLower(strings.TrimSpace(strings.Join(r.Header.Values("Content-Encoding"), ","))); coding {
	case "", "identity":
		return body, nil
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(body)
		if err != nil {
			return nil, err
		}
		return z, nil
	default:
		return nil, &problem{status: http.StatusUnsupportedMediaType, code: "unsupported_encoding",
			text: "the body's Content-Encoding is not known here; send gzip or none"}
	}
}

// plainJSON returns a body without a byte order mark, which RFC 8259 lets a reader skip. JSON begins with ASCII, so that a zero among
// the first two bytes is UTF-16.
func plainJSON(text []byte) ([]byte, error) {
	if len(text) >= 2 && (text[0] == 0 || text[1] == 0 || bytes.HasPrefix(text, []byte("\xfe\xff")) || bytes.HasPrefix(text, []byte("\xff\xfe"))) {
		return nil, &bridge.FieldError{Problem: "the body is UTF-16; send it as UTF-8"}
	}
	return bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), nil
}

// most gives up with a *http.MaxBytesError when a reader gives more than a number of bytes.
type most struct {
	from io.Reader
	left int64
	max  int64
}

func (m *most) Read(p []byte) (int, error) {
	if int64(len(p)) > m.left+1 {
		p = p[:m.left+1]
	}
	n, err := m.from.Read(p)
	if int64(n) > m.left {
		return int(m.left), &http.MaxBytesError{Limit: m.max}
	}
	m.left -= int64(n)
	return n, err
}
