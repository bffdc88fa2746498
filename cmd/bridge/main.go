// Command bridge carries the conversations of a website's visitors to Telegram and the operators' answers back. It has a few
// subcommands; without one it serves. See the README.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := untilAsked()
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// untilAsked ends when the program is asked to: by Ctrl-C, by whoever manages it, or because its terminal is closed.
func untilAsked() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
}
