package server

import "time"

// rate is what a session may still publish: two buckets that fill with time, of one second's worth each. What overdraws
// them is delivered; what comes next waits until they are filled again.
type rate struct {
	messages, bytes       float64
	messagesMax, bytesMax float64 // a second; 0 is no limit
	at                    int64
}

func (r *rate) begin(now int64, cfg *Config) {
	r.messagesMax, r.bytesMax, r.at = float64(cfg.PublishRate), float64(cfg.PublishBytes), now
	r.messages, r.bytes = r.messagesMax, r.bytesMax
}

// spend takes a message of so many bytes, and tells whether another may follow.
func (r *rate) spend(bytes int, now int64) bool {
	if r.messagesMax == 0 && r.bytesMax == 0 {
		return true
	}
	r.fill(now)
	r.messages--
	r.bytes -= float64(bytes)
	return r.has()
}

func (r *rate) fill(now int64) {
	seconds := float64(now-r.at) / float64(time.Second/time.Millisecond)
	r.at = now
	r.messages = min(r.messages+seconds*r.messagesMax, r.messagesMax)
	r.bytes = min(r.bytes+seconds*r.bytesMax, r.bytesMax)
}

func (r *rate) has() bool {
	return (r.messagesMax == 0 || r.messages > 0) && (r.bytesMax == 0 || r.bytes > 0)
}
