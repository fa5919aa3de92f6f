package admin

import "net/http"

// single lets one request at a time through: what is expensive, or has an answer of megabytes that stays in memory
// until it is read, or for the 30 s of the write timeout.
type single chan struct{}

func newSingle() single { return make(single, 1) }

// serve is next for one request, until its answer has left the handler; others are told to ask again.
func (s single) serve(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case s <- struct{}{}:
			defer func() { <-s }()
			next(w, r)
		default:
			problem{Status: http.StatusTooManyRequests, Detail: "another request of this kind is under way, and one " +
				"is answered at a time", RetryAfterSeconds: retryAfterSeconds}.write(w)
		}
	}
}
