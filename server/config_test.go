package server_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sockloop/sockloop/server"
)

// The defaults are those that the documentation promises.
func TestDefaults(t *testing.T) {
	t.Parallel()
	got, err := server.Config{ConnectionsMax: 100, MemoryBytesMax: 1 << 30}.WithDefaults()
	if err != nil {
		t.Fatal(err)
	}
	got.Logger = nil // says nothing, but is one
	want := server.Config{
		Addr: "127.0.0.1:8080", ConnectionsMax: 100, DescriptorsReserved: 256, SessionsMax: 200,
		RequestHeadBytesMax: 8192, RequestHeadersMax: 64, MessageBytesMax: 65_536, RawMessageBytesMax: 65_536,
		BodyBytesMax: 1_048_576, FrameBytesMax: 65_536, BatchBytesMax: 1_048_576, TurnBytesMax: 268_435_456,
		LogBytesMax: 16_777_216, OutboxBytesMax: 1_048_576, UnsentBytesMax: 131_072, MailboxMax: 65_536,
		MemoryBytesMax: 1 << 30, CompressLevel: 1, CompressBytesMin: 256, ReaderBytesPerSecond: 4_194_304,
		HandshakeTimeout: 10 * time.Second, KeepAliveTimeout: 75 * time.Second, PongTimeout: 10 * time.Second,
		CloseTimeout: 3 * time.Second, OverloadAfter: time.Second, TurnTarget: 200 * time.Millisecond,
		DrainWindow: time.Second, SlowConsumer: server.SlowConsumerClose,
		Options: server.Options{
			ResponseLimit: 131_072, HeartbeatDelay: 25 * time.Second, DisconnectDelay: 5 * time.Second,
			SockJSURL: got.SockJSURL, Transports: server.Transports(),
		},
	}
	for i := range reflect.TypeFor[server.Config]().NumField() {
		name := reflect.TypeFor[server.Config]().Field(i).Name
		has, wants := reflect.ValueOf(got).Field(i).Interface(), reflect.ValueOf(want).Field(i).Interface()
		if !reflect.DeepEqual(has, wants) {
			t.Errorf("%s is %v, want %v", name, has, wants)
		}
	}
}

// What one bound follows from another: room for the largest message, and two sessions for a connection.
func TestDefaultsFollowEachOther(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		config                 server.Config
		outbox, body, sessions int
	}{
		{server.Config{ConnectionsMax: 1}, 1 << 20, 1 << 20, 2},
		{server.Config{ConnectionsMax: 7, RawMessageBytesMax: 1 << 20}, 4 << 20, 1 << 20, 14},
		{server.Config{ConnectionsMax: 7, MessageBytesMax: 2 << 20}, 8 << 20, 2 << 20, 14},
	} {
		c, err := tt.config.WithDefaults()
		if err != nil || c.OutboxBytesMax != tt.outbox || c.BodyBytesMax != tt.body || c.SessionsMax != tt.sessions {
			t.Errorf("%v: %d, %d, %d of %+v", err, c.OutboxBytesMax, c.BodyBytesMax, c.SessionsMax, tt)
		}
	}
}

// A fault is told once, by the name of its field.
func TestConfigNamesAFaultOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]server.Config{
		"LogBytesMax": {LogBytesMax: -1}, "ConnectionsMax": {ConnectionsMax: 1<<30 + 1},
		"Gather": {Gather: -time.Second}, "GatherP99": {GatherP99: time.Minute + 1}, "Prefix": {Prefix: "/x/"},
		"SlowConsumer": {SlowConsumer: "shrug"}, "Addr": {Addr: "nonsense"}, "CloseTimeout": {CloseTimeout: 1},
		"PublishRate": {PublishRate: -1}, "PublishBytes": {PublishBytes: -1}, "SessionsMax": {SessionsMax: -1},
		"ResponseLimit":   {Options: server.Options{ResponseLimit: -1}},
		"DisconnectDelay": {Options: server.Options{DisconnectDelay: -1}},
		"BaseURL":         {Options: server.Options{BaseURL: "nonsense"}},
	} {
		if c.ConnectionsMax == 0 {
			c.ConnectionsMax = 1
		}
		_, err := c.WithDefaults()
		var all []string
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, err := range joined.Unwrap() {
				var fault *server.ConfigError
				if errors.As(err, &fault) {
					all = append(all, fault.Field)
				}
			}
		}
		if len(all) != 1 || all[0] != name {
			t.Errorf("%s: faults of %q: %v", name, all, err)
		}
	}
}

// The least and the most that each bound may be.
func TestConfigAtItsBounds(t *testing.T) {
	t.Parallel()
	for _, c := range []server.Config{
		{SessionsMax: 1}, {PublishRate: 1}, {PublishBytes: 1}, {LogBytesMax: 2048, BatchBytesMax: 1024},
		{HandshakeTimeout: time.Millisecond}, {Gather: time.Minute}, {GatherP99: time.Minute},
		{MessageBytesMax: 1}, {MessageBytesMax: server.RawMessageBytesLimit}, {RequestHeadersMax: 1 << 16},
		{Options: server.Options{ResponseLimit: 1, HeartbeatDelay: time.Millisecond}},
	} {
		c.ConnectionsMax = 1
		if _, err := server.New(c); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, c := range []server.Config{
		{SessionsMax: -1}, {PublishRate: -1}, {PublishBytes: -1}, {LogBytesMax: 2047, BatchBytesMax: 1024},
		{HandshakeTimeout: time.Millisecond - 1},
		{MessageBytesMax: server.RawMessageBytesLimit + 1}, {RequestHeadersMax: 1<<16 + 1},
		{Options: server.Options{HeartbeatDelay: time.Millisecond - 1}},
	} {
		c.ConnectionsMax = 1
		if _, err := server.New(c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
	// The descriptors of the process are for connections, but for those reserved.
	free := server.Config{DescriptorsReserved: 10}
	s, err := server.New(free)
	if err != nil || s == nil {
		t.Fatal(err)
	}
	var most int
	if _, err := server.New(server.Config{ConnectionsMax: 1 << 29}); err != nil {
		_, _ = fmt.Sscanf(err.Error()[strings.Index(err.Error(), "limit of "):], "limit of %d", &most)
	}
	if most == 0 {
		t.Skip("no limit of descriptors")
	}
	if _, err := server.New(server.Config{ConnectionsMax: most - 10, DescriptorsReserved: 10}); err != nil {
		t.Error(err)
	}
	_, err = server.New(server.Config{ConnectionsMax: most - 9, DescriptorsReserved: 10})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("ulimit -n %d)", most+1)) {
		t.Errorf("%d connections and 10 descriptors more of %d: %v", most-9, most, err)
	}
}

func TestConfigRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []server.Config{
		{Addr: "nonsense", ConnectionsMax: 1},
		{ConnectionsMax: -1},
		{ConnectionsMax: 1 << 29},
		{ConnectionsMax: 1, MessageBytesMax: server.RawMessageBytesLimit + 1},
		{ConnectionsMax: 1, HandshakeTimeout: -time.Second},
		{ConnectionsMax: 1, SlowConsumer: "shrug"},
		{ConnectionsMax: 1, LogBytesMax: 1024},
	} {
		if _, err := server.New(c); err == nil {
			t.Errorf("%+v was taken", c)
		} else if !strings.HasPrefix(err.Error(), "server: ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q is not one line that says where it is from", err)
		}
	}
}

func ExampleConfig() {
	c := server.DefaultConfig()
	fmt.Println(c.MessageBytesMax, c.HeartbeatDelay, c.SlowConsumer)
	// Output: 65536 25s close
}
