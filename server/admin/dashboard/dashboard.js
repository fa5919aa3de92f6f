'use strict';
(() => {
  const historySeconds = 300;
  const $ = (id) => document.getElementById(id);
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const el = (tag, props = {}, ...children) => {
    const e = Object.assign(document.createElement(tag), props);
    e.append(...children);
    return e;
  };
  const si = (v) => {
    for (const [unit, size] of [
      ['G', 1e9],
      ['M', 1e6],
      ['k', 1e3],
    ])
      if (Math.abs(v) >= size) return +(v / size).toPrecision(3) + ' ' + unit;
    return String(+v.toPrecision(3));
  };
  const bytes = (v) => si(v).replace(/^([^ ]+)$/, '$1 ') + 'B';
  const ms = (s) =>
    s < 1e-6 ? '0 ms' : s < 1e-3 ? +(1e6 * s).toPrecision(3) + ' µs' : +(1e3 * s).toPrecision(3) + ' ms';
  const percent = (v) => Math.round(100 * v) + ' %';
  const duration = (s) =>
    s < 120
      ? Math.round(s) + ' s'
      : s < 7200
        ? Math.round(s / 60) + ' min'
        : s < 172800
          ? Math.round(s / 3600) + ' h'
          : Math.round(s / 86400) + ' d';

  // ask is a request of the API; a missing or wrong token brings up the form for it.
  const ask = async (path, options = {}) => {
    const token = sessionStorage.getItem('token');
    const answer = await fetch(path, { ...options, headers: token ? { Authorization: 'Bearer ' + token } : {} });
    if (answer.status === 401) {
      $('login').hidden = false;
      throw new Error('the token is missing or wrong');
    }
    $('login').hidden = true;
    return answer;
  };
  const get = async (path) => {
    const answer = await ask(path);
    if (!answer.ok)
      throw new Error(`${path}: ${answer.status} ${(await answer.json().catch(() => ({}))).detail || ''}`);
    return answer.json();
  };
  $('login').onsubmit = (event) => {
    event.preventDefault();
    sessionStorage.setItem('token', $('token').value);
    $('token').value = '';
    look();
  };

  // What is shown of two snapshots, dt seconds apart.
  const perSecond = (name) => (now, was, dt) => Math.max(0, now[name] - was[name]) / dt;
  const mean = (name) => (now, was) => {
    const n = now[name].count - was[name].count;
    return n > 0 ? (now[name].sum - was[name].sum) / n : null;
  };
  const rates = { received: perSecond('messages_received'), delivered: perSecond('messages_delivered') };
  const charts = [
    {
      title: 'Connections',
      text: si,
      series: [
        ['clients', '--in', (now) => now.sessions],
        ['blocked', '--out', (now) => now.connections_blocked],
      ],
    },
    {
      title: 'Messages a second',
      text: si,
      log: true,
      series: [
        ['in', '--in', rates.received],
        ['delivered', '--out', rates.delivered],
      ],
    },
    {
      title: 'Bytes a second',
      text: bytes,
      log: true,
      series: [
        ['in', '--in', perSecond('bytes_received')],
        ['out', '--out', perSecond('bytes_sent')],
      ],
    },
    {
      title: 'Turn',
      text: ms,
      series: [
        ['mean', '--in', mean('turn_seconds')],
        ['found by a message', '--out', (now) => now.turn_wait_seconds],
      ],
    },
    { title: 'Messages of a batch', text: si, log: true, series: [['mean', '--in', mean('batch_messages')]] },
    {
      title: 'Saturation',
      text: percent,
      series: [
        ['saturation', '--out', (now) => now.saturation],
        ['busy', '--in', (now) => now.busy],
      ],
    },
    {
      title: 'Memory kept for clients',
      text: bytes,
      log: true,
      series: [
        ['used', '--in', (now) => now.memory_bytes],
        ['bound', '--out', (now) => now.memory_bytes_max],
      ],
    },
  ];
  const tiles = [
    ['clients', (now) => si(now.sessions)],
    ['messages in/s', (now, was, dt) => si(rates.received(now, was, dt))],
    ['deliveries/s', (now, was, dt) => si(rates.delivered(now, was, dt))],
    ['saturation', (now) => percent(now.saturation), (now) => now.overloaded],
    ['loop busy', (now) => percent(now.busy)],
    [
      'memory of its bound',
      (now) => percent(now.memory_bytes / now.memory_bytes_max),
      (now) => now.memory_bytes > 0.875 * now.memory_bytes_max,
    ],
    ['refused', (now) => si(now.connections_refused + now.sessions_refused)],
    ['slow readers ended', (now) => si(now.slow_consumers_closed)],
  ];
  for (const [name] of tiles)
    $('tiles').append(
      el('div', { className: 'tile' }, el('b', { textContent: '–' }), el('span', { textContent: name })),
    );

  for (const c of charts) {
    c.data = [[], ...c.series.map(() => [])];
    const keys = c.series.map(([name, color]) => {
      const key = el('span', { className: 'key' });
      key.style.setProperty('--key', `var(${color})`);
      return key;
    });
    c.keys = keys;
    c.plot = el('div', { className: 'plot' });
    $('charts').append(
      el('figure', {}, el('figcaption', {}, c.title, el('span', {}, ...keys.flatMap((k) => [k, ' ']))), c.plot),
    );
  }
  const axis = (more) => ({
    stroke: () => css('--soft'),
    grid: { stroke: () => css('--grid'), width: 1 },
    ticks: { show: false },
    font: '12px system-ui, sans-serif',
    ...more,
  });
  // A logarithmic axis goes from one power of ten to another, and has four lines at most.
  const decades = (lo, hi) => [
    10 ** Math.floor(Math.log10(lo)),
    10 ** Math.ceil(Math.log10(Math.max(hi, 1.001 * lo))),
  ];
  const powers = (lo, hi) => {
    const [first, last] = [Math.round(Math.log10(lo)), Math.round(Math.log10(hi))];
    const step = Math.max(1, Math.ceil((last - first) / 3));
    return Array.from({ length: Math.floor((last - first) / step) + 1 }, (_, i) => 10 ** (first + i * step));
  };
  const draw = (c) => {
    c.u?.destroy();
    c.u = new uPlot(
      {
        width: c.plot.clientWidth,
        height: 150,
        legend: { show: false },
        cursor: { show: false },
        padding: [8, 8, 0, 0],
        scales: {
          x: { time: true, range: (u, lo, hi) => [Math.min(lo, hi - 60), hi] },
          y: c.log
            ? { distr: 3, range: (u, lo, hi) => decades(lo || 1, hi || 10) }
            : { range: (u, lo, hi) => [0, (hi || 1) * 1.1] },
        },
        axes: [
          axis({
            size: 28,
            space: 80,
            values: (u, splits) => splits.map((s) => new Date(1e3 * s).toTimeString().slice(0, 8)),
          }),
          axis({
            size: 68,
            space: 28,
            splits: c.log ? (u, _, lo, hi) => powers(lo, hi) : undefined,
            values: (u, splits) => splits.map((v) => (v === null ? '' : c.text(v))),
          }),
        ],
        series: [
          {},
          ...c.series.map(([name, color]) => ({
            label: name,
            stroke: () => css(color),
            width: 2,
            points: { show: false },
          })),
        ],
      },
      c.data,
      c.plot,
    );
  };
  const redraw = () => charts.forEach(draw);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
  let width = 0;
  new ResizeObserver(() => {
    if (innerWidth !== width) redraw();
    width = innerWidth;
  }).observe(document.body);

  let was;
  let wasAt;
  const show = (now, at) => {
    const dt = was ? Math.max(0.001, at - wasAt) : 1;
    const before = was && was.messages_received <= now.messages_received ? was : now; // another process may answer now
    tiles.forEach(([, text, bad], i) => {
      const tile = $('tiles').children[i];
      tile.firstChild.textContent = text(now, before, dt);
      tile.classList.toggle('bad', Boolean(bad && bad(now)));
    });
    for (const c of charts) {
      const values = c.series.map(([, , of]) => of(now, before, dt));
      c.data[0].push(at);
      values.forEach((v, i) => c.data[i + 1].push(c.log && !(v >= 1) ? null : v));
      while (c.data[0][0] < at - historySeconds) c.data.forEach((column) => column.shift());
      c.keys.forEach((key, i) => {
        key.textContent = `${c.series[i][0]} ${values[i] === null ? '–' : c.text(values[i])}`;
      });
      c.u?.setData(c.data);
    }
    [was, wasAt] = [now, at];
  };

  const rows = (id, list, none) => {
    const body = $(id).tBodies[0];
    if (!list.length) list = [el('tr', { className: 'none' }, el('td', { colSpan: 9, textContent: none }))];
    body.replaceChildren(...list);
  };
  const row = (...cells) =>
    el('tr', {}, ...cells.map((c) => (c instanceof Node ? el('td', {}, c) : el('td', { textContent: c }))));

  let published = new Map();
  let publishedAt = 0;
  const showTopics = (topics, at) => {
    const dt = at - publishedAt;
    const rate = (t) => (published.has(t.name) ? Math.max(0, t.published_messages - published.get(t.name)) / dt : 0);
    const list = topics
      .map((t) => ({ ...t, rate: rate(t) }))
      .sort((a, b) => b.rate * b.subscribers - a.rate * a.subscribers || b.subscribers - a.subscribers);
    published = new Map(topics.map((t) => [t.name, t.published_messages]));
    publishedAt = at;
    rows(
      'topics',
      list
        .slice(0, 10)
        .map((t) =>
          row(
            t.name,
            si(t.subscribers),
            si(t.rate),
            si(t.rate * t.subscribers),
            bytes(t.log_bytes),
            t.full ? 'full: publishers wait' : '',
          ),
        ),
      'There are no topics.',
    );
  };
  const showReaders = (connections) =>
    rows(
      'readers',
      connections.map((c) =>
        row(
          String(c.id),
          c.address,
          c.transport,
          c.prefix,
          si(c.lag_messages),
          bytes(c.outbox_bytes),
          duration(c.age_seconds),
          el('button', {
            textContent: 'end',
            title: `End connection ${c.id}`,
            onclick: async (event) => {
              event.target.disabled = true;
              await ask(`api/connections/${c.id}`, { method: 'DELETE' }).catch(() => {});
              lookAround();
            },
          }),
        ),
      ),
      'Nobody is behind.',
    );
  const showEvents = (events) =>
    rows(
      'events',
      events.map((e) => {
        const level = el('span', { className: 'level-' + e.level, textContent: e.level });
        return row(
          new Date(e.time).toLocaleTimeString(),
          level,
          [e.message, ...Object.entries(e.attributes || {}).map(([k, v]) => `${k}=${v}`)].join('  '),
        );
      }),
      'Nothing has been logged yet.',
    );

  const state = (text, kind, reasons = '') => {
    Object.assign($('state'), { textContent: text, className: 'pill ' + kind });
    $('reasons').textContent = reasons;
    document.title = text === 'ready' ? 'sockloop' : `sockloop: ${text}`;
  };
  const showReadiness = async () => {
    const answer = await ask('readyz');
    const said = await answer.json().catch(() => ({}));
    const reasons = [...(said.reasons || []), ...(said.degraded || [])].join('; ');
    if (answer.ok) state('ready', reasons ? 'warn' : 'good', reasons);
    else state('not ready', 'bad', reasons);
  };

  const look = async () => {
    try {
      const now = await get('api/stats');
      show(now, Date.now() / 1e3);
      await showReadiness();
    } catch (e) {
      state('no answer', 'bad', e.message);
    }
  };
  const lookAround = async () => {
    try {
      const [topics, connections, events] = await Promise.all([
        get('api/topics'),
        get('api/connections?limit=10&lag_min=1'),
        get('api/events'),
      ]);
      showTopics(topics.topics, Date.now() / 1e3);
      showReaders(connections.connections);
      showEvents(events.events);
    } catch (e) {
      /* look says so */
    }
  };
  // One question at a time, and none from a page that nobody looks at.
  const every = async (seconds, ask) => {
    for (;;) {
      if (!document.hidden) await ask();
      await new Promise((then) => setTimeout(then, 1e3 * seconds));
    }
  };
  get('api/version')
    .then((v) => {
      $('version').textContent = `${v.version}, ${v.go}`;
    })
    .catch(() => {});
  every(1, look);
  every(2, lookAround);
})();
