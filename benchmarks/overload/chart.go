package main

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"
)

// The chart's measures, in pixels.
const (
	width, plotHeight   = 860.0, 170.0
	left, right         = 70.0, 20.0
	top, between        = 40.0, 46.0
	echoMin, echoMax    = 0.1, 10_000.0 // ms, logarithmic
	chartHeight         = top + 2*plotHeight + 2*between
	foreground, subdued = "#222222", "#8a8a8a"
)

// draw is an SVG with two plots over the same seconds: round trips and answers above, memory below. It has its own
// background, so it reads the same by day and by night.
func draw(looks []look, from, until time.Duration) string {
	end := looks[len(looks)-1].at
	x := func(at time.Duration) float64 { return left + (width-left-right)*at.Seconds()/end.Seconds() }
	var b strings.Builder
	fmt.Fprintf(&b,
		`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="sans-serif" font-size="12">`,
		width, chartHeight)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#ffffff"/>`)
	fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="#f6e3d0"/>`,
		x(from), top, x(until)-x(from), 2*plotHeight+between)
	label(&b, x(from)+6, top-8, foreground, "the overload")
	echoY := func(ms float64) float64 {
		share := math.Log(min(max(ms, echoMin), echoMax)/echoMin) / math.Log(echoMax/echoMin)
		return top + plotHeight*(1-share)
	}
	for ms := echoMin; ms <= echoMax; ms *= 10 {
		grid(&b, echoY(ms), fmt.Sprintf("%g ms", ms))
	}
	line(&b, looks, "#1f6fb2", x, func(l look) (float64, bool) {
		return echoY(float64(l.echo.Microseconds()) / 1000), l.echo >= 0
	})
	line(&b, looks, "#2a9d5c", x, func(l look) (float64, bool) {
		return echoY(float64(l.info.Microseconds()) / 1000), l.info >= 0
	})
	for _, l := range looks {
		if l.admit == http.StatusServiceUnavailable {
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="2" fill="#c0392b"/>`, x(l.at), top+plotHeight-4)
		}
		if l.ready == http.StatusServiceUnavailable {
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="2" fill="#b7791f"/>`, x(l.at), top+plotHeight-12)
		}
	}
	label(&b, left+6, top+14, "#1f6fb2", "round trip of an echo")
	label(&b, left+150, top+14, "#2a9d5c", "/info on a new connection")
	label(&b, left+320, top+14, "#c0392b", "• a new session is refused")
	label(&b, left+490, top+14, "#b7791f", "• /readyz says 503")
	memoryTop := top + plotHeight + between
	largest := 1.0
	for _, l := range looks {
		largest = max(largest, float64(l.rss)/1e6)
	}
	memoryY := func(mb float64) float64 { return memoryTop + plotHeight*(1-mb/(1.2*largest)) }
	for i := range 4 {
		mb := math.Round(largest * float64(i) / 3)
		grid(&b, memoryY(mb), fmt.Sprintf("%.0f MB", mb))
	}
	line(&b, looks, "#6c4bb0", x, func(l look) (float64, bool) { return memoryY(float64(l.rss) / 1e6), l.rss > 0 })
	label(&b, left+6, memoryTop+14, "#6c4bb0", "resident memory of the server")
	for s := 0.0; s <= end.Seconds(); s += 10 {
		label(&b, x(time.Duration(s*float64(time.Second)))-8, memoryTop+plotHeight+18, subdued,
			fmt.Sprintf("%.0f s", s))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func label(b *strings.Builder, x, y float64, color, s string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" fill="%s">%s</text>`, x, y, color, s)
}

func grid(b *strings.Builder, y float64, label string) {
	fmt.Fprintf(b, `<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="#dddddd"/>`, left, width-right, y, y)
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" fill="%s" text-anchor="end">%s</text>`, left-8, y+4, subdued, label)
}

// line draws what value gives, with gaps where it gives nothing.
func line(b *strings.Builder, looks []look, color string, x func(time.Duration) float64,
	value func(look) (float64, bool)) {
	var points []string
	flush := func() {
		if len(points) > 0 {
			fmt.Fprintf(b, `<polyline fill="none" stroke="%s" stroke-width="1.6" points="%s"/>`, color,
				strings.Join(points, " "))
		}
		points = nil
	}
	for _, l := range looks {
		y, ok := value(l)
		if !ok {
			flush()
			continue
		}
		points = append(points, fmt.Sprintf("%.1f,%.1f", x(l.at), y))
	}
	flush()
}
