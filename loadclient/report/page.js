'use strict';
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const byName = Object.fromEntries(data.servers.map((s) => [s.name, s]));
  data.levels ||= []; // nothing was searched
  // without controls, and with names at the lines
  const picture = document.documentElement.classList.contains('picture');
  const most = data.levels[data.levels.length - 1] ?? 0;

  // Colours that people with any colour vision tell apart (Okabe and Ito); beyond eight, lines are dashed.
  const palette = ['#0072b2', '#e69f00', '#009e73', '#d55e00', '#cc79a7', '#56b4e9', '#8a6d00', '#7a5cc7'];
  const dashes = [[], [7, 4], [2, 3]];
  const look = (i) => ({
    color: palette[i % palette.length],
    dash: dashes[Math.floor(i / palette.length) % dashes.length],
  });
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const si = (v) => {
    if (v == null) return '';
    const a = Math.abs(v);
    for (const [unit, size] of [
      ['G', 1e9],
      ['M', 1e6],
      ['k', 1e3],
    ]) {
      if (a >= size) return +(v / size).toPrecision(3) + unit;
    }
    return String(+v.toPrecision(3));
  };
  const rate = (v) => (v ? si(v) + '/s' : '–');
  const ms = (v) => (v ? +v.toPrecision(3) + ' ms' : '–');
  const mb = (v) => (v ? +(v / 1e6).toPrecision(3) + ' MB' : '–');
  const parts = (m) =>
    m.Anon
      ? `anonymous ${mb(m.Anon)}, file-backed ${mb(m.File)}; the kernel's sockets, of both ends: ${mb(m.KernelSockets)}`
      : '';
  const el = (tag, props = {}, ...children) => {
    const e = Object.assign(document.createElement(tag), props);
    e.append(...children);
    return e;
  };
  const choice = (label, options, value, onChange) => {
    const select = el(
      'select',
      { onchange: () => onChange(select.value) },
      ...options.map(([v, text]) => el('option', { value: v, textContent: text })),
    );
    select.value = value;
    return el('label', {}, label, select);
  };
  const levels = data.levels.map((n) => [n, n + ' connections']);
  const servers = data.servers.map((s) => [s.name, s.name]);
  const level = (s, n) => s.levels.find((l) => l.Connections === n);
  const valid = (p) => p.verdict === 'OK' || p.verdict === 'OVERLOADED';

  function table(n) {
    const rows = data.servers
      .map((s) => [s, level(s, n)])
      .filter(([, l]) => l)
      .sort((a, b) => b[1].Rate.Median - a[1].Rate.Median);
    const head = [
      'server',
      'saturates at, nominal',
      'delivered at most',
      'stands at',
      'blocks',
      `× ${data.base}`,
      'sustained for 10 s, nominal',
      'delivered',
      'p99 at half load',
      'memory: idle',
      'memory: at half load',
      'memory: sustained',
      'CPU per delivery',
      "of the client's ceiling",
    ];
    const top = rows.length ? Math.log10(rows[0][1].Rate.Median) - 3 : 1;
    const body = rows.map(([s, l]) => {
      const bar = el('span', { className: 'bar' });
      bar.style.width = Math.max(2, (100 * (Math.log10(l.Rate.Median) - 3)) / top) + '%';
      bar.style.color = palette[0];
      const ratio =
        s.name === data.base
          ? '1'
          : l.RatioMid && l.Bound !== '–'
            ? `${l.Bound} ×${si(l.RatioMid)}`.trim() +
              (l.Ratio.confidence
                ? ` (${si(l.Ratio.low)}–${si(l.Ratio.high)}, ${Math.round(100 * l.Ratio.confidence)} %)`
                : '')
            : '–';
      const cell = (text, title) => el('td', { textContent: text, title: title || '' });
      return el(
        'tr',
        {},
        el(
          'td',
          { title: [s.about, s.version].filter(Boolean).join('\n') },
          el('b', { textContent: s.name }),
          document.createElement('br'),
          el('small', { textContent: s.protocol }),
        ),
        el(
          'td',
          { title: [...new Set(l.Limits), ...new Set(l.Warnings || [])].join('\n') },
          (l.LowerBound ? '≥ ' : '') + rate(l.Rate.Median) + (l.NotReached ? ' †' : ''),
          bar,
        ),
        cell(rate(l.MaxDelivered)),
        el('td', { className: 'words', textContent: l.StandsAt }),
        cell(l.Searches > 1 ? `${l.Searches} (${si(l.Low)}–${si(l.High)})` : String(l.Searches)),
        cell(ratio),
        cell(
          (l.SustainedLeast ? '≥ ' : '') +
            (l.Failed ? `${si(l.Sustained.Median)}/s (${l.Failed})` : rate(l.Sustained.Median)),
        ),
        cell(rate(l.SustainedDelivered)),
        cell(ms(l.P99Half)),
        cell(mb(l.Idle.RSS), parts(l.Idle)),
        cell(mb(l.Half.RSS), parts(l.Half)),
        cell(mb(l.Full.RSS), parts(l.Full)),
        cell(l.CPUPerMicro ? +l.CPUPerMicro.toPrecision(3) + ' µs' : '–'),
        cell(l.CeilingShare ? Math.round(100 * l.CeilingShare) + ' %' : '–'),
      );
    });
    const out = document.getElementById('table');
    out.replaceChildren(
      el(
        'div',
        { className: 'controls' },
        choice('at', levels, n, (v) => table(+v)),
        el('span', {
          className: 'about',
          textContent:
            'medians of the blocks, a failure counted as 0; a ratio has its interval, between two of the ' +
              'blocks, and how sure that is; ≥ and ≤ are bounds; † 200 ms was not reached: the server failed ' +
              'first; the bar is logarithmic. ' +
              data.stands_at,
        }),
      ),
      el(
        'div',
        { className: 'scroll' },
        el(
          'table',
          {},
          el('thead', {}, el('tr', {}, ...head.map((h) => el('th', { textContent: h })))),
          el('tbody', {}, ...body),
        ),
      ),
    );
  }

  // chart puts a chart on the page. What it draws is made anew by spec.build from the state that its controls have:
  // {x, y: {label, unit, log}, series: [{name, points: [{x, y, lo, hi, hollow, tip}], color, dash, marks}], lines:
  // [{y, label}]}.
  function chart(spec) {
    const state = { ...spec.state, off: new Set() };
    const controls = el('div', { className: 'controls' });
    const plot = el('div', { className: 'plot' });
    const keys = el('div', { className: 'keys' });
    document
      .getElementById('charts')
      .append(
        el(
          'section',
          { id: spec.id },
          el('h2', { textContent: spec.title }),
          el('p', { className: 'about', textContent: spec.about }),
          controls,
          plot,
          keys,
        ),
      );
    let drawn;
    let u;

    const draw = () => {
      drawn = spec.build(state);
      for (const axis of ['x', 'y']) if (state[axis + 'log'] === undefined) state[axis + 'log'] = drawn[axis].log;
      controls.replaceChildren(
        ...(spec.controls || []).map((c) =>
          choice(c.label, c.options, state[c.name], (v) => {
            state[c.name] = typeof spec.state[c.name] === 'number' ? +v : v;
            draw();
          }),
        ),
        ...['x', 'y'].map((axis) =>
          choice(
            axis,
            [
              ['log', 'logarithmic'],
              ['lin', 'linear'],
            ],
            state[axis + 'log'] ? 'log' : 'lin',
            (v) => {
              state[axis + 'log'] = v === 'log';
              draw();
            },
          ),
        ),
        el('button', { textContent: 'CSV', title: 'Download what is drawn', onclick: download }),
      );
      keys.replaceChildren(
        ...drawn.series.map((s) => {
          const box = el('input', {
            type: 'checkbox',
            checked: !state.off.has(s.name),
            onchange: () => {
              state.off[box.checked ? 'delete' : 'add'](s.name);
              paint();
            },
          });
          return el('label', {}, box, swatch(s), s.name);
        }),
      );
      if (drawn.series.length > 1) {
        keys.append(
          el('button', {
            textContent: 'all',
            onclick: () => {
              state.off.clear();
              draw();
            },
          }),
          el('button', {
            textContent: 'none',
            onclick: () => {
              drawn.series.forEach((s) => state.off.add(s.name));
              draw();
            },
          }),
        );
      }
      paint();
    };

    const paint = () => {
      if (u) u.destroy();
      u = null;
      plot.replaceChildren();
      const shown = drawn.series
        .filter((s) => !state.off.has(s.name))
        .map((s) => ({ ...s, points: s.points.filter((p) => drawable(p, state)) }))
        .filter((s) => s.points.length);
      if (!shown.length) {
        plot.append(
          el('div', { className: 'empty', textContent: 'Nothing to draw: it was not measured, or is switched off.' }),
        );
        return;
      }
      const xs = [...new Set(shown.flatMap((s) => s.points.map((p) => p.x)))].sort((a, b) => a - b);
      const at = new Map(xs.map((x, i) => [x, i]));
      const columns = shown.map((s) => {
        const column = new Array(xs.length).fill(null);
        for (const p of s.points) column[at.get(p.x)] = p.y;
        return column;
      });
      const tip = el('div', { className: 'tip' });
      const width = plot.clientWidth;
      u = new uPlot(
        {
          width,
          padding: picture ? [12, 210, 0, 0] : undefined,
          height: Math.min(460, Math.max(300, Math.round(width * 0.45))),
          legend: { show: false },
          cursor: { drag: { x: true, y: true, uni: 20 }, points: { show: false } },
          scales: {
            x: scale(state.xlog, xs, []),
            y: scale(
              state.ylog,
              columns.flat().filter((v) => v !== null),
              shown.flatMap((s) => s.points.flatMap((p) => [p.lo, p.hi])).concat((drawn.lines || []).map((l) => l.y)),
            ),
          },
          axes: [axis(drawn.x, state.xlog, drawn.x.ticks), axis(drawn.y, state.ylog)],
          // decorate draws them: a line may go back
          series: [{}, ...shown.map((s) => ({ label: s.name, points: { show: false }, paths: () => null }))],
          hooks: {
            draw: [(c) => decorate(c, shown), (c) => picture && nameLines(c, shown)],
            setCursor: [(c) => point(c, shown, tip)],
          },
        },
        [xs, ...columns],
        plot,
      );
      u.over.append(tip);
    };

    const decorate = (c, shown) => {
      const g = c.ctx;
      const ratio = devicePixelRatio;
      g.save();
      g.beginPath();
      g.rect(c.bbox.left, c.bbox.top, c.bbox.width, c.bbox.height);
      g.clip();
      g.font = `${12 * ratio}px system-ui, sans-serif`;
      g.textAlign = 'left';
      g.textBaseline = 'alphabetic';
      for (const line of drawn.lines || []) {
        const y = c.valToPos(line.y, 'y', true);
        g.strokeStyle = g.fillStyle = css('--soft');
        g.lineWidth = ratio;
        g.setLineDash([4 * ratio, 4 * ratio]);
        g.beginPath();
        g.moveTo(c.bbox.left, y);
        g.lineTo(c.bbox.left + c.bbox.width, y);
        g.stroke();
        g.fillText(line.label, c.bbox.left + 6 * ratio, y - 4 * ratio);
      }
      g.setLineDash([]);
      for (const s of shown) {
        g.strokeStyle = s.color;
        if (!s.marks) {
          g.lineWidth = 2 * ratio;
          g.setLineDash(s.dash.map((d) => d * ratio));
          g.beginPath();
          line(s.points).forEach((p) => g.lineTo(c.valToPos(p.x, 'x', true), c.valToPos(p.y, 'y', true)));
          g.stroke();
          g.setLineDash([]);
        }
        g.lineWidth = 1.5 * ratio;
        for (const p of s.points) {
          const x = c.valToPos(p.x, 'x', true);
          const y = c.valToPos(p.y, 'y', true);
          if (p.hi > p.lo) {
            const lo = c.valToPos(p.lo, 'y', true);
            const hi = c.valToPos(p.hi, 'y', true);
            g.beginPath();
            g.moveTo(x, lo);
            g.lineTo(x, hi);
            for (const end of [lo, hi]) {
              g.moveTo(x - 4 * ratio, end);
              g.lineTo(x + 4 * ratio, end);
            }
            g.stroke();
          }
          g.beginPath();
          if (s.marks) {
            for (const d of [-1, 1]) {
              g.moveTo(x - 4 * ratio, y - 4 * d * ratio);
              g.lineTo(x + 4 * ratio, y + 4 * d * ratio);
            }
          } else if (!s.bare || p.hollow) {
            g.arc(x, y, 3.2 * ratio, 0, 7);
            g.fillStyle = p.hollow ? css('--paper') : s.color;
            g.fill();
          }
          g.stroke();
        }
      }
      g.restore();
    };

    // nameLines writes the names at the ends of their lines, below each other where they would meet.
    const nameLines = (c, shown) => {
      const g = c.ctx;
      const ratio = devicePixelRatio;
      const height = 15 * ratio;
      const ends = shown
        .map((s) => {
          const last = s.points.reduce((a, b) => (b.x > a.x ? b : a));
          return { name: s.name, color: s.color, y: c.valToPos(last.y, 'y', true) };
        })
        .sort((a, b) => a.y - b.y);
      let from = -Infinity;
      for (const e of ends) from = (e.at = Math.max(e.y, from)) + height;
      let to = c.bbox.top + c.bbox.height;
      for (const e of ends.toReversed()) to = (e.at = Math.min(e.at, to)) - height;
      g.save();
      g.font = `${13 * ratio}px system-ui, sans-serif`;
      g.textAlign = 'left';
      g.textBaseline = 'middle';
      for (const e of ends) {
        g.fillStyle = e.color;
        g.fillText(e.name, c.bbox.left + c.bbox.width + 10 * ratio, e.at);
      }
      g.restore();
    };

    // point shows what is nearest to the pointer.
    const point = (c, shown, tip) => {
      const { left, top } = c.cursor;
      let best;
      let distance = 30;
      if (left >= 0) {
        for (const s of shown) {
          for (const p of s.points) {
            const d = Math.hypot(c.valToPos(p.x, 'x') - left, c.valToPos(p.y, 'y') - top);
            if (d < distance) [best, distance] = [{ s, p }, d];
          }
        }
      }
      tip.style.display = best ? 'block' : 'none';
      if (!best) return;
      const { s, p } = best;
      tip.textContent =
        `${s.name}\n${drawn.x.label}: ${si(p.x)}${drawn.x.unit}\n${drawn.y.label}: ${si(p.y)}${drawn.y.unit}` +
        (p.hi > p.lo ? ` (${si(p.lo)}–${si(p.hi)})` : '') +
        (p.tip ? '\n' + p.tip : '');
      const right = c.valToPos(p.x, 'x') > c.over.clientWidth / 2;
      tip.style.left = right ? '' : c.valToPos(p.x, 'x') + 12 + 'px';
      tip.style.right = right ? c.over.clientWidth - c.valToPos(p.x, 'x') + 12 + 'px' : '';
      tip.style.top = Math.max(0, Math.min(c.valToPos(p.y, 'y'), c.over.clientHeight - 80)) + 'px';
    };

    const download = () => {
      const quote = (v) => `"${String(v ?? '').replaceAll('"', '""')}"`;
      const rows = [
        [
          'series',
          `${drawn.x.label} (${drawn.x.unit.trim() || '1'})`,
          `${drawn.y.label} (${drawn.y.unit.trim() || '1'})`,
          'low',
          'high',
          'valid',
          'note',
        ],
      ];
      for (const s of drawn.series) {
        if (!state.off.has(s.name))
          for (const p of s.points) rows.push([s.name, p.x, p.y, p.lo, p.hi, !p.hollow, p.tip]);
      }
      const url = URL.createObjectURL(
        new Blob([rows.map((r) => r.map(quote).join(',')).join('\n') + '\n'], { type: 'text/csv' }),
      );
      el('a', { href: url, download: spec.id + '.csv' }).click();
      setTimeout(() => URL.revokeObjectURL(url), 1000);
    };

    draw();
    return paint;
  }

  const drawable = (p, state) =>
    Number.isFinite(p.x) && Number.isFinite(p.y) && (!state.xlog || p.x > 0) && (!state.ylog || p.y > 0);

  // line is where a series' line goes: through the medians of what was measured at about the same rate, without what
  // did not
  // measure the server.
  const line = (points) => {
    if (!points.length || points[0].order === undefined) return points;
    const groups = [];
    for (const p of points.filter((p) => !p.hollow)) {
      const last = groups[groups.length - 1];
      if (last && p.order > 0 && p.order < last[0].order * 1.06) last.push(p);
      else groups.push([p]);
    }
    const middle = (v) => v.sort((a, b) => a - b)[v.length >> 1];
    return groups.map((g) => ({ x: middle(g.map((p) => p.x)), y: middle(g.map((p) => p.y)) }));
  };

  const swatch = (s) => {
    const svg =
      `<svg xmlns="http://www.w3.org/2000/svg" class="swatch" viewBox="0 0 18 10">` +
      (s.marks
        ? `<path d="M5 1l8 8M13 1l-8 8" stroke="${s.color}" stroke-width="2"/>`
        : `<path d="M0 5h18" stroke="${s.color}" stroke-width="2.5" stroke-dasharray="${(s.dash || []).join(' ')}"/>`) +
      '</svg>';
    return document.createRange().createContextualFragment(svg);
  };

  // scale shows all values, and more that are drawn beside them, unless a part was zoomed to.
  const scale = (log, values, more) => {
    const [least, largest] = [Math.min(...values), Math.max(...values)];
    const seen = values.concat(more).filter((v) => Number.isFinite(v) && (!log || v > 0));
    const [lo, hi] = [Math.min(...seen), Math.max(...seen)];
    const all = log ? [lo / 1.3, hi * 1.3] : [Math.min(0, lo), hi * 1.06 || 1];
    return {
      time: false,
      distr: log ? 3 : 1,
      range: (_, a, b) => (a == null || (a === least && b === largest) ? all : [a, b]),
    };
  };

  const axis = ({ label, unit, format }, log, ticks) => ({
    label: label + (unit ? ` (${unit.trim()})` : ''),
    stroke: () => css('--soft'),
    labelFont: '13px system-ui, sans-serif',
    font: '12px system-ui, sans-serif',
    grid: { stroke: () => css('--grid'), width: 1 },
    ticks: { stroke: () => css('--grid'), width: 1 },
    size: label === 'time' ? 50 : 62,
    splits: ticks
      ? (u, _, lo, hi) =>
          roomy(
            ticks.map((t) => t[0]).filter((v) => v >= lo && v <= hi),
            lo,
            hi,
            log,
            u.bbox.width / devicePixelRatio,
          )
      : log
        ? (u, _, lo, hi) => decades(lo, hi)
        : undefined,
    filter: (u, s) => s,
    values: (u, s) => s.map((v) => (ticks ? ticks.find((t) => t[0] === v)[1] : (format || si)(v))),
  });
  // roomy leaves out ticks that would stand on each other; the last stays.
  const roomy = (ticks, lo, hi, log, width) => {
    const at = (v) => (log ? Math.log(v / lo) / Math.log(hi / lo) : (v - lo) / (hi - lo)) * width;
    const kept = [];
    for (const v of [...ticks].sort((a, b) => b - a))
      if (!kept.length || Math.abs(at(kept[0]) - at(v)) > 40) kept.unshift(v);
    return kept;
  };
  const decades = (lo, hi) => {
    const wide = hi / lo > 2000;
    const out = [];
    for (let e = Math.floor(Math.log10(lo)); e <= Math.ceil(Math.log10(hi)); e++) {
      for (const m of wide ? [1] : [1, 2, 5]) {
        const v = m * 10 ** e;
        if (v >= lo && v <= hi) out.push(+v.toPrecision(3));
      }
    }
    return out;
  };

  const received = { label: 'delivered messages, over all connections', unit: '/s', log: true };
  const connections = { label: 'connections', unit: '', log: true, ticks: data.levels.map((n) => [n, String(n)]) };
  const perServer = (of) =>
    data.servers.map((s, i) => ({ name: s.name, ...look(i), points: s.levels.map((l) => of(l, s)).filter(Boolean) }));
  const marks2011 = (to) =>
    Object.entries(data.marks).map(([name, points], i) => ({
      name: '2011: ' + name,
      color: css('--soft'),
      marks: true,
      dash: dashes[i % 3],
      points: points.map(to).filter(Boolean),
    }));
  // The kernel's wall, where it was measured: as a line over the levels, and across a chart of one level.
  const wallName = "the kernel's wall, in messages of " + data.base;
  const wallSeries = (y, name = wallName) =>
    data.walls.length
      ? [
          {
            name,
            color: css('--soft'),
            dash: [2, 3],
            bare: true,
            points: data.walls.map((w) => ({ x: w.n, y: w[y] })),
          },
        ]
      : [];
  const wallLine = (n) =>
    data.walls.filter((w) => w.n === n && w.messages).map((w) => ({ y: w.messages, label: wallName }));
  const memory = {
    RSS: 'all resident memory',
    Anon: 'anonymous memory',
    File: 'file-backed memory',
    KernelSockets: "the kernel's sockets",
  };
  const server = { name: 'server', label: 'server', options: servers };
  const atLevel = { name: 'level', label: 'at', options: levels };
  const first = servers.length ? servers[0][0] : '';
  const tipOf = (p) =>
    `${p.verdict}, ${p.phase}, ${p.n} connections` + (p.cpu ? `, server ${Math.round(100 * p.cpu)} % CPU` : '');
  // A line follows what was asked for; what came of it may go back.
  const sorted = (points) => points.sort((a, b) => a.order - b.order);

  // What all were loaded with alike.
  const equalLevels = [...new Set(data.equal.map((p) => p.n))].sort((a, b) => a - b);
  const equalUnits = { mean: ' ms', p50: ' ms', p99: ' ms', p999: ' ms', cpu: ' cores', rss: ' MB' };
  const equalNames = {
    mean: 'round trip, mean',
    p50: 'round trip, median',
    p99: 'round trip, p99',
    p999: 'round trip, p99.9',
    cpu: "the server's CPU",
    rss: "the server's memory",
  };
  const equalChart = () =>
    chart({
      id: 'equal',
      title: 'The same load for all',
      about: 'Round trips, CPU and memory at the same rate, in the median of the blocks in which it was carried.',
      state: { level: equalLevels[equalLevels.length - 1], y: 'mean' },
      controls: [
        { name: 'level', label: 'at', options: equalLevels.map((n) => [n, n + ' connections']) },
        { name: 'y', label: '', options: Object.entries(equalNames) },
      ],
      build: ({ level: n, y }) => ({
        x: { ...received, label: 'nominal: sent messages × connections' },
        y: { label: equalNames[y], unit: equalUnits[y], log: y !== 'cpu' },
        series: data.servers
          .map((s, i) => ({
            name: s.name,
            ...look(i),
            points: data.equal
              .filter((p) => p.server === s.name && p.n === n && p[y] > 0)
              .map((p) => ({ x: p.rate, y: y === 'rss' ? p.rss / 1e6 : p[y] })),
          }))
          .filter((s) => s.points.length),
      }),
    });

  if (data.levels.length) table(most);
  const repaint = data.equal.length ? [equalChart()] : [];
  if (data.levels.length)
    repaint.push(
      chart({
        id: 'saturation',
        title: 'Where servers saturate',
        about:
          'The rate at which the mean round trip reaches 200 ms, nominal (messages sent × connections), ' +
            'from the lowest to the highest block; or what was delivered at most. Hollow points are lower ' +
            'bounds. Crosses are the servers of 2011 on the machine of 2011.',
        state: { as: 'rate' },
        controls: [
          {
            name: 'as',
            label: 'as',
            options: [
              ['rate', 'nominal messages a second'],
              ['delivered', 'delivered at most'],
              ['out', 'bytes sent then'],
              ['ratio', 'times ' + data.base],
            ],
          },
        ],
        build: ({ as }) => ({
          x: connections,
          y:
            as === 'rate'
              ? { ...received, label: 'saturates at, nominal messages' }
              : as === 'delivered'
                ? { ...received, label: 'delivered at most, messages' }
                : as === 'out'
                  ? { label: 'bytes sent when most was delivered', unit: 'B/s', log: true }
                  : { label: 'times ' + data.base, unit: '', log: true },
          series: perServer((l) =>
            as === 'rate'
              ? {
                  x: l.Connections,
                  y: l.Rate.Median,
                  lo: l.Low,
                  hi: l.High,
                  tip: `${[...new Set(l.Limits)].join(', ')}, delivered at most ${rate(l.MaxDelivered)}`,
                  hollow: l.LowerBound,
                }
              : as === 'delivered'
                ? { x: l.Connections, y: l.MaxDelivered, tip: [...new Set(l.Limits)].join(', ') }
                : as === 'out'
                  ? l.Out && { x: l.Connections, y: l.Out }
                  : l.RatioMid &&
                    l.Bound !== '–' && {
                      x: l.Connections,
                      y: l.RatioMid,
                      lo: l.Ratio.low,
                      hi: l.Ratio.high,
                      hollow: l.Bound !== '',
                    },
          )
            .concat(
              as === 'out' ? wallSeries('bytes', "the kernel's wall") : as === 'ratio' ? [] : wallSeries('messages'),
            )
            .concat(as === 'rate' ? marks2011(([n, r]) => ({ x: n, y: r })) : []),
        }),
      }),
      chart({
        id: 'rtt',
        title: 'Round trips and load',
        about:
          'What a client feels, from when its message was due. A line is a number of connections; hollow ' +
            'points did not measure the server. Crosses are where the servers of 2011 reached 200 ms.',
        state: { server: first, y: 'mean', x: 'delivered' },
        controls: [
          server,
          {
            name: 'y',
            label: 'round trip',
            options: [
              ['mean', 'mean'],
              ['p50', 'median'],
              ['p99', 'p99'],
              ['fromSend', 'mean from the actual send (2011)'],
            ],
          },
          {
            name: 'x',
            label: 'against',
            options: [
              ['delivered', 'delivered'],
              ['nominal', 'nominal: sent × connections (2011)'],
              ['sent', 'sent'],
            ],
          },
        ],
        build: (s) => ({
          x:
            s.x === 'sent'
              ? { label: 'sent messages, over all connections', unit: '/s', log: true }
              : {
                  ...received,
                  label: (s.x === 'nominal' ? 'nominal' : 'delivered') + ' messages, over all connections',
                },
          y: { label: 'round trip, ' + s.y.replace('fromSend', 'mean from the send'), unit: ' ms', log: true },
          lines: [
            { y: 200, label: '200 ms: saturated' },
            { y: 1500, label: '1.5 s: given up' },
          ],
          series: data.levels
            .map((n, i) => ({
              name: n + ' connections',
              ...look(i),
              points: sorted(
                byName[s.server].points
                  .filter((p) => p.n === n)
                  .map((p) => ({ order: p.nominal, x: p[s.x], y: p[s.y], hollow: !valid(p), tip: tipOf(p) })),
              ),
            }))
            .filter((x) => x.points.length)
            .concat(s.x === 'sent' ? [] : marks2011(([, r]) => ({ x: r, y: 200 }))),
        }),
      }),
      chart({
        id: 'delivered',
        title: 'Offered and delivered',
        about:
          'A server that keeps up is on the diagonal; what it does beyond its capacity tells how it ' +
            'behaves in an overload.',
        state: { level: most },
        controls: [atLevel],
        build: ({ level: n }) => ({
          x: { ...received, label: 'nominal: sent messages × connections' },
          y: { ...received, label: 'delivered' },
          lines: wallLine(n),
          series: data.servers
            .map((s, i) => ({
              name: s.name,
              ...look(i),
              points: sorted(
                s.points
                  .filter((p) => p.n === n)
                  .map((p) => ({ order: p.nominal, x: p.nominal, y: p.delivered, hollow: !valid(p), tip: tipOf(p) })),
              ),
            }))
            .filter((s) => s.points.length),
        }),
      }),
      chart({
        id: 'memory',
        title: 'Memory',
        about:
          "The server's resident memory: connections without messages, at half of its saturation, and at " +
            "what it sustains. The kernel's is that of all TCP sockets of the machine: of both ends, when " +
            "the client is on it too.",
        state: { when: 'Idle', what: 'RSS' },
        controls: [
          {
            name: 'when',
            label: '',
            options: [
              ['Idle', 'idle'],
              ['Half', 'at half its saturation'],
              ['Full', 'at what it sustains'],
            ],
          },
          { name: 'what', label: '', options: Object.entries(memory) },
        ],
        build: ({ when, what }) => ({
          x: connections,
          y: { label: memory[what], unit: ' MB', log: true },
          series: perServer((l) => l[when][what] && { x: l.Connections, y: l[when][what] / 1e6 }),
        }),
      }),
      chart({
        id: 'cpu',
        title: 'CPU for a million deliveries',
        about: "Seconds of the server's core for a million received messages, at the rate that it sustains.",
        state: {},
        build: () => ({
          x: connections,
          y: { label: 'CPU for a million deliveries', unit: ' s', log: true },
          series: perServer((l) => l.CPUPerMicro && { x: l.Connections, y: l.CPUPerMicro }),
        }),
      }),
      chart({
        id: 'spectrum',
        title: 'Percentiles',
        about:
          'How the round trips of the longest trial at each server are distributed: ten seconds at the ' +
            'rate that it sustains.',
        state: { level: most },
        controls: [atLevel],
        build: ({ level: n }) => ({
          x: {
            label: 'share of the round trips that are longer',
            unit: '',
            log: true,
            ticks: [
              [0.5, '50 %'],
              [0.1, '10 %'],
              [0.01, '1 %'],
              [0.001, '0.1 %'],
              [0.0001, '0.01 %'],
            ],
          },
          y: { label: 'round trip', unit: ' ms', log: true },
          series: data.servers
            .map((s, i) => ({
              name: s.name,
              ...look(i),
              points: sorted(
                ((s.longest[n] || {}).spectrum || []).map((y, q) => ({
                  order: -q,
                  x: 1 - data.quantiles[q] / 100,
                  y,
                  tip: 'p' + data.quantiles[q],
                })),
              ),
            }))
            .filter((s) => s.points.length),
        }),
      }),
      chart({
        id: 'time',
        title: 'Round trips over time',
        about: 'Of the same trials, by when messages were due, a mean each tenth of a second: flat is sustained.',
        state: { level: most },
        controls: [atLevel],
        build: ({ level: n }) => ({
          x: { label: 'time', unit: ' s', log: false },
          y: { label: 'round trip, mean', unit: ' ms', log: true },
          series: data.servers
            .map((s, i) => ({
              name: s.name,
              bare: true,
              ...look(i),
              points: ((s.longest[n] || {}).over || [])
                .map((y, k) => ({ x: +((k + 0.5) * s.longest[n].step).toFixed(3), y }))
                .filter((p) => p.y >= 0),
            }))
            .filter((s) => s.points.length),
        }),
      }),
      chart({
        id: 'batching',
        title: 'Batching',
        about:
          'How many messages a frame carries, and how many the client gets with one read: where the ' +
            'capacity of a busy server comes from.',
        state: { level: most, y: 'perFrame' },
        controls: [
          atLevel,
          {
            name: 'y',
            label: '',
            options: [
              ['perFrame', 'messages a frame'],
              ['perRead', 'messages a read'],
            ],
          },
        ],
        build: ({ level: n, y }) => ({
          x: received,
          y: { label: y === 'perFrame' ? 'messages a frame' : 'messages a read', unit: '', log: true },
          series: data.servers
            .map((s, i) => ({
              name: s.name,
              ...look(i),
              points: sorted(
                s.points
                  .filter((p) => p.n === n)
                  .map((p) => ({ order: p.nominal, x: p.delivered, y: p[y], hollow: !valid(p), tip: tipOf(p) })),
              ),
            }))
            .filter((s) => s.points.length),
        }),
      }),
      chart({
        id: 'client',
        title: 'Was it the client?',
        about:
          'How busy the busiest worker of the load client was, and how late it sent. A client that spins ' +
            'reads in smaller pieces when it has time, so being busy says nothing by itself; lag does.',
        state: { level: most, y: 'busy' },
        controls: [
          atLevel,
          {
            name: 'y',
            label: '',
            options: [
              ['busy', 'busy share of the worker'],
              ['lag', 'schedule lag, p99'],
              ['cpu', "the server's CPU"],
            ],
          },
        ],
        build: ({ level: n, y }) => ({
          x: received,
          y: {
            label: { busy: 'busy', lag: 'schedule lag, p99', cpu: 'CPU of the server' }[y],
            unit: y === 'lag' ? ' ms' : ' %',
            log: false,
          },
          series: data.servers
            .map((s, i) => ({
              name: s.name,
              ...look(i),
              points: sorted(
                s.points
                  .filter((p) => p.n === n)
                  .map((p) => ({
                    order: p.nominal,
                    x: p.delivered,
                    y: y === 'lag' ? p.lag : 100 * p[y],
                    hollow: !valid(p),
                    tip: tipOf(p),
                  })),
              ),
            }))
            .filter((s) => s.points.length),
        }),
      }),
    );
  let pending;
  const again = () => {
    clearTimeout(pending);
    pending = setTimeout(() => repaint.forEach((paint) => paint()), 100);
  };
  let width = document.body.clientWidth;
  addEventListener('resize', () => {
    if (document.body.clientWidth !== width) again();
    width = document.body.clientWidth;
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', again);
})();
