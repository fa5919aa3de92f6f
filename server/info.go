package server

import (
	"math/rand/v2"
	"net/http"

	"github.com/bytedance/sonic"
)

// info answers /info: what a SockJS client asks before it chooses a transport.
var info = endpoint{method: http.MethodGet, serve: serveInfo, noCookie: true}

type infoBody struct {
	WebSocket    bool     `json:"websocket"`
	Origins      []string `json:"origins"` // a relic that clients ignore
	CookieNeeded bool     `json:"cookie_needed"`
	Entropy      uint32   `json:"entropy"`
	BaseURL      string   `json:"base_url,omitempty"`
}

func serveInfo(x *exchange, r *route, _ string) {
	body, err := sonic.MarshalString(infoBody{
		WebSocket: r.options.has(TransportWebSocket), Origins: []string{"*:*"}, CookieNeeded: r.options.JSessionID,
		Entropy: rand.Uint32(), BaseURL: r.options.BaseURL,
	})
	if err != nil {
		panic(err) // there is nothing in it that could not be encoded
	}
	x.set("Content-Type", "application/json; charset=UTF-8")
	x.respond(http.StatusOK, body)
}
