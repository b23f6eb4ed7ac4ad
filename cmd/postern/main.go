// Command postern receives what investment platforms push, keeps it safe, and
// publishes it to NATS JetStream in one vocabulary.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/seed75441868/postern/handlers"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for an orderly end. The second one finds the
	// default handling again, and ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
}

// process is what a command was given to work with. Nothing below main reads
// the process' own streams or environment.
type process struct {
	stdin     io.Reader
	stdout    io.Writer // data
	stderr    io.Writer // everything said to a person
	environ   []string  // as in os.Environ
	platforms []handlers.Platform
	outside   *surroundings // nil until a configuration is read
}

// run executes a command line and returns the exit code. It is safe to call
// from several tests at once.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, environ []string) int {
	return execute(ctx, args, &process{
		stdin:     stdin,
		stdout:    stdout,
		stderr:    stderr,
		environ:   environ,
		platforms: platforms(),
	})
}
