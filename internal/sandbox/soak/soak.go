// Package soak tells tests whether the long counts are asked for, and keeps what these come to for the table of make soak.
package soak

import (
	"errors"
	"fmt"
	"os"
	"testing"
)

// Asked says whether the tests are to run long.
func Asked() bool { return os.Getenv("SOAK") != "" }

// Row says what a count came to, and adds it to the table.
func Row(t testing.TB, format string, args ...any) {
	t.Helper()
	result := fmt.Sprintf(format, args...)
	t.Log(result)
	name := os.Getenv("SOAK_ROWS")
	if name == "" {
		return
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600) //nolint:gosec // whoever asks for the long counts names it
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(f, "| %s | %s |\n", t.Name(), result)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}
