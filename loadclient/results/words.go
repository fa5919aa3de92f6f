package results

import "fmt"

// Short writes a rate with three digits and a unit: 1.25M.
func Short(x float64) string { return scaled(x, "G", "M", "k") }

// long writes a rate with three digits and a word: 1.25 million.
func long(x float64) string { return scaled(x, " billion", " million", " thousand") }

func scaled(x float64, billions, millions, thousands string) string {
	switch {
	case x >= 1e9:
		return fmt.Sprintf("%.3g%s", x/1e9, billions)
	case x >= 1e6:
		return fmt.Sprintf("%.3g%s", x/1e6, millions)
	case x >= 1e3:
		return fmt.Sprintf("%.3g%s", x/1e3, thousands)
	}
	return fmt.Sprintf("%.3g", x)
}

// missing stands for what was not measured.
const missing = "–"

// measured writes a rate that was measured when it is not 0.
func measured(x float64) string {
	if x == 0 {
		return missing
	}
	return long(x)
}

// number writes a figure that may be missing, with three digits, or all it has before the point.
func number(x float64) string {
	switch {
	case x == 0:
		return missing
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	}
	return fmt.Sprintf("%.3g", x)
}

func megabytes(x float64) string { return number(x / 1e6) }

func share(x float64) string {
	if x == 0 {
		return missing
	}
	return fmt.Sprintf("%.0f %%", 100*x)
}
