// Everybody hears everybody, with Bun.
//
//   bun server.js HOST PORT
const [hostname, port] = process.argv.slice(2);
const server = Bun.serve({
  hostname,
  port: Number(port),
  fetch: (request, server) => (server.upgrade(request) ? undefined : new Response('WebSocket only', { status: 426 })),
  websocket: {
    perMessageDeflate: false,
    open: (socket) => socket.subscribe('all'),
    message: (_, message) => server.publish('all', message),
  },
});
