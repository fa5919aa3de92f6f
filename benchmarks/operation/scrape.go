package main

import (
	"context"
	"io"
	"net/http"
	"time"
)

// scrapeInterval is how often metrics are read; deploy/prometheus reads them every 15 s.
const scrapeInterval = time.Second

// scrape reads a process's metrics until ctx is done, as Prometheus does.
func scrape(ctx context.Context, admin string) {
	ticks := time.NewTicker(scrapeInterval)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/metrics", nil)
		if err != nil {
			continue
		}
		if res, err := http.DefaultClient.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
	}
}
