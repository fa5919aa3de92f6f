// A live broadcast room: who is connected, what they say, over which transport, and what the server does meanwhile.
'use strict';

const $ = (id) => document.getElementById(id);
const url = new URL('room', location.href.replace(/[?#].*/, '')).href;

const members = new Map(); // by id: {name, transport}
let me = 0;
let hidden = 0; // members that the server did not list
let sock = null;
let wait = 500; // before the next attempt to connect, in ms
let sent = []; // times of our own messages that have not come back

// The connection.

function connect() {
  const forced = $('transport').value;
  state('connecting', forced ? `connecting over ${forced}…` : 'connecting…');
  const s = new SockJS(url, null, forced ? { transports: [forced] } : {});
  sock = s;
  s.onopen = () => {
    wait = 500;
    sent = [];
    state('open', `connected over ${s.transport}`);
    const name = localStorage.getItem('name');
    if (name) send({ name });
  };
  s.onmessage = (e) => s === sock && hear(JSON.parse(e.data));
  s.onclose = (e) => {
    if (s !== sock) return; // it was let go for another
    members.clear();
    showMembers();
    state(
      'closed',
      e.code === 2000 && forced
        ? `${forced} does not come through; trying again`
        : `disconnected (${e.code}${e.reason ? ' ' + e.reason : ''}); trying again`,
    );
    setTimeout(() => s === sock && connect(), wait);
    wait = Math.min(2 * wait, 10_000);
  };
}

function send(what) {
  if (sock && sock.readyState === SockJS.OPEN) {
    sock.send(JSON.stringify(what));
    return true;
  }
  return false;
}

function state(kind, text) {
  $('state').dataset.state = kind;
  $('state').textContent = text;
}

// What the server tells.

const hearing = {
  welcome(m) {
    me = m.you;
    members.clear();
    m.members.forEach((x) => members.set(x.id, x));
    hidden = m.hidden || 0;
    $('name').value = members.get(me).name;
    showMembers();
  },
  joined(m) {
    members.set(m.id, m);
    showMembers();
    if (m.id !== me) event(`${m.name} joined over ${m.transport}`);
  },
  left(m) {
    const who = members.get(m.id);
    members.delete(m.id);
    if (!who && hidden > 0) hidden--;
    showMembers();
    if (who) event(`${who.name} left`);
  },
  renamed(m) {
    const who = members.get(m.id);
    if (!who) return;
    event(`${who.name} is now ${m.name}`);
    who.name = m.name;
    if (m.id === me) $('name').value = m.name;
    showMembers();
  },
  said(m) {
    if (m.id === me && sent.length) figure('rtt', duration(performance.now() - sent.shift()));
    said(m);
  },
  rate(m) {
    figure('delivered', count(m.delivered));
    figure('received', count(m.received));
    figure('sessions', m.sessions.toLocaleString('en'));
    chart.add(m);
  },
  refused(m) {
    event(m.why);
  },
};

function hear(m) {
  const f = hearing[m.type];
  if (f) f(m);
}

// What the page shows.

function figure(id, text) {
  $(id).textContent = text;
}

function count(n) {
  const units = [
    [1e9, 'G'],
    [1e6, 'M'],
    [1e3, 'k'],
  ];
  for (const [size, unit] of units) {
    if (n >= size) return (n / size).toPrecision(3) + ' ' + unit;
  }
  return String(Math.round(n));
}

function duration(ms) {
  return ms < 10 ? ms.toFixed(1) + ' ms' : Math.round(ms) + ' ms';
}

function element(kind, className, text) {
  const e = document.createElement(kind);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

const linesMax = 200;

function line(li) {
  const log = $('log');
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  log.append(li);
  while (log.children.length > linesMax) log.firstChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function said(m) {
  const li = element('li', m.id === me ? 'mine' : '');
  const at = new Date(m.at);
  const time = element('time', '', at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }));
  time.dateTime = at.toISOString();
  li.append(time, element('b', '', m.name), m.text);
  line(li);
}

function event(text) {
  line(element('li', 'event', text));
}

const membersShown = 100;
let membersDue = false;

function showMembers() {
  if (membersDue) return; // many come and go at once
  membersDue = true;
  requestAnimationFrame(() => {
    membersDue = false;
    const all = [...members.values()].sort((a, b) => (b.id === me) - (a.id === me) || a.id - b.id);
    $('count').textContent = all.length ? `(${all.length + hidden})` : '';
    $('members').replaceChildren(
      ...all.slice(0, membersShown).map((x) => {
        const li = element('li', x.id === me ? 'me' : '');
        li.append(element('b', '', x.name), element('span', '', x.transport));
        return li;
      }),
    );
    const more = all.length + hidden - membersShown;
    if (more > 0) $('members').append(element('li', '', `and ${more} more`));
  });
}

// The chart: the last minute and a half.

const chart = (() => {
  const seconds = 90;
  const data = [[], [], []];
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  let plot;
  const draw = () => {
    if (plot) plot.destroy();
    const axis = {
      stroke: color('--soft'),
      grid: { stroke: color('--line'), width: 1 },
      ticks: { show: false },
      font: '12px system-ui, sans-serif',
    };
    plot = new uPlot(
      {
        width: $('chart').clientWidth,
        height: $('chart').clientHeight,
        cursor: { show: false },
        scales: { x: { time: true }, y: { range: (_, __, max) => [0, Math.max(max, 10) * 1.1] } },
        axes: [
          { ...axis, size: 28, space: 80, values: [[1, '{HH}:{mm}:{ss}']] },
          { ...axis, size: 56, space: 34, values: (_, all) => all.map(count) },
        ],
        series: [
          {},
          {
            label: 'delivered',
            stroke: color('--delivered'),
            width: 2,
            fill: color('--delivered') + '22',
            points: { show: false },
          },
          { label: 'received', stroke: color('--received'), width: 2, points: { show: false } },
        ],
      },
      data,
      $('chart'),
    );
  };
  addEventListener('resize', () => plot.setSize({ width: $('chart').clientWidth, height: $('chart').clientHeight }));
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
  const now = Math.floor(Date.now() / 1000);
  for (let i = -seconds; i < 0; i++) [now + i, 0, 0].forEach((v, k) => data[k].push(v));
  draw();
  return {
    add(m) {
      [m.at / 1000, m.delivered, m.received].forEach((v, k) => data[k].push(v));
      while (data[0].length > seconds) data.forEach((d) => d.shift());
      plot.setData(data);
    },
  };
})();

// What the visitor does.

$('say').addEventListener('submit', (e) => {
  e.preventDefault();
  const text = $('text').value.trim();
  if (!text) return;
  const now = performance.now();
  if (send({ say: text })) {
    sent.push(now);
    $('text').value = '';
  } else {
    event('not connected; the message is still in its field');
  }
});

$('rename').addEventListener('submit', (e) => {
  e.preventDefault();
  const name = $('name').value.trim();
  if (!name) return;
  localStorage.setItem('name', name);
  send({ name });
});

$('transport').addEventListener('change', () => {
  const old = sock;
  sock = null;
  if (old) old.close();
  connect();
});

connect();
