// Everybody hears everybody, with sockjs-node, as in the comparison of 2011.
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
const http = createServer();
service.installHandlers(http, { prefix: '/broadcast' });
http.listen(Number(port), host);
