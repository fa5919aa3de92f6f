// Command nbio lets everybody hear everybody, with lesismal/nbio.
//
//	server HOST:PORT
package main

import (
	"log"
	"net/http"
	"os"
	"os/signal"
	"sync"

	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"
)

func main() {
	var members sync.Map
	upgrader := websocket.NewUpgrader()
	upgrader.OnOpen(func(c *websocket.Conn) { members.Store(c, nil) })
	upgrader.OnClose(func(c *websocket.Conn, _ error) { members.Delete(c) })
	upgrader.OnMessage(func(_ *websocket.Conn, kind websocket.MessageType, message []byte) {
		members.Range(func(member, _ any) bool {
			_ = member.(*websocket.Conn).WriteMessage(kind, message)
			return true
		})
	})
	engine := nbhttp.NewEngine(nbhttp.Config{
		Network: "tcp", Addrs: []string{os.Args[1]}, MaxLoad: 20_000,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = upgrader.Upgrade(w, r, nil) }),
	})
	if err := engine.Start(); err != nil {
		log.Fatal(err)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt)
	<-stop
	engine.Stop()
}
