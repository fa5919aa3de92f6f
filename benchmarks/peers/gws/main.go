// Command gws lets everybody hear everybody, with lxzan/gws.
//
//	server HOST:PORT
package main

import (
	"log"
	"net/http"
	"os"
	"sync"

	"github.com/lxzan/gws"
)

func main() {
	upgrader := gws.NewUpgrader(&room{}, nil)
	log.Fatal(http.ListenAndServe(os.Args[1], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if conn, err := upgrader.Upgrade(w, r); err == nil {
			go conn.ReadLoop()
		}
	})))
}

type room struct {
	gws.BuiltinEventHandler
	members sync.Map
}

func (r *room) OnOpen(c *gws.Conn)           { r.members.Store(c, nil) }
func (r *room) OnClose(c *gws.Conn, _ error) { r.members.Delete(c) }

func (r *room) OnMessage(_ *gws.Conn, message *gws.Message) {
	defer message.Close()
	b := gws.NewBroadcaster(gws.OpcodeText, message.Bytes())
	defer b.Close()
	r.members.Range(func(member, _ any) bool {
		_ = b.Broadcast(member.(*gws.Conn))
		return true
	})
}
