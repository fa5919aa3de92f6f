package main

import "github.com/sockloop/sockloop/tuning"

type doctor struct{}

// Run prints the report.
func (doctor) Run(out *console) error { return tuning.Examine().Print(out.out) }
