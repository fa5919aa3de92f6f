package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/sockloop/sockloop/server"
)

// problem is an error as RFC 9457 has it. The type is left out, so the title is that of the status.
type problem struct {
	Title   string   `json:"title"`
	Status  int      `json:"status"`
	Detail  string   `json:"detail"`
	Reasons []string `json:"reasons,omitempty"` // why the server is not ready
	// RetryAfterSeconds is also the header Retry-After, if it is not 0.
	RetryAfterSeconds int `json:"retry_after_seconds,omitempty"`
}

func (p problem) write(w http.ResponseWriter) {
	p.Title = http.StatusText(p.Status)
	if p.RetryAfterSeconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(p.RetryAfterSeconds))
	}
	writeJSON(w, p.Status, "application/problem+json", p)
}

// writeJSON answers with x, which can be encoded.
func writeJSON(w http.ResponseWriter, status int, contentType string, x any) {
	body, err := json.Marshal(x)
	if err != nil {
		panic(err) // answers have nothing in them that could not be encoded
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a peer that has gone learns nothing
}

func answer(w http.ResponseWriter, x any) { writeJSON(w, http.StatusOK, "application/json", x) }

// retryAfterSeconds is when the mailbox may have room again: it is emptied once a turn.
const retryAfterSeconds = 1

// problemOf is what the server's errors are over HTTP.
func problemOf(err error) problem {
	detail := strings.TrimPrefix(err.Error(), "server: ")
	switch {
	case errors.Is(err, server.ErrNoSession): // the admin plane calls it a connection
		return problem{Status: http.StatusNotFound, Detail: "there is no connection of that id"}
	case errors.Is(err, server.ErrNoTopic):
		return problem{Status: http.StatusNotFound, Detail: detail}
	case errors.Is(err, server.ErrMessageTooLarge):
		return problem{Status: http.StatusRequestEntityTooLarge, Detail: detail}
	case errors.Is(err, server.ErrMailboxFull), errors.Is(err, server.ErrTopicFull):
		return problem{Status: http.StatusTooManyRequests, Detail: detail, RetryAfterSeconds: retryAfterSeconds}
	case errors.Is(err, server.ErrNotRunning):
		return problem{Status: http.StatusServiceUnavailable, Detail: "the server is not running"}
	case errors.Is(err, context.DeadlineExceeded):
		return problem{Status: http.StatusGatewayTimeout,
			Detail: "the loop did not answer in time; what was asked for may be done all the same"}
	}
	return problem{Status: http.StatusInternalServerError, Detail: detail}
}

// withProblems makes problems of the errors that the mux writes as text: an unknown path, a method that is not allowed.
func withProblems(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(&muxError{ResponseWriter: w, path: r.URL.Path}, r)
	})
}

// muxError writes a problem instead of the mux's text.
type muxError struct {
	http.ResponseWriter
	path string
}

func (m *muxError) WriteHeader(status int) {
	detail := "there is no " + m.path + "; GET /api/openapi.yaml says what there is"
	if status == http.StatusMethodNotAllowed {
		detail = "want " + m.Header().Get("Allow")
	}
	problem{Status: status, Detail: detail}.write(m.ResponseWriter)
}

func (m *muxError) Write(p []byte) (int, error) { return len(p), nil }
