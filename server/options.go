package server

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

// Options are how a service speaks SockJS, under the names that sockjs-node gives them. A zero field stands for the
// default of DefaultOptions.
type Options struct {
	ResponseLimit   int           // response_limit: bytes of payload after which a streaming response ends
	HeartbeatDelay  time.Duration // heartbeat_delay: silence before a heartbeat or ping is sent
	DisconnectDelay time.Duration // disconnect_delay: how long a session over HTTP may be without a receiver
	SockJSURL       string        // sockjs_url: the client's script for the iframe page; default: our copy
	BaseURL         string        // base_url: what /info tells clients to use as the service's URL, when not empty
	JSessionID      bool          // jsessionid: set a cookie of that name, for load balancers that are sticky by it
	NoWebSocket     bool          // websocket off, raw WebSocket included

	// Transports are those that are on, under the names of Transports; empty means all.
	Transports []string

	// Origins are the origins whose pages may use the service, such as "https://example.com"; empty means any. A list
	// holds for every transport, and must have the server's own origin if pages or iframes of that use it.
	Origins []string
}

// Names of transports, as Session.Transport gives them and Options.Transports takes them: sockjs-node's.
const (
	TransportWebSocket    = "websocket"
	TransportRawWebSocket = "websocket-raw"
	TransportXHRStreaming = "xhr-streaming"
	TransportXHRPolling   = "xhr-polling"
	TransportEventSource  = "eventsource"
	TransportHTMLFile     = "htmlfile"
	TransportJSONPPolling = "jsonp-polling"
)

var transports = [...]string{
	TransportWebSocket, TransportRawWebSocket, TransportXHRStreaming, TransportXHRPolling, TransportEventSource,
	TransportHTMLFile, TransportJSONPPolling,
}

// Transports lists the names of all transports, the best first.
func Transports() []string { return slices.Clone(transports[:]) }

func transportIndex(name string) int { return slices.Index(transports[:], name) }

// DefaultOptions are sockjs-node's.
func DefaultOptions() Options {
	return Options{
		ResponseLimit: 128 << 10, HeartbeatDelay: 25 * time.Second, DisconnectDelay: 5 * time.Second,
		Transports: Transports(),
	}
}

// fillIn gives zero fields their defaults.
func (o *Options) fillIn() {
	d := DefaultOptions()
	if o.ResponseLimit == 0 {
		o.ResponseLimit = d.ResponseLimit
	}
	if o.HeartbeatDelay == 0 {
		o.HeartbeatDelay = d.HeartbeatDelay
	}
	if o.DisconnectDelay == 0 {
		o.DisconnectDelay = d.DisconnectDelay
	}
	if len(o.Transports) == 0 {
		o.Transports = d.Transports
	}
}

func (o *Options) check(f *faults) {
	if o.ResponseLimit < 1 {
		f.add("ResponseLimit", "ResponseLimit is %d, want at least 1", o.ResponseLimit)
	}
	o.checkDelay("HeartbeatDelay", o.HeartbeatDelay, f)
	o.checkDelay("DisconnectDelay", o.DisconnectDelay, f)
	for _, name := range o.Transports {
		if !slices.Contains(Transports(), name) {
			f.add("Transports", "no transport is called %q; there are %s", name, strings.Join(Transports(), ", "))
		}
	}
	for _, origin := range o.Origins {
		if u, err := url.Parse(origin); err != nil || origin != originOf(u) {
			f.add("Origins", "origin %q: want scheme and host alone, in lower case and without the scheme's "+
				"own port, as in https://example.com", origin)
		}
	}
	o.checkURL("SockJSURL", o.SockJSURL, f)
	o.checkURL("BaseURL", o.BaseURL, f)
}

func (*Options) checkDelay(name string, d time.Duration, f *faults) {
	if d < time.Millisecond {
		f.add(name, "%s is %v, want at least 1ms", name, d)
	}
}

func (*Options) checkURL(name, s string, f *faults) {
	if u, err := url.Parse(s); err != nil || strings.ContainsAny(s, "\"<> ") ||
		s != "" && u.Host == "" && !strings.HasPrefix(s, "/") {
		f.add(name, "%s is %q, want a URL, or a path that begins with a slash", name, s)
	}
}

// has tells whether a transport is on.
func (o *Options) has(transport string) bool {
	if o.NoWebSocket && (transport == TransportWebSocket || transport == TransportRawWebSocket) {
		return false
	}
	return slices.Contains(o.Transports, transport)
}

// originOf is the origin of a URL, as browsers write it (RFC 6454 section 6.2).
func originOf(u *url.URL) string {
	origin := strings.ToLower(u.Scheme + "://" + u.Host)
	switch u.Scheme {
	case "http":
		return strings.TrimSuffix(origin, ":80")
	case "https":
		return strings.TrimSuffix(origin, ":443")
	}
	return origin
}
