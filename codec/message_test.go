package codec

import "testing"

// The size of a message is that with quotes if it came from SockJS.
func TestMessageLen(t *testing.T) {
	t.Parallel()
	plain := Text([]byte("é"))
	var a Array
	if err := a.Begin([]byte(`["é"]`)); err != nil {
		t.Fatal(err)
	}
	quoted := a.Next()
	if plain.Len() != 2 || quoted.Len() != len(`"é"`) || string(quoted.Text()) != "é" {
		t.Errorf("%d bytes as it is, %d quoted (%q)", plain.Len(), quoted.Len(), quoted.Text())
	}
}

// A batch without messages adds nothing to another, not even a comma.
func TestAppendBatchOfNothing(t *testing.T) {
	t.Parallel()
	var b, none Batch
	m := Text([]byte("one"))
	b.Append(&m)
	if b.AppendBatch(&none); string(b.JSON) != `"one"` || b.Len() != 1 {
		t.Errorf("%q, %d messages", b.JSON, b.Len())
	}
}
