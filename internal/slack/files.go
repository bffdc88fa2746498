package slack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	slackapi "github.com/slack-go/slack"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/outbound"
	"github.com/pocketping/bridge/internal/platform"
	"github.com/pocketping/bridge/internal/words"
)

const (
	// shareWait is how long it is waited until uploaded files are shown, so that what follows stands behind them. Slack shows
	// them when it has looked at them, after the call that completes the upload was answered.
	shareWait  = 10 * time.Second
	sharePause = 200 * time.Millisecond
	// slowest is the pace below which a file's transfer is given up, in bytes a second.
	slowest = 32 << 10
	// maxUploads is how many parts' files are remembered.
	maxUploads = 1000
	// maxShares is how many messages are remembered that show files.
	maxShares = 200
)

// info is what is read of a file.
type info struct {
	File struct {
		file
		Download string `json:"url_private_download"`
		Shares   struct {
			Public  map[string][]share `json:"public"`
			Private map[string][]share `json:"private"`
		} `json:"shares"`
	} `json:"file"`
}

type share struct {
	TS       string `json:"ts"`
	ThreadTS string `json:"thread_ts"`
}

// Upload implements bridge.Uploader: a place for each file, its content, then one call that shows all of them as one message.
// Only that call shows anything, so that all failures before it are ones that pass.
func (s *Slack) Upload(ctx context.Context, thread bridge.ThreadID, p bridge.Part, files []bridge.File) ([]bridge.MessageID, error) {
	parent, fault := s.place(thread, opUpload)
	if fault != nil {
		return nil, fault
	}
	if !p.Since.IsZero() && p.Key != "" {
		ids, ts, err := s.findFiles(ctx, parent, p, files)
		if err != nil || len(ids) > 0 {
			return uploadIDs(p, ids, ts), err
		}
	}
	if len(files) == 0 {
		return nil, &bridge.DeliveryError{Reason: bridge.ReasonRejected, Op: opUpload, Detail: "there is no file"}
	}
	summaries := make([]slackapi.FileSummary, 0, len(files))
	var ids []string
	for _, f := range files {
		id, err := s.put(ctx, f)
		if err != nil {
			return nil, err
		}
		summaries = append(summaries, slackapi.FileSummary{ID: id, Title: fileName(f.Name)})
		ids = append(ids, id)
	}
	s.remember(p.Key, ids)
	if err := s.do(ctx, opComplete, nil, s.joining(s.completing(p, parent, summaries))); err != nil {
		return nil, err
	}
	switch landed := s.shown(ctx, ids[len(ids)-1]); {
	case landed == nil:
		return uploadIDs(p, ids, ""), nil
	case landed.ThreadTS == parent:
		s.noteShare(landed.TS, ids[0])
		return uploadIDs(p, ids, landed.TS), nil
	}
	for _, id := range ids {
		if err := s.deleteFile(ctx, id); err != nil {
			s.log.Warn("a file that landed outside its thread stays in the channel", "op", opFileGone, "err", err)
		}
	}
	return nil, gone(opComplete)
}

// completing is the call that shows files which were uploaded, with a part's text beside them.
func (s *Slack) completing(p bridge.Part, parent string, files []slackapi.FileSummary) func(context.Context) error {
	form := url.Values{"token": {s.config.BotToken.Reveal()}, "channel_id": {s.channel}, "files": {string(bridge.MustJSON(files))}}
	if parent != "" {
		form.Set("thread_ts", parent)
	}
	switch blocks, plain := blocksOf(p, buttonMark(parent, p.Buttons)); {
	case blocks != nil:
		form.Set("blocks", string(bridge.MustJSON(blocks)))
	case plain != "":
		form.Set("initial_comment", escaped(plain))
	}
	name, icon := s.shownUnder(p.Face)
	return func(ctx context.Context) error {
		err := s.submit(ctx, opComplete, withFace(form, name, icon))
		if name+icon != "" && says(err, "missing_scope") { // it may be that of the name
			err = s.submit(ctx, opComplete, form)
		}
		return err
	}
}

// escaped is a text that is read as Slack's own markup, with no links, names or calls in it.
func escaped(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}

// withFace is a form with the name and the icon that a message is shown under.
func withFace(form url.Values, name, icon string) url.Values {
	form = maps.Clone(form)
	if name != "" {
		form.Set("username", name)
	}
	if icon != "" {
		form.Set("icon_emoji", icon)
	}
	return form
}

// submit makes a call with parameters that the library does not know.
func (s *Slack) submit(ctx context.Context, op string, form url.Values) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+op, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	_, err = answers{s.calls}.Do(req) //nolint:bodyclose // it was read and closed
	return err
}

// uploadIDs are the ids of what an upload has become: that of its text, where it has one, and those of the files.
func uploadIDs(p bridge.Part, files []string, ts string) []bridge.MessageID {
	var ids []bridge.MessageID
	if p.Text != "" && len(files) > 0 {
		ids = append(ids, bridge.MessageID(cmp.Or(ts, besideFile+files[0])))
	}
	for _, id := range files {
		ids = append(ids, bridge.MessageID(fileID+id))
	}
	return ids
}

// fileName is the name that a file is shown under; Slack refuses an empty one.
func fileName(name string) string {
	return cmp.Or(measure.OneLine(name, platform.MaxLine), words.Get().File)
}

// put gives Slack a file's content. Nobody sees it yet. It is sent as it is, without a form around it, so that its size is known.
func (s *Slack) put(ctx context.Context, f bridge.File) (id string, err error) {
	if f.Size <= 0 {
		return "", &bridge.DeliveryError{Reason: bridge.ReasonRejected, Op: opTicket, Detail: "the file is empty"}
	}
	var ticket slackapi.GetUploadURLExternalResponse
	err = s.do(ctx, opTicket, &ticket, func(ctx context.Context) error {
		return only(s.api.GetUploadURLExternalContext(ctx, slackapi.GetUploadURLExternalParameters{
			FileName: fileName(f.Name), FileSize: int(f.Size)}))
	})
	if err != nil {
		return "", repeatable(err)
	}
	to, err := url.Parse(ticket.UploadURL)
	if err != nil || ticket.FileID == "" || !s.trusted(to) {
		return "", &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: opTicket, Detail: "the answer names no place for the file"}
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout+time.Duration(f.Size/slowest)*time.Second)
	defer cancel()
	ctx, x := outbound.Trace(ctx)
	body := platform.FileBody(f)
	defer body.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), body)
	if err != nil {
		return "", repeatable(outbound.Failure(opUpload, err, x, s.secrets...))
	}
	req.ContentLength = body.Size
	req.Header.Set("Content-Type", body.Type)
	resp, err := s.content.Do(req)
	if err != nil {
		d := outbound.Failure(opUpload, err, x, s.secrets...)
		if d.Reason == bridge.ReasonUnconfirmed {
			// The source of the content may be what broke off: nothing is shown, and nothing is said of Slack.
			d.Reason, d.Scope = bridge.ReasonTransient, bridge.ScopeSession
		}
		return "", d
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 4096))
	if resp.StatusCode >= 300 {
		d := classify(opUpload, &refusal{Status: resp.StatusCode, Opaque: true}, x, s.secrets...)
		if resp.StatusCode == http.StatusRequestEntityTooLarge || resp.StatusCode == http.StatusBadRequest {
			d.Reason, d.Scope, d.Detail = bridge.ReasonRejected, bridge.ScopeSession, "HTTP "+strconv.Itoa(resp.StatusCode)
		}
		return "", d
	}
	return ticket.FileID, nil
}

// shown waits until a file is shown in the channel, and returns where; nothing when that takes too long or cannot be seen. The
// call that shows it was answered, so that nothing here is a failure of the upload.
func (s *Slack) shown(ctx context.Context, id string) *share {
	ctx, cancel := context.WithTimeout(ctx, s.shareWait)
	defer cancel()
	for pause := s.sharePause; ; pause = min(2*pause, time.Second) {
		landed, err := s.shareOf(ctx, id)
		if err != nil || landed != nil || platform.Wait(ctx, pause) != nil {
			return landed
		}
	}
}

// shareOf returns where a file is shown in the channel; nothing while it is not.
func (s *Slack) shareOf(ctx context.Context, id string) (*share, error) {
	f, err := s.info(ctx, id)
	if err != nil {
		return nil, err
	}
	for _, one := range slices.Concat(f.File.Shares.Public[s.channel], f.File.Shares.Private[s.channel]) {
		if one.TS != "" {
			return &one, nil
		}
	}
	return nil, nil
}

func (s *Slack) info(ctx context.Context, id string) (*info, error) {
	var f info
	err := s.read(ctx, opFile, &f, func(ctx context.Context) error {
		_, _, _, err := s.api.GetFileInfoContext(ctx, id, 1, 1)
		return err
	})
	return &f, err
}

// remember keeps which files a part has become, for the case that the answer is lost which says that they are shown.
func (s *Slack) remember(key string, ids []string) {
	if key == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.uploads) >= maxUploads {
		clear(s.uploads)
	}
	s.uploads[key] = ids
}

// noteShare keeps which message shows a file, so that a reaction to it is known as one to the file.
func (s *Slack) noteShare(ts, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.shares) >= maxShares {
		clear(s.shares)
	}
	s.shares[ts] = bridge.MessageID(fileID + id)
}

// findFiles looks for what a call has shown whose answer was lost. Files carry no mark: they are known by the ids that this
// process got for them, or, after a restart, by being all of a message of ours with these names, in this order.
func (s *Slack) findFiles(ctx context.Context, parent string, p bridge.Part, files []bridge.File) (found []string, ts string, err error) {
	s.mu.Lock()
	ids := s.uploads[p.Key]
	others := slices.Concat(slices.Collect(maps.Values(s.uploads))...)
	s.mu.Unlock()
	if len(ids) > 0 {
		landed, err := s.shareOf(ctx, ids[len(ids)-1])
		if d, _ := errors.AsType[*bridge.DeliveryError](err); d != nil && d.Reason != bridge.ReasonRejected {
			return nil, "", err
		}
		if landed != nil {
			return ids, landed.TS, nil
		}
		return nil, "", nil
	}
	err = s.messages(ctx, query{Timestamp: parent, Oldest: tsOf(p.Since.Add(-clockSlack))}, func(m *message) bool {
		same := s.own(m) && slices.EqualFunc(m.Files, files, func(a file, b bridge.File) bool {
			return a.ID != "" && !slices.Contains(others, a.ID) && (a.Name == fileName(b.Name) || a.Title == fileName(b.Name)) &&
				(a.Size == 0 || a.Size == b.Size)
		})
		if same && len(m.Files) > 0 {
			ts = m.TS
			for _, f := range m.Files {
				found = append(found, f.ID)
			}
		}
		return found == nil
	})
	if d, _ := errors.AsType[*bridge.DeliveryError](err); d != nil && (d.Reason == bridge.ReasonRejected ||
		d.Reason == bridge.ReasonAuth && strings.HasPrefix(d.Detail, "missing_scope")) {
		return nil, "", nil
	}
	return found, ts, err
}

// besideOf returns the ts of the message whose text stands beside a file, which was not shown yet when it was uploaded.
func (s *Slack) besideOf(ctx context.Context, id bridge.MessageID, op string) (string, error) {
	ref, ok := strings.CutPrefix(string(id), besideFile)
	if !ok {
		return string(id), nil
	}
	landed, err := s.shareOf(ctx, ref)
	switch {
	case platform.ReasonOf(err) == bridge.ReasonRejected:
		return "", &bridge.DeliveryError{Reason: bridge.ReasonMessageGone, Op: op, Detail: "the file that it stands beside is gone"}
	case err != nil:
		return "", err
	case landed == nil:
		return "", &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: op, Detail: "the file that it stands beside is not shown yet"}
	}
	return landed.TS, nil
}

// deleteFile takes a file away, and with it the message that shows it.
func (s *Slack) deleteFile(ctx context.Context, id string) error {
	return s.makeSo(ctx, opFileGone, func(ctx context.Context) error {
		return s.api.DeleteFileContext(ctx, id)
	}, "file_not_found", "file_deleted")
}

// OpenFile implements bridge.FileSource. The token goes to Slack's hosts alone: a file's URL may lead elsewhere.
func (s *Slack) OpenFile(ctx context.Context, ref string, from int64) (*bridge.Content, error) {
	f, err := s.info(ctx, ref)
	if err != nil {
		return nil, err
	}
	at, err := url.Parse(cmp.Or(f.File.Download, f.File.Private))
	if err != nil || at.Host == "" || !s.trusted(at) {
		return nil, &bridge.DeliveryError{Reason: bridge.ReasonRejected, Op: opFile, Detail: "the file is not at Slack"}
	}
	ctx, x := outbound.Trace(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, platform.Repeatable(outbound.Failure(opDownload, err, x, s.secrets...))
	}
	req.Header.Set("Authorization", "Bearer "+s.config.BotToken.Reveal())
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	resp, err := s.content.Do(req)
	if err != nil {
		return nil, platform.Repeatable(outbound.Failure(opDownload, err, x, s.secrets...))
	}
	content, fault := contentOf(resp, &f.File.file)
	if fault != nil {
		_ = resp.Body.Close()
		if fault.Reason == bridge.ReasonRateLimited {
			fault.RetryAfter = cmp.Or(x.RetryAfter, defaultRetryAfter)
		}
		return nil, fault
	}
	return content, nil
}

// contentOf reads the head of a download.
func contentOf(resp *http.Response, f *file) (*bridge.Content, *bridge.DeliveryError) {
	fault := func(reason bridge.Reason, scope bridge.Scope, detail string) *bridge.DeliveryError {
		return &bridge.DeliveryError{Reason: reason, Scope: scope, Op: opDownload, Detail: detail}
	}
	const signIn = "a sign-in page instead of the file: the app may lack the scope files:read"
	status := "HTTP " + strconv.Itoa(resp.StatusCode)
	c := &bridge.Content{Body: resp.Body, Size: -1, Type: resp.Header.Get("Content-Type")}
	switch {
	case resp.StatusCode == http.StatusOK:
		c.Size = resp.ContentLength
	case resp.StatusCode == http.StatusPartialContent:
		var ok bool
		if c.From, c.Size, ok = platform.ContentRange(resp.Header.Get("Content-Range")); !ok {
			return nil, fault(bridge.ReasonTransient, bridge.ScopeSession, "a part of the file that is not said")
		}
	case resp.StatusCode == http.StatusTooManyRequests:
		return nil, fault(bridge.ReasonRateLimited, bridge.ScopeSession, status)
	case resp.StatusCode >= 500:
		return nil, fault(bridge.ReasonTransient, bridge.ScopeDestination, status)
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return nil, fault(bridge.ReasonRejected, bridge.ScopeSession, signIn)
	default:
		return nil, fault(bridge.ReasonRejected, bridge.ScopeSession, status)
	}
	// Without access Slack answers with a page of its own, and with 200. A file that is a page itself has its own size.
	if isPage(c.Type) && (!isPage(f.Mimetype) || f.Size > 0 && c.Size > 0 && c.Size != f.Size) {
		return nil, fault(bridge.ReasonRejected, bridge.ScopeSession, signIn)
	}
	if c.Size < 0 && f.Size > 0 {
		c.Size = f.Size
	}
	c.Type = cmp.Or(f.Mimetype, c.Type)
	return c, nil
}

func isPage(mediaType string) bool {
	kind, _, err := mime.ParseMediaType(mediaType)
	return err == nil && kind == "text/html"
}
