"""Everybody hears everybody, with sockjs-tornado, as in the comparison of 2011.

    server.py HOST PORT flush-each|flush-batched
"""
import logging
import sys

from sockjs.tornado import SockJSConnection, SockJSRouter
from tornado import ioloop, web


class Room(SockJSConnection):
    members = set()

    def on_open(self, request):
        self.members.add(self)

    def on_message(self, message):
        self.broadcast(self.members, message)

    def on_close(self):
        self.members.remove(self)


host, port, flush = sys.argv[1:]
logging.getLogger("tornado").setLevel(logging.ERROR)
router = SockJSRouter(Room, "/broadcast", {"immediate_flush": flush == "flush-each"})
web.Application(router.urls).listen(int(port), host)
ioloop.IOLoop.instance().start()
