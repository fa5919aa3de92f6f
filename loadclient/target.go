package loadclient

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Target is a server to load.
type Target struct {
	Addr     string // host:port
	Path     string // of the request that opens a connection; {room} in it is the room's number
	Query    string // of every request, without its question mark; the same of {room}
	Protocol Protocol
	Origin   string // header of the handshake, none when empty

	TLS          *tls.Config    `json:"-"` // nil for none
	CA           []byte         // certificates in PEM that TLS trusts beside the system's
	Host         string         // header of every request; Addr when empty
	Header       http.Header    // further headers of every request
	Bearers      []string       // tokens; connection i has number i modulo as many as there are
	Subprotocols []string       // of which the server must choose one
	SendFirst    []string       // messages of each connection before anything is measured; {id} is the connection's
	Greeting     *regexp.Regexp // messages that are not of the run and no surprise; nil for none
	Payload      Payload        // what is sent; the zero value is that of 2011
	Compress     bool           // permessage-deflate, without context of the server's: RFC 7692

	receiveBuffer int // of each socket, in bytes: SO_RCVBUF; 0 leaves it to the kernel
}

// ParseTarget reads a URL: ws://host:port/path?query, or wss, http, https. With SockJS the path is the service's
// prefix, and connections open at prefix/0/0/websocket; a path that ends in /websocket is taken as it is. A name and a
// password become basic authorization. What cannot be part of a request is refused.
func ParseTarget(s string, p Protocol) (Target, error) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || !slices.Contains([]string{"ws", "wss", "http", "https"}, u.Scheme) {
		return Target{}, fmt.Errorf(
			"target %q: want a URL such as ws://127.0.0.1:8080/broadcast or wss://example.org/chat", hidden(s))
	}
	switch {
	case strings.Contains(s, "#"):
		return Target{}, fmt.Errorf("target %q: a fragment is never sent: leave out what begins with #, or write %%23",
			u.Redacted())
	case strings.ContainsAny(u.RawQuery, " \"<>"):
		return Target{}, fmt.Errorf("target %q: in the query, write spaces, quotes and angle brackets as %%20, %%22, …",
			u.Redacted())
	}
	t := Target{Addr: u.Host, Path: escapedPath(u), Query: u.RawQuery, Protocol: p, Host: u.Host}
	port := ":80"
	if u.Scheme == "wss" || u.Scheme == "https" {
		port = ":443"
		t.TLS = tlsFor(u.Hostname())
	}
	if u.Port() == "" {
		t.Host = strings.TrimSuffix(u.Host, ":")
		t.Addr = t.Host + port
	} else if n, err := strconv.ParseUint(u.Port(), 10, 16); err != nil || n == 0 {
		return Target{}, fmt.Errorf("target %q: port %s: want 1 to 65535", u.Redacted(), u.Port())
	}
	if path := declared(p).path; path != nil {
		t.Path = path(t.Path)
	}
	if u.User != nil {
		password, _ := u.User.Password()
		login := base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password))
		t.Header = http.Header{"Authorization": {"Basic " + login}}
	}
	return t, nil
}

func tlsFor(server string) *tls.Config {
	return &tls.Config{ServerName: server, NextProtos: []string{"http/1.1"}}
}

// roomPlace is what stands for the number of a connection's room in a target's path and query.
const roomPlace = "{room}"

// escapedPath is a URL's path as it is asked for, but {room} as it was written.
func escapedPath(u *url.URL) string {
	if !strings.Contains(u.RawPath, roomPlace) {
		return u.EscapedPath()
	}
	// To package url braces are a wrong encoding, for which it would choose one of its own for the whole path.
	escaped := url.PathEscape(roomPlace)
	u.RawPath = strings.ReplaceAll(u.RawPath, roomPlace, escaped)
	return strings.ReplaceAll(u.EscapedPath(), escaped, roomPlace)
}

// perRoom tells whether each room has a URL of its own.
func (t Target) perRoom() bool { return strings.Contains(t.request(t.Path), roomPlace) }

// in is the target as the connections of a room ask for it.
func (t Target) in(room int) Target {
	if t.perRoom() {
		number := strconv.Itoa(room)
		t.Path = strings.ReplaceAll(t.Path, roomPlace, number)
		t.Query = strings.ReplaceAll(t.Query, roomPlace, number)
	}
	return t
}

// hidden is a URL that could not be read, without what may be a password.
func hidden(s string) string {
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		return "…" + s[at:]
	}
	return s
}

// String is the target's URL, without a password.
func (t Target) String() string {
	scheme := declared(t.Protocol).scheme
	if t.TLS != nil {
		scheme += "s"
	}
	return scheme + "://" + t.Addr + t.request(t.Path)
}

// Insecure tells whether the server's certificate is not checked.
func (t Target) Insecure() bool { return t.TLS != nil && t.TLS.InsecureSkipVerify }

// request is a path with the target's query.
func (t Target) request(path string) string {
	switch {
	case t.Query == "":
		return path
	case strings.Contains(path, "?"):
		return path + "&" + t.Query
	}
	return path + "?" + t.Query
}

// host is the header of that name.
func (t Target) host() string {
	if t.Host == "" {
		return t.Addr
	}
	return t.Host
}

// header is what connection i adds to its requests.
func (t Target) header(i int) http.Header {
	h := t.Header.Clone()
	if h == nil {
		h = http.Header{}
	}
	if t.Origin != "" && h.Get("Origin") == "" {
		h.Set("Origin", t.Origin)
	}
	if n := len(t.Bearers); n > 0 {
		h.Set("Authorization", "Bearer "+t.Bearers[i%n])
	}
	return h
}

// headerLines are the same, each line with its end, that of the host first.
func (t Target) headerLines(i int) string {
	var b bytes.Buffer
	b.WriteString("Host: " + t.host() + "\r\n")
	_ = t.header(i).Write(&b) // a buffer takes everything
	return b.String()
}

// TargetOptions are what a target wants beside its URL, as users write it. The zero value changes nothing.
type TargetOptions struct {
	CA           string   // file of certificates in PEM that are trusted beside the system's
	Insecure     bool     // no certificate is checked
	Headers      []string // Name: value
	Cookies      []string // name=value
	Subprotocols []string
	BearerFile   string // one token a line
	SendFirst    []string
	Greeting     string // regular expression
	Payload      string // template
	PayloadBytes string // sizes
	Compress     bool   // permessage-deflate
}

// Apply adds the options to a target. An error names the flag of sockload that it comes from.
func (o TargetOptions) Apply(t *Target) error {
	for _, apply := range []func(*Target) error{
		o.trust, o.headers, o.cookies, o.bearers, o.subprotocols, o.conversation, o.payload, o.compress,
	} {
		if err := apply(t); err != nil {
			return err
		}
	}
	return nil
}

func (o TargetOptions) compress(t *Target) error {
	if o.Compress && declared(t.Protocol).stream != nil {
		return fmt.Errorf("--compress is for WebSockets, and %s is none", t.Protocol)
	}
	t.Compress = o.Compress
	return nil
}

func (o TargetOptions) trust(t *Target) error {
	switch {
	case o.CA == "" && !o.Insecure:
		return nil
	case o.CA != "" && o.Insecure:
		return errors.New("--ca and --insecure exclude each other: with --insecure no certificate is checked")
	case t.TLS == nil:
		return fmt.Errorf("--ca and --insecure are for wss:// and https://: %s has no certificate", t)
	case o.Insecure:
		t.TLS.InsecureSkipVerify = true
		return nil
	}
	text, err := os.ReadFile(o.CA)
	if err != nil {
		return fmt.Errorf("--ca: %w", err)
	}
	t.CA = text
	if !t.trustCA() {
		return fmt.Errorf("--ca %s: there is no certificate in it: want PEM, with -----BEGIN CERTIFICATE-----", o.CA)
	}
	return nil
}

// trustCA has TLS trust CA beside the system's authorities. It tells whether there is a certificate in it.
func (t *Target) trustCA() bool {
	var err error
	if t.TLS.RootCAs, err = x509.SystemCertPool(); err != nil {
		t.TLS.RootCAs = x509.NewCertPool()
	}
	return t.TLS.RootCAs.AppendCertsFromPEM(t.CA)
}

// isToken tells whether s may be a header's name (RFC 9110 section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// isFieldValue tells whether s may be a header's value: anything without control characters.
func isFieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// ownHeaders are those that the client writes itself, and what a user may want instead.
var ownHeaders = map[string]string{
	"Connection": "", "Upgrade": "", "Content-Length": "", "Content-Type": "", "Transfer-Encoding": "",
	"Sec-Websocket-Key": "", "Sec-Websocket-Version": "", "Sec-Websocket-Extensions": "", "Sec-Websocket-Accept": "",
	"Sec-Websocket-Protocol": ": use --subprotocol", "Cookie": ": use --cookie 'name=value'",
}

func (o TargetOptions) headers(t *Target) error {
	for _, line := range o.Headers {
		name, value, ok := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if !ok || !isToken(name) || !isFieldValue(value) {
			return fmt.Errorf("--header %q: want 'Name: value'", line)
		}
		key := textproto.CanonicalMIMEHeaderKey(name)
		instead, own := ownHeaders[key]
		switch {
		case own:
			return fmt.Errorf("--header %q: the client writes %s itself%s", line, key, instead)
		case key == "Host" && (value == "" || strings.ContainsAny(value, " \t/@")):
			return fmt.Errorf("--header %q: want a host, such as example.org:8080", line)
		case key == "Host":
			t.Host = value
			continue
		case key == "Authorization" && t.Header.Get(key) != "":
			return errors.New("--header 'Authorization: …': there is one already: give one, or user and password")
		}
		if t.Header == nil {
			t.Header = http.Header{}
		}
		t.Header.Add(key, value)
	}
	return nil
}

func (o TargetOptions) cookies(t *Target) error {
	for _, c := range o.Cookies {
		name, value, ok := strings.Cut(c, "=")
		if !ok || !isToken(name) || !isFieldValue(value) ||
			strings.Contains(value, ";") {
			return fmt.Errorf("--cookie %q: want 'name=value', one in each --cookie", c)
		}
	}
	if len(o.Cookies) > 0 {
		if t.Header == nil {
			t.Header = http.Header{}
		}
		t.Header.Set("Cookie", strings.Join(o.Cookies, "; "))
	}
	return nil
}

func (o TargetOptions) bearers(t *Target) error {
	if o.BearerFile == "" {
		return nil
	}
	if t.Header.Get("Authorization") != "" {
		return errors.New(
			"--bearer-file: there is an authorization already: leave out the URL's user or --header 'Authorization: …'")
	}
	text, err := os.ReadFile(o.BearerFile)
	if err != nil {
		return fmt.Errorf("--bearer-file: %w", err)
	}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		token := strings.TrimSpace(line)
		if strings.ContainsAny(token, " \t") || !isFieldValue(token) {
			return fmt.Errorf("--bearer-file %s: line %d: want one token a line, without spaces", o.BearerFile, number)
		}
		if token != "" {
			t.Bearers = append(t.Bearers, token)
		}
	}
	if len(t.Bearers) == 0 {
		return fmt.Errorf("--bearer-file %s: there is no token in it: want one a line", o.BearerFile)
	}
	return nil
}

func (o TargetOptions) subprotocols(t *Target) error {
	if len(o.Subprotocols) > 0 && streams(t.Protocol) {
		return fmt.Errorf("--subprotocol: %s is no WebSocket and has none: leave it out", t.Protocol)
	}
	for i, name := range o.Subprotocols {
		if !isToken(name) || slices.Contains(o.Subprotocols[:i], name) { // both are tokens
			return fmt.Errorf("--subprotocol %q: want a name such as chat.v1, each once", name)
		}
	}
	t.Subprotocols = o.Subprotocols
	return nil
}

func (o TargetOptions) conversation(t *Target) (err error) {
	for _, text := range o.SendFirst {
		if !utf8.ValidString(text) || text == "" || len(text) > payloadBytesMax {
			return fmt.Errorf("--send-first %.40q: want a text of 1 to %d bytes in UTF-8", text, payloadBytesMax)
		}
	}
	t.SendFirst = o.SendFirst
	if o.Greeting == "" {
		return nil
	}
	if t.Greeting, err = regexp.Compile(o.Greeting); err != nil {
		return fmt.Errorf("--greeting %q is no regular expression (https://pkg.go.dev/regexp/syntax): %w",
			o.Greeting, err)
	}
	return nil
}

func (o TargetOptions) payload(t *Target) (err error) {
	t.Payload, err = ParsePayload(o.Payload, o.PayloadBytes)
	return err
}
