// Joins the broadcast room of a server with a client library, says its lines, and prints every message that it hears,
// as a JSON string a line, until it has heard as many as it was told to.
//
//   node join.mjs ws URL HEAR LINE...
//   node join.mjs websocket|xhr-streaming|xhr-polling|eventsource URL HEAR LINE...   sockjs-client, over that transport
import process from 'node:process';
import SockJS from 'sockjs-client';
import WebSocket from 'ws';

const [library, url, hear, ...lines] = process.argv.slice(2);
const client = library === 'ws' ? new WebSocket(url) : new SockJS(url, null, { transports: [library] });

let heard = 0;
function message(text) {
  process.stdout.write(JSON.stringify(text) + '\n');
  if (++heard === Number(hear)) client.close();
}

client.onopen = () => {
  process.stdout.write('open\n');
  // The test says when everybody is in.
  process.stdin.once('data', () => lines.forEach((line) => client.send(line)));
};
client.onmessage = (event) => message(event.data.toString());
client.onerror = (event) => process.stderr.write(`${library}: ${event.message ?? event.type}\n`);
client.onclose = (event) => {
  process.stdout.write(`closed ${event.code}\n`);
  process.exit(heard === Number(hear) ? 0 : 1);
};
