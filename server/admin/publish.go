package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"unicode/utf8"
)

// messagesMax is how many messages one request may publish: a millisecond of the loop's time.
const messagesMax = 10_000

// publish sends a message, or an array of them, to the subscribers of a topic.
func (p *plane) publish(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(p.server.Config().BodyBytesMax)))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		problem{Status: http.StatusRequestEntityTooLarge,
			Detail: fmt.Sprintf("a body has at most %d bytes (--body-bytes-max)", tooLarge.Limit)}.write(w)
		return
	case err != nil: // the peer stopped halfway
		problem{Status: http.StatusBadRequest, Detail: "the body has not come whole"}.write(w)
		return
	}
	messages, err := readMessages(body)
	if err != nil {
		problem{Status: http.StatusBadRequest, Detail: err.Error()}.write(w)
		return
	}
	ctx, cancel := asking(r)
	defer cancel()
	topic := r.PathValue("topic")
	subscribers, err := p.server.Publish(ctx, topic, messages)
	if err != nil {
		problemOf(err).write(w)
		return
	}
	p.log.Debug("published by the admin plane", "topic", topic, "messages", len(messages), "subscribers", subscribers)
	answer(w, struct {
		Messages    int `json:"messages"`
		Subscribers int `json:"subscribers"`
	}{len(messages), subscribers})
}

// readMessages reads a JSON string, or an array of strings. The messages are owned by the caller.
func readMessages(body []byte) ([][]byte, error) {
	if !utf8.Valid(body) {
		return nil, errors.New("the body is not UTF-8")
	}
	var texts []*string // a null would pass for an empty string
	var one *string
	if json.Unmarshal(body, &one) == nil {
		texts = []*string{one}
	} else if json.Unmarshal(body, &texts) != nil {
		texts = []*string{nil}
	}
	if len(texts) > messagesMax {
		return nil, fmt.Errorf("%d messages, want at most %d", len(texts), messagesMax)
	}
	messages := make([][]byte, len(texts))
	for i, text := range texts {
		if text == nil {
			return nil, errors.New(`want a JSON string, or an array of strings; JSON in a message is encoded twice, ` +
				`as in "{\"temperature\":21}"`)
		}
		messages[i] = []byte(*text)
	}
	return messages, nil
}
