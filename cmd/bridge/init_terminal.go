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
	in    *os.File
	out   io.Writer
	lines *term.Terminal
}

// openTerminal returns the terminal, nil where there is nobody who could answer.
func openTerminal(in *os.File, out io.Writer) *terminal {
	if !term.IsTerminal(int(in.Fd())) {
		return nil
	}
	return &terminal{in, out, term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{in, out}, "")}
}

var errNoAnswer = errors.New("nothing is written: it was given up")

// ask shows a question and returns the line that is answered, without the white space around it. A secret is not shown. An error is
// errNoAnswer: ctx ended, or the person has had enough.
func (t *terminal) ask(ctx context.Context, question string, secret bool) (string, error) {
	if at := strings.LastIndexByte(question, '\n'); at >= 0 {
		_, _ = fmt.Fprint(t.out, question[:at+1])
		question = question[at+1:]
	}
	// What is typed is not shown from before the question on, whoever types ahead.
	fd := int(t.in.Fd())
	before, err := term.MakeRaw(fd)
	if err != nil {
		return "", errNoAnswer
	}
	defer func() { _ = term.Restore(fd, before) }()
	type answer struct {
		text string
		err  error
	}
	got := make(chan answer, 1) // when ctx ends nobody takes it
	go func() {
		if secret {
			text, err := t.lines.ReadPassword(question + " ")
			got <- answer{text, err}
			return
		}
		t.lines.SetPrompt(question + " ")
		text, err := t.lines.ReadLine()
		got <- answer{text, err}
	}()
	select {
	case a := <-got:
		if a.err != nil && !errors.Is(a.err, term.ErrPasteIndicator) {
			return "", errNoAnswer
		}
		return strings.TrimSpace(a.text), nil
	case <-ctx.Done():
		return "", errNoAnswer
	}
}
