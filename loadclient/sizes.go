package loadclient

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// sizesDealt is how many sizes stand for a distribution: its percentiles.
const sizesDealt = 100

// ParseSizes reads the sizes of messages: one, 100; all between two, 100-2000; a distribution by some of its
// percentiles, p50=100,p99=4000; or the name of a file with a size and a weight on each line. The result has one size,
// or the distribution's percentiles; none for an empty text or 0.
func ParseSizes(s string) ([]int, error) {
	switch low, high, isRange := strings.Cut(s, "-"); {
	case s == "" || s == "0":
		return nil, nil
	case strings.HasPrefix(s, "p") && strings.Contains(s, "="):
		return parsePercentiles(s)
	case isRange && isNumber(low) && isNumber(high):
		from, err := parseSize(s, low)
		if err != nil {
			return nil, err
		}
		to, err := parseSize(s, high)
		if err == nil && to < from {
			err = fmt.Errorf("--payload-bytes %s: want the smaller size first", s)
		}
		return deal(func(q float64) float64 { return float64(from) + q*float64(to-from) }), err
	case isNumber(strings.TrimPrefix(s, "-")):
		size, err := parseSize(s, s)
		return []int{size}, err
	}
	return sizesOfFile(s)
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func parseSize(s, number string) (int, error) {
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n > payloadBytesMax {
		return 0, fmt.Errorf("--payload-bytes %s: want 0 to %d", s, payloadBytesMax)
	}
	return n, nil
}

// deal takes the middles of a distribution's hundredths.
func deal(quantile func(float64) float64) []int {
	all := make([]int, sizesDealt)
	for i := range all {
		all[i] = int(quantile((float64(i)+0.5)/sizesDealt) + 0.5)
	}
	return all
}

// parsePercentiles reads p50=100,p99=4000. Between two percentiles sizes are spread evenly, below the first from
// nothing on; the last is the largest.
func parsePercentiles(s string) ([]int, error) {
	type point struct {
		share float64
		size  int
	}
	points := []point{{}}
	for part := range strings.SplitSeq(s, ",") {
		name, value, _ := strings.Cut(part, "=")
		percent, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(name), "p"), 64)
		if err != nil || !strings.HasPrefix(strings.TrimSpace(name), "p") || percent <= 0 || percent > 100 {
			return nil, fmt.Errorf("--payload-bytes %s: %q: want percentiles such as p50=100,p99=4000", s, part)
		}
		size, err := parseSize(s, strings.TrimSpace(value))
		if err != nil {
			return nil, err
		}
		last := points[len(points)-1]
		switch {
		case percent/100 <= last.share || size < last.size:
			return nil, fmt.Errorf("--payload-bytes %s: want percentiles and sizes in rising order", s)
		case percent > 99 && percent < 100:
			return nil, fmt.Errorf("--payload-bytes %s: sizes are dealt in hundredths: want p99 or p100 at most", s)
		}
		points = append(points, point{percent / 100, size})
	}
	return deal(func(q float64) float64 {
		for i, p := range points[1:] {
			if before := points[i]; q <= p.share {
				return float64(before.size) + (q-before.share)/(p.share-before.share)*float64(p.size-before.size)
			}
		}
		return float64(points[len(points)-1].size)
	}), nil
}

// sizesOfFile reads lines with a size and a weight.
func sizesOfFile(name string) ([]int, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf(
			"--payload-bytes: want 100, 100-2000, p50=100,p99=4000, or a file with a size and a weight a line: %w", err)
	}
	type share struct {
		size   int
		weight float64
	}
	var all []share
	sum, number := 0., 0
	for line := range strings.Lines(string(text)) {
		number++
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		var x share
		if len(fields) == 2 {
			x.weight, err = strconv.ParseFloat(fields[1], 64)
		}
		if err != nil || len(fields) != 2 || !isNumber(fields[0]) || !(x.weight > 0 && x.weight < 1e300) {
			return nil, fmt.Errorf("--payload-bytes %s: line %d: want a size and a weight: 100 0.5", name, number)
		}
		if x.size, err = parseSize(name, fields[0]); err != nil {
			return nil, err
		}
		all, sum = append(all, x), sum+x.weight
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("--payload-bytes %s: there is no line in it: want a size and a weight on each", name)
	}
	slices.SortFunc(all, func(a, b share) int { return a.size - b.size })
	for _, x := range all {
		if x.weight < sum/sizesDealt {
			return nil, fmt.Errorf("--payload-bytes %s: size %d has less than a hundredth of all weight, and sizes "+
				"are dealt in hundredths: leave it out, or give it more", name, x.size)
		}
	}
	return deal(func(q float64) float64 {
		for _, x := range all {
			if q -= x.weight / sum; q <= 0 {
				return float64(x.size)
			}
		}
		return float64(all[len(all)-1].size)
	}), nil
}
