package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/sockloop/sockloop/loadclient/results"
)

// report reads the results back, prints and writes the summary, and has sockload write the report.
func (b *bench) report(ctx context.Context) error {
	m, err := results.Load(results.Options{AllowOld: b.AllowOld}, b.Out)
	if err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(b.Out, "summary.md"))
	if err != nil {
		return err
	}
	fmt.Println()
	m.WriteMarkdown(io.MultiWriter(os.Stdout, f))
	if err := f.Close(); err != nil {
		return err
	}
	args := []string{"report", b.Out}
	if b.AllowOld {
		args = append(args, "--allow-old")
	}
	return b.sockload(ctx, args...)
}
