package server

import "testing"

// A session may publish what a second allows at once, and then as much as the time since brings; messages and bytes
// count each for themselves, and where there is no limit nothing counts.
func TestRateOfASession(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		messages, bytes int // a second
		size            int
		atOnce          int
	}{
		{10, 0, 1000, 10}, {0, 1000, 100, 10}, {10, 1_000_000, 100, 10}, {1000, 1000, 100, 10}, {4, 1000, 500, 2},
		{1, 0, 7, 1},
	} {
		var r rate
		r.begin(5000, &Config{PublishRate: tt.messages, PublishBytes: tt.bytes})
		for n := 1; n <= tt.atOnce; n++ {
			if more := r.spend(tt.size, 5000); more != (n < tt.atOnce) {
				t.Errorf("%+v: after %d another may follow: %v", tt, n, more)
			}
		}
		if r.fill(5000); r.has() {
			t.Errorf("%+v: it may go on at once", tt)
		}
		if r.fill(5001); !r.has() {
			t.Errorf("%+v: a part of a message is paid for, and it may not go on", tt)
		}
		r.fill(5000 + 60_000) // not more than a second's worth is saved
		for n := 1; n <= tt.atOnce; n++ {
			if more := r.spend(tt.size, 65_000); more != (n < tt.atOnce) {
				t.Errorf("%+v: a minute later another may follow %d: %v", tt, n, more)
			}
		}
	}
	var r rate
	r.begin(0, &Config{})
	for range 100 {
		if !r.spend(1<<20, 0) || !r.has() {
			t.Fatal("there is no limit, and it is reached")
		}
	}
}

// Who has published too much waits for as long as that takes.
func TestRateIsOwed(t *testing.T) {
	t.Parallel()
	var r rate
	r.begin(0, &Config{PublishBytes: 1000})
	r.spend(3000, 0)
	if r.fill(2000); r.has() {
		t.Error("three seconds' worth are paid for in two")
	}
	if r.fill(2001); !r.has() {
		t.Error("three seconds' worth are not paid for after two")
	}
}
