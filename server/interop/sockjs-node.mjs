// Serves with sockjs-node what the SockJS protocol's test suite expects, on a free port, which it prints. It ends with its
// standard input.
//
//   node sockjs-node.mjs HEARTBEAT-DELAY DISCONNECT-DELAY (in ms)
import http from 'node:http';
import process from 'node:process';
import sockjs from 'sockjs';

const [heartbeat_delay, disconnect_delay] = process.argv.slice(2).map(Number);
const echo = (conn) => conn.on('data', (message) => conn.write(message));
const services = {
  '/echo': [{}, echo],
  '/disabled_websocket_echo': [{ websocket: false }, echo],
  '/cookie_needed_echo': [{ jsessionid: true }, echo],
  '/close': [{}, (conn) => conn.close(3000, 'Go away!')],
};

const server = http.createServer((request, response) => {
  response.writeHead(404).end('Not Found\n');
});
for (const [prefix, [options, onConnection]] of Object.entries(services)) {
  const service = sockjs.createServer({ ...options, heartbeat_delay, disconnect_delay, response_limit: 4096, sockjs_url: '/sockjs.js', log: () => {} });
  service.on('connection', onConnection);
  service.installHandlers(server, { prefix });
}
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.on('end', () => process.exit(0)).resume();
