package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/files"
	"github.com/pocketping/bridge/internal/outbound"
	"github.com/pocketping/bridge/internal/site"
	"github.com/pocketping/bridge/internal/store"
)

// filesOnDisk is how much of the disk files on their way take at most, unless MAX_FILE is very large; in bytes.
const filesOnDisk = 512 << 20

// fileService is where the relay's files come from and go to.
type fileService struct {
	fetcher *files.Fetcher
	depot   *files.Depot
	links   *files.Links
	uploads *site.Uploads // visitors' files that pages have brought; nil: none are taken
}

// newFileService returns it. Links lead to PUBLIC_URL, else to this machine, where address is listened on.
func newFileService(ctx context.Context, c Config, st store.Store, guard *outbound.Guard, address net.Addr, platforms []bridge.Platform,
	log *slog.Logger,
) (*fileService, error) {
	key, err := files.LoadKey(ctx, st)
	if err != nil {
		return nil, err
	}
	base := c.PublicURL
	if base == "" {
		_, port, err := net.SplitHostPort(address.String())
		if err != nil {
			return nil, fmt.Errorf("the address that is listened on: %w", err)
		}
		base = "http://localhost:" + port
	}
	links, err := files.NewLinks(files.LinkOptions{
		Key: key, Base: base, TTL: c.LinkTTL, Proxies: c.TrustedProxies, Log: log,
		Source: func(name string) bridge.FileSource {
			for _, p := range platforms {
				if source, ok := p.(bridge.FileSource); ok && p.Name() == name {
					return source
				}
			}
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	var uploads *site.Uploads
	if len(c.Site.Origins) > 0 {
		uploads = site.NewUploads(site.UploadOptions{Store: st, Dir: c.Site.Uploads, Most: c.Site.MaxUpload, PerDay: c.Site.UploadsPerDay, Log: log})
	}
	return &fileService{
		uploads: uploads,
		fetcher: files.NewFetcher(files.FetchOptions{
			Guard: guard, MaxFile: c.MaxFile, UserAgent: "pocketping-bridge/" + buildVersion(),
		}),
		depot: files.NewDepot(files.DepotOptions{
			Dir: filepath.Join(c.DataDir, "files"), MaxBytes: max(filesOnDisk, 4*c.MaxFile), Log: log,
		}),
		links: links,
	}, nil
}

// Fetch implements relay.Files.
func (c *fileService) Fetch(ctx context.Context, a bridge.Attachment, most int64) (bridge.File, io.Closer, error) {
	if c.uploads != nil {
		file, closer, ours, err := c.uploads.Open(ctx, a)
		switch {
		case err != nil:
			return bridge.File{}, nil, err
		case ours && file.Size > most && most > 0:
			_ = closer.Close()
			return bridge.File{}, nil, &files.FetchError{Reason: "the file is too large"}
		case ours:
			return file, closer, nil
		}
	}
	return c.fetcher.Fetch(ctx, a, most)
}

// Link implements relay.Files.
func (c *fileService) Link(platform string, a bridge.Attachment) string {
	return c.links.Link(platform, a)
}
