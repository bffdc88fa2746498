package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// terminal is where a person answers.
type terminal struct {
	in  *os.File
	out io.Writer
}

// openTerminal returns the terminal, nil where there is nobody who could answer.
func openTerminal(in *os.File, out io.Writer) *terminal {
	if !term.IsTerminal(int(in.Fd())) {
		return nil
	}
	return &terminal{in, out}
}

var errNoAnswer = errors.New("nothing is written: the terminal is closed")

// ask shows a question and returns the line that is answered, without the white space around it. A secret is not shown. An error is ctx's,
// or errNoAnswer.
func (t *terminal) ask(ctx context.Context, question string, secret bool) (string, error) {
	_, _ = fmt.Fprint(t.out, question+" ")
	fd := int(t.in.Fd())
	before, _ := term.GetState(fd)
	type answer struct {
		text string
		err  error
	}
	got := make(chan answer, 1) // when ctx ends nobody takes it
	go func() {
		if secret {
			text, err := term.ReadPassword(fd)
			got <- answer{string(text), err}
			return
		}
		text, err := readLine(t.in)
		got <- answer{text, err}
	}()
	select {
	case a := <-got:
		if secret {
			_, _ = fmt.Fprintln(t.out)
		}
		if a.err != nil {
			return "", errNoAnswer
		}
		return strings.TrimSpace(a.text), nil
	case <-ctx.Done():
		if before != nil {
			_ = term.Restore(fd, before)
		}
		_, _ = fmt.Fprintln(t.out)
		return "", errors.New("nothing is written")
	}
}

// readLine takes no more than the line from the terminal, since the next one may be a secret.
func readLine(in io.Reader) (string, error) {
	var line []byte
	one := make([]byte, 1)
	for {
		n, err := in.Read(one)
		if n == 1 && one[0] == '\n' {
			return string(line), nil
		}
		if line = append(line, one[:n]...); err != nil {
			return "", err
		}
	}
}
