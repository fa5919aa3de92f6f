package server

import (
	"net/http"
	"strings"
)

// htmlFile is an endless page of scripts in a hidden frame, each of which calls its parent with a frame.
var htmlFile = endpoint{
	method: http.MethodGet, transports: []string{TransportHTMLFile}, serve: serveHTMLFile, byScript: true,
}

var htmlFileFraming = framing{
	name: TransportHTMLFile, contentType: "text/html; charset=UTF-8", streaming: true, wire: wireScript,
	before: "<script>\np(\"", after: "\");\n</script>\r\n",
}

const htmlFileHead = `<!doctype html>
<html><head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
</head><body><h2>Don't panic!</h2>
  <script>
    document.domain = document.domain;
    var c = parent.CALLBACK;
    c.start();
    function p(d) {c.message(d);};
    window.onload = function() {c.stop();};
  </script>`

// htmlFilePadding fills the buffers that browsers keep before they show the first of a page.
var htmlFilePadding = strings.Repeat(" ", 1024) + "\r\n\r\n"

func serveHTMLFile(x *exchange, r *route, session string) {
	if callback, ok := x.callback(); ok {
		prelude := strings.Replace(htmlFileHead, "CALLBACK", callback, 1) + htmlFilePadding
		openReceiver(x, r, session, &htmlFileFraming, prelude, htmlFileFraming.before)
	}
}
