// Package uplot is uPlot 1.6.32 (MIT, github.com/leeoniya/uPlot), which draws the charts of all pages, as npm has it.
package uplot

import _ "embed" // the files

// Script is the library, and CSS its style sheet, minified.
var (
	//go:embed uplot-1.6.32.min.js
	Script string
	//go:embed uplot-1.6.32.min.css
	CSS string
)
