// Everybody hears everybody, with ws.
//
//   node server.js HOST PORT
import process from 'node:process';
import { WebSocketServer } from 'ws';

const [host, port] = process.argv.slice(2);
const server = new WebSocketServer({ host, port: Number(port), perMessageDeflate: false });
server.on('connection', (socket) => {
  socket.on('message', (message) => {
    for (const s of server.clients) s.send(message, { binary: false });
  });
});
