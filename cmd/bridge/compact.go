package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/pocketping/bridge/internal/store/bolt"
)

// compact gives the disk back what the embedded store's file no longer needs. The bridge must not be running; it does the same
// by itself when a large file is mostly empty.
func compact(getenv func(string) string, stdout io.Writer) error {
	c, err := loadConfig(getenv, os.ReadFile)
	if err != nil {
		return err
	}
	if c.RedisURL != "" {
		_, err := fmt.Fprintln(stdout, "REDIS_URL is set: the state is in Redis, there is no file to compact")
		return err
	}
	path := storeFile(c)
	before, after, err := bolt.Compact(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no store at %s: DATA_DIR leads elsewhere, or no bridge has run yet", path)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s: %s before, %s after\n", path, sizeText(before), sizeText(after))
	return err
}

// sizeText writes a number of bytes as people read it.
func sizeText(n int64) string {
	switch {
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	default:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
}
