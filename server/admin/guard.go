package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// guard lets through who may use the admin plane, and nothing that a page in the operator's browser could have sent.
func guard(token string, next http.Handler) http.Handler {
	origins := http.NewCrossOriginProtection()
	want := sha256.Sum256([]byte(token)) // hashes are of one length: comparing them does not tell the token's
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		switch free := isProbe(r.URL.Path) || isPage(r.URL.Path); {
		case token == "" && !local(r):
			refuse(w, http.StatusForbidden, "without a token only requests from this machine to "+
				"localhost or a loopback address are answered")
		case token != "" && !free && !bears(r, want):
			w.Header().Set("WWW-Authenticate", `Bearer realm="sockloop"`)
			refuse(w, http.StatusUnauthorized, "want Authorization: Bearer and the token of "+
				"--admin-token-file")
		case !free && foreign(r) || origins.Check(r) != nil:
			refuse(w, http.StatusForbidden, "pages of other origins may ask for nothing")
		case r.Method == http.MethodPost && !isJSON(r):
			problem{Status: http.StatusUnsupportedMediaType, Detail: "want Content-Type: application/json"}.write(w)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// refuse answers who may not use the admin plane, and ends the connection: strangers shall not hold it.
func refuse(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Connection", "close")
	problem{Status: status, Detail: detail}.write(w)
}

// forwardedBy are the headers of a request that a proxy passes on, if the proxy is told to add them.
var forwardedBy = []string{"X-Forwarded-For", "Forwarded", "Via", "X-Real-Ip"}

// local tells that a request comes from this machine and names it so. A page whose name was made to resolve to
// 127.0.0.1 (DNS rebinding) has a Host of its own. A proxy on this machine that adds no header of its own cannot be
// told from a program here: nginx sends the upstream's name as Host unless told otherwise. That needs a token.
func local(r *http.Request) bool {
	for _, header := range forwardedBy {
		if r.Header[header] != nil {
			return false
		}
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !from.Addr().Unmap().IsLoopback() {
		return false
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	addr, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && addr.IsLoopback()
}

// foreign tells that a browser sends a request for a page of another origin: it cannot read the answer, but it could
// have profiles and long lists made. Programs and old browsers send no Sec-Fetch-Site; none is a typed address.
func foreign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		return false
	}
	return true
}

// bears tells that a request has the token with the hash.
func bears(r *http.Request, want [sha256.Size]byte) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	got := sha256.Sum256([]byte(token))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

func isJSON(r *http.Request) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == "application/json"
}
