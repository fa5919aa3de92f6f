// Command sockjs-go lets everybody hear everybody, with igm/sockjs-go.
//
//	server HOST:PORT
package main

import (
	"log"
	"net/http"
	"os"
	"sync"

	"github.com/igm/sockjs-go/v3/sockjs"
)

func main() {
	var members room
	log.Fatal(http.ListenAndServe(os.Args[1], sockjs.NewHandler("/broadcast", sockjs.DefaultOptions, members.serve)))
}

type room struct{ sync.Map }

func (r *room) serve(s sockjs.Session) {
	r.Store(s, nil)
	defer r.Delete(s)
	for {
		message, err := s.Recv()
		if err != nil {
			return
		}
		r.Range(func(member, _ any) bool {
			_ = member.(sockjs.Session).Send(message)
			return true
		})
	}
}
