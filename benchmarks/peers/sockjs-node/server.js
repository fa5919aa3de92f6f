// Everybody hears everybody, with sockjs-node, as in the comparison of 2011; at /echo everybody hears himself.
//
//   node server.js HOST PORT
import { createServer } from 'node:http';
import process from 'node:process';
import sockjs from 'sockjs';

const [host, port] = process.argv.slice(2);
const members = new Set();
const service = sockjs.createServer({ log: () => {} });
service.on('connection', (member) => {
  members.add(member);
  member.on('close', () => members.delete(member));
  member.on('data', (message) => {
    for (const m of members) m.write(message);
  });
});
const echo = sockjs.createServer({ log: () => {} });
echo.on('connection', (member) => member.on('data', (message) => member.write(message)));
const http = createServer();
service.installHandlers(http, { prefix: '/broadcast' });
echo.installHandlers(http, { prefix: '/echo' });
http.listen(Number(port), host);
