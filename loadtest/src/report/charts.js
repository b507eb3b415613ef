'use strict';
// Small SVG charts: lines and stacked areas on linear, logarithmic and percentile axes, with a crosshair.
const DATA = JSON.parse(document.getElementById('data').textContent);
const PAGE = document.getElementById('page');
const COLOURS = 8;
const colour = i => `var(--c${i % COLOURS})`;

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === 'class') node.className = value;
    else if (key === 'style') node.style.cssText = value;
    else if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value);
  }
  node.append(...children.flat().filter(child => child !== null && child !== undefined));
  return node;
}
function svg(tag, attributes = {}, text) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

const count = n => n == null ? '–' : Math.round(n).toLocaleString('en-US');
function ms(value) {
  if (value == null) return '–';
  if (value >= 100) return count(value);
  return value >= 10 ? value.toFixed(1) : value >= 1 ? value.toFixed(2) : value.toFixed(3);
}
const usToMs = us => us == null ? null : us / 1000;
const percent = share => share === 0 ? '0' : share < 0.0001 ? (share * 100).toExponential(1) + ' %' : (share * 100).toFixed(3) + ' %';
const short = n => n >= 1e6 ? +(n / 1e6).toPrecision(3) + ' M' : n >= 1e4 ? +(n / 1e3).toPrecision(3) + ' k' : +n.toPrecision(3) + '';

function niceStep(span, ticks) {
  const raw = span / ticks, power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].map(f => f * power).find(step => step >= raw);
}
const AXES = {
  linear(values) {
    const top = Math.max(...values, 0) || 1, step = niceStep(top, 5), end = Math.ceil(top / step) * step, ticks = [];
    for (let at = 0; at <= end + step / 2; at += step) ticks.push(at);
    return { at: v => v / end, ticks };
  },
  log(values) {
    const positive = values.filter(v => v > 0);
    let low = Math.floor(Math.log10(Math.min(...positive, 1))), high = Math.ceil(Math.log10(Math.max(...positive, 1)));
    if (high <= low) high = low + 1;
    const ticks = [];
    for (let power = low; power <= high; power++) ticks.push(10 ** power);
    return { at: v => (Math.log10(Math.max(v, 10 ** low)) - low) / (high - low), ticks };
  },
  // Equal room for each further nine.
  nines(values) {
    const far = Math.max(...values.map(q => q < 1 ? -Math.log10(1 - q) : 0), 2);
    const ticks = [0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999].filter(q => -Math.log10(1 - q) <= far + 0.01);
    return { at: q => Math.min(-Math.log10(Math.max(1 - q, 10 ** -far)) / far, 1), ticks };
  },
  span(values) {
    const low = Math.min(...values), high = Math.max(...values), step = niceStep(high - low || 1, 10), ticks = [];
    for (let at = Math.ceil(low / step) * step; at <= high + 1e-9; at += step) ticks.push(at);
    return { at: v => (v - low) / (high - low || 1), ticks };
  },
};
const nines = q => q === 0 ? '0' : +(q * 100).toFixed(6) + ' %';

const TIP = el('div', { class: 'tip' });
document.body.append(TIP);

// series: {name, points: [[x, y]], colour, dash?, area?, hidden?}. options: x, y (axis kinds), xLabel, yLabel, xText, yText,
// height, gap (in x), bands: [{from, to, name}], rules: [{y, name}], stacked.
function chart(series, options) {
  const card = el('div', { class: 'card' });
  const legend = el('div', { class: 'legend' });
  const holder = el('div');
  card.append(legend, holder);
  const height = options.height || 330, left = 62, right = 16, top = 30, bottom = 40;
  // One unit is one pixel, so that text keeps its size on a narrow screen.
  let width = 1120, inner;
  const measure = () => {
    width = Math.min(Math.max(holder.clientWidth, 260), 1120);
    inner = { w: width - left - right, h: height - top - bottom };
  };
  for (const line of series) {
    const swatch = el('i', { class: options.stacked ? 'area' : line.dash ? 'dash' : '',
      style: options.stacked ? `background:${line.colour}` : `border-color:${line.colour}` });
    const button = el('button', { 'aria-pressed': String(!line.hidden), onclick() {
      line.hidden = !line.hidden;
      button.setAttribute('aria-pressed', String(!line.hidden));
      draw();
    } }, swatch, line.name);
    legend.append(button);
  }
  function draw() {
    measure();
    holder.replaceChildren();
    const shown = series.filter(line => !line.hidden && line.points.length);
    if (!shown.length) return;
    const xs = shown.flatMap(line => line.points.map(p => p[0])).concat((options.bands || []).flatMap(b => [b.from, b.to]));
    let stacks = null, ys;
    if (options.stacked) {
      const sums = new Map();
      stacks = shown.map(line => line.points.map(([x, y]) => {
        const base = sums.get(x) || 0;
        sums.set(x, base + y);
        return [x, base, base + y];
      }));
      ys = [...sums.values()];
    } else ys = shown.flatMap(line => line.points.map(p => p[1])).concat((options.rules || []).map(r => r.y));
    const x = AXES[options.x](xs), y = AXES[options.y](ys);
    const px = v => left + x.at(v) * inner.w, py = v => top + (1 - y.at(v)) * inner.h;
    const root = svg('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': options.yLabel });
    (options.bands || []).forEach((band, i) => {
      const from = px(band.from), to = px(band.to);
      if (i % 2 === 0) root.append(svg('rect', { x: from, y: top, width: Math.max(to - from, 0), height: inner.h, class: 'phase' }));
      if (to - from > Math.max(46, band.name.length * 6.2)) root.append(svg('text', { x: (from + to) / 2, y: top + 14, 'text-anchor': 'middle', class: 'phase-name' }, band.name));
    });
    for (const tick of y.ticks) {
      root.append(svg('line', { x1: left, x2: width - right, y1: py(tick), y2: py(tick), class: 'grid' }));
      root.append(svg('text', { x: left - 8, y: py(tick) + 4, 'text-anchor': 'end' }, (options.yText || short)(tick)));
    }
    const every = Math.max(1, Math.ceil(x.ticks.length * 56 / inner.w));
    for (const [i, tick] of x.ticks.entries()) {
      if (i % every) continue;
      root.append(svg('line', { x1: px(tick), x2: px(tick), y1: top, y2: top + inner.h, class: 'grid' }));
      root.append(svg('text', { x: px(tick), y: height - 22, 'text-anchor': 'middle' }, (options.xText || short)(tick)));
    }
    root.append(svg('line', { x1: left, x2: width - right, y1: top + inner.h, y2: top + inner.h, class: 'axis' }));
    root.append(svg('text', { x: width - right, y: height - 4, 'text-anchor': 'end' }, options.xLabel));
    root.append(svg('text', { x: 4, y: 14 }, options.yLabel));
    for (const rule of options.rules || []) {
      root.append(svg('line', { x1: left, x2: width - right, y1: py(rule.y), y2: py(rule.y), stroke: 'var(--bad)', 'stroke-dasharray': '5 4' }));
      root.append(svg('text', { x: width - right - 4, y: py(rule.y) - 5, 'text-anchor': 'end', style: 'fill:var(--bad)' }, rule.name));
    }
    shown.forEach((line, i) => {
      if (stacks) {
        const over = stacks[i].map(([at, , high]) => `${px(at)},${py(high)}`), under = stacks[i].map(([at, low]) => `${px(at)},${py(low)}`).reverse();
        root.append(svg('polygon', { points: [...over, ...under].join(' '), fill: line.colour, 'fill-opacity': .82 }));
        return;
      }
      // Across a gap nothing is known, so nothing is drawn.
      const path = line.points.map(([at, v], i) => {
        const starts = i === 0 || (options.gap && at - line.points[i - 1][0] > options.gap);
        return `${starts ? 'M' : 'L'}${px(at).toFixed(1)},${py(v).toFixed(1)}`;
      }).join('');
      if (!line.dots) root.append(svg('path', { d: path, fill: 'none', stroke: line.colour, 'stroke-width': line.dash ? 1.6 : 2.1,
        'stroke-dasharray': line.dash ? '5 4' : 'none', 'stroke-linejoin': 'round' }));
      if (line.dots || line.points.length === 1) for (const [at, v] of line.points)
        root.append(svg('circle', { cx: px(at), cy: py(v), r: 4.5, fill: line.colour }));
    });
    const cross = svg('line', { y1: top, y2: top + inner.h, class: 'cross', visibility: 'hidden' });
    root.append(cross);
    root.addEventListener('mousemove', event => {
      const box = root.getBoundingClientRect(), at = (event.clientX - box.left) / box.width * width;
      if (at < left || at > width - right) return leave();
      const near = shown.map(line => ({ line, point: line.points.reduce((best, p) => Math.abs(px(p[0]) - at) < Math.abs(px(best[0]) - at) ? p : best) }));
      const closest = near.reduce((best, n) => Math.abs(px(n.point[0]) - at) < Math.abs(px(best.point[0]) - at) ? n : best).point[0];
      cross.setAttribute('x1', px(closest)); cross.setAttribute('x2', px(closest)); cross.setAttribute('visibility', 'visible');
      TIP.replaceChildren(el('b', {}, (options.xTip || options.xText || short)(closest)), ...near.map(({ line, point }) =>
        el('div', { style: `--k:${line.colour}` }, el('span', {}, line.name), el('span', {}, (options.yTip || options.yText || short)(point[1])))));
      TIP.style.display = 'block';
      TIP.style.left = Math.min(event.clientX + 16, innerWidth - TIP.offsetWidth - 8) + 'px';
      TIP.style.top = Math.min(event.clientY + 14, innerHeight - TIP.offsetHeight - 8) + 'px';
    });
    const leave = () => { TIP.style.display = 'none'; cross.setAttribute('visibility', 'hidden'); };
    root.addEventListener('mouseleave', leave);
    holder.append(root);
  }
  // It has no width before it is on the page.
  new ResizeObserver(() => { if (holder.clientWidth && Math.min(Math.max(holder.clientWidth, 260), 1120) !== width) draw(); }).observe(holder);
  draw();
  return card;
}

function table(head, rows, texts = [], kind = '') {
  const cell = (tag, value, i, className = '') => el(tag, { class: (texts.includes(i) ? 'text ' : '') + className }, value);
  return el('div', { class: 'card' }, el('table', { class: kind },
    el('thead', {}, el('tr', {}, head.map((value, i) => cell('th', value, i)))),
    el('tbody', {}, rows.map(row => el('tr', { class: row.head ? 'head' : '' },
      row.cells.map((value, i) => cell('td', value, i, i === 0 && row.sub ? 'sub' : '')))))));
}
const mark = (good, yes, no) => el('span', { class: 'mark ' + (good ? 'good' : 'bad') }, good ? yes : no);
function section(title, note, ...children) {
  PAGE.append(el('h2', {}, title), note ? el('p', { class: 'note' }, note) : '', ...children);
}
const fact = (name, value) => value ? el('span', {}, name + ' ', el('b', {}, String(value))) : null;
function environmentCard(environment) {
  const lines = [
    ['command', environment.command], ['machine', `${environment.cpu}, ${environment.cores} cores, ${count(environment.memory_mib)} MiB`],
    ['system', environment.kernel], ['load average at start', environment.load_average], ['commit', environment.commit || '–'],
    ['targets', environment.targets.join(', ')],
    ...(environment.agents || []).map(a => ['agent', `${a.command}: ${a.cpu}, ${a.cores} cores, began within ${(a.round_trip_us / 2e3).toFixed(2)} ms`]),
    ['tester', environment.tester], ...environment.clock_skew_ms == null ? [] : [['server clock ahead by', environment.clock_skew_ms + ' ms']],
  ];
  const width = Math.max(...lines.map(([name]) => name.length));
  return el('div', { class: 'card' }, el('pre', {}, lines.map(([name, value]) => name.padEnd(width + 3) + value).join('\n')));
}
