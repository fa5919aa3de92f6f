package admin

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/sockloop/sockloop/server"
)

func TestProblemOfEachError(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err    error
		status int
		detail string
	}{
		{server.ErrNoTopic, 404, "there is no topic of that name"},
		{server.ErrNoSession, 404, "there is no connection of that id"},
		{server.ErrMessageTooLarge, 413, "a message is larger than MessageBytesMax"},
		{server.ErrMailboxFull, 429, "the mailbox is full"},
		{server.ErrTopicFull, 429, "the topic's log is full: its readers must catch up first"},
		{server.ErrNotRunning, 503, "the server is not running"},
		{context.DeadlineExceeded, 504, "the loop did not answer in time; what was asked for may be done all the same"},
		{errors.New("else"), 500, "else"},
	} {
		p := problemOf(fmt.Errorf("%w", tt.err))
		if p.Status != tt.status || p.Detail != tt.detail || (p.RetryAfterSeconds > 0) != (tt.status == 429) {
			t.Errorf("%v: %+v", tt.err, p)
		}
	}
}
