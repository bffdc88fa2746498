package platform

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// maxAnswer is the longest answer that is read, in bytes. A page of messages with all their markup is well below it.
	maxAnswer = 16 << 20
	tryAgain  = 2 * time.Second // what is not accepted now, as a Retry-After
)

// ErrTooLong is why an answer cannot be read that is.
var ErrTooLong = errors.New("the answer is too long")

// ReadAnswer reads an answer to its end and closes it.
func ReadAnswer(resp *http.Response) ([]byte, error) {
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = ErrTooLong
	}
	return body, err
}

// ReadRequest reads the body of a webhook's request, at most so many bytes. One that cannot be read it refuses, and returns false.
func ReadRequest(w http.ResponseWriter, r *http.Request, most int64) ([]byte, bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if err == nil {
		return body, true
	}
	if _, long := errors.AsType[*http.MaxBytesError](err); long {
		Refuse(w, http.StatusRequestEntityTooLarge)
	} else {
		Refuse(w, http.StatusBadRequest) // it was cut off
	}
	return nil, false
}

// Refuse answers a request with a status and its name.
func Refuse(w http.ResponseWriter, status int) { http.Error(w, http.StatusText(status), status) }

// NotNow has a platform send a request again soon.
func NotNow(w http.ResponseWriter) {
	w.Header().Set("Retry-After", strconv.Itoa(int(tryAgain/time.Second)))
	Refuse(w, http.StatusServiceUnavailable)
}

// ParseAPIURL reads the base URL of a server that speaks a platform's API; empty is the platform's own, standard. Slashes at its
// end are taken off. Its errors do not show the URL, which may carry a token by mistake.
func ParseAPIURL(text, standard string) (string, error) {
	text = strings.TrimRight(strings.TrimSpace(text), "/")
	if text == "" {
		return strings.TrimRight(standard, "/"), nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "", errors.New("is not a URL; it looks like " + standard)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return "", errors.New("must begin with http:// or https:// and a host; it looks like " + standard)
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return "", errors.New("must not have a query or a fragment; it looks like " + standard)
	case u.User != nil:
		return "", errors.New("must not have a user or a password in it")
	}
	return text, nil
}
