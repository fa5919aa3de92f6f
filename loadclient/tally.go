package loadclient

// tally counts the messages of one stream by sender. Messages of one sender with the same time are the same bytes, so
// no receiver could tell them apart; that they arrive as often as they were sent is what can be checked, and that times
// never run backwards.
type tally struct {
	idBase    int   // of the first sender
	form      *form // of the messages; nil for those of 2011
	messages  int   // ours
	greetings int   // not of this run, and expected
	foreign   int   // not of this run: somebody else is in the room, or the server garbles
	reordered int
	senders   []senderTally
}

type senderTally struct {
	count int
	sum   int64 // of the times: a loss and a duplicate of the same sender do not cancel out
	last  int64
}

func newTally(idBase, connections int) *tally {
	return &tally{idBase: idBase, senders: make([]senderTally, connections)}
}

// copyTo makes another tally the same, in the memory that it has.
func (t *tally) copyTo(to *tally) {
	senders := append(to.senders[:0], t.senders...)
	*to = *t
	to.senders = senders
}

// add counts a message.
func (t *tally) add(text []byte) parsed {
	m := t.form.parse(text, t.idBase, len(t.senders))
	switch {
	case m.sender >= 0:
	case t.form.expects(text):
		t.greetings++
		return m
	default:
		t.foreign++
		return m
	}
	t.messages++
	s := &t.senders[m.sender]
	s.count++
	s.sum += m.stamp
	if m.stamp < s.last {
		t.reordered++
	}
	s.last = m.stamp
	return m
}

// whole tells that everything that its senders sent has come, once and in order, and nothing else.
func (t *tally) whole(sent []senderTally) bool {
	lost, duplicated := t.compare(sent)
	return lost+duplicated+t.reordered+t.foreign == 0
}

// compare counts what is missing and what came too often, given what its senders sent.
func (t *tally) compare(sent []senderTally) (lost, duplicated int) {
	for i, s := range t.senders {
		switch {
		case s.count < sent[i].count:
			lost += sent[i].count - s.count
		case s.count > sent[i].count:
			duplicated += s.count - sent[i].count
		case s.sum != sent[i].sum:
			lost++
			duplicated++
		}
	}
	return lost, duplicated
}
