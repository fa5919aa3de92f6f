// Everybody hears everybody, over Socket.IO 4.
//
//   node server.js HOST PORT
import { createServer } from 'node:http';
import process from 'node:process';
import { Server } from 'socket.io';

const [host, port] = process.argv.slice(2);
const http = createServer();
const io = new Server(http, { transports: ['websocket'], perMessageDeflate: false });
io.on('connection', (socket) => socket.on('message', (message) => io.emit('message', message)));
http.listen(Number(port), host);
