package server

import (
	"html"
	"regexp"
	"strings"
)

// The iframe page is how the client reaches over from another origin where nothing better works: it loads the client's
// script in a frame of the server's own origin.
const iframeHTML = `<!DOCTYPE html>
<html>
<head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
  <script src="SCRIPT"></script>
  <script>
    document.domain = document.domain;
    SockJS.bootstrap_iframe();
  </script>
</head>
<body>
  <h2>Don't panic!</h2>
  <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>
</body>
</html>`

var iframePath = regexp.MustCompile(`^/iframe[0-9-.a-z_]*\.html$`)

func isIframe(rest string) bool { return iframePath.MatchString(rest) }

func iframePage(r *route) page {
	src := r.options.SockJSURL
	if src == "" {
		src = r.prefix + scriptPath
	}
	p := newPage("text/html; charset=UTF-8", "public, max-age="+yearSeconds,
		strings.Replace(iframeHTML, "SCRIPT", html.EscapeString(src), 1))
	p.expires = farFuture
	return p
}

// serveIframe answers with the page. Which pages may have it in a frame is for the browser to see to: it knows them
// even when it does not tell.
func serveIframe(x *exchange, r *route) {
	if len(r.options.Origins) > 0 {
		if !x.mayUse(&r.options, false) {
			return
		}
		x.set("Content-Security-Policy", "frame-ancestors "+strings.Join(r.options.Origins, " "))
		x.set("Vary", "Origin, Referer")
	}
	r.iframe.serve(x)
}
