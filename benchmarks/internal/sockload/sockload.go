// Package sockload runs the load client, the program as its users have it, for the benchmarks.
package sockload

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"

	"github.com/sockloop/sockloop/loadclient/results"
)

// Its exit codes for what is a result all the same.
const (
	exitInvalid = 3 // the client or the machine was the limit: the records say so
	exitTarget  = 4 // the server failed, under a load or altogether
)

// Measured is an error of the program without its exit code for an invalid measurement.
func Measured(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == exitInvalid {
		return nil
	}
	return err
}

// Trial runs program for one trial, with further arguments, and reads what it prints. A server that failed under the
// load has a verdict that says so; one that is not there is an error.
func Trial(ctx context.Context, program string, args ...string) (t results.Trial, err error) {
	cmd := exec.CommandContext(ctx, program, append([]string{"trial", "--json"}, args...)...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err = Measured(cmd.Run())
	var exit *exec.ExitError
	if failed := errors.As(err, &exit) && exit.ExitCode() == exitTarget; failed && out.Len() > 0 {
		err = nil
	}
	if err == nil {
		err = json.Unmarshal(out.Bytes(), &t)
	}
	if err != nil {
		return t, fmt.Errorf("sockload trial: %w: %s", err, bytes.TrimSpace(said.Bytes()))
	}
	return t, nil
}
