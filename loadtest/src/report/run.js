// The page of one run.
const { run, against, comparison, errors } = DATA;
const S = run.summary;
const ORDER = ['seckill', 'order', 'checkout', 'cancel', 'page', 'lookup', 'register', 'room', 'sold-out-heard'];
const PATHS = ORDER.filter(path => S.paths[path]);
const pathColour = path => colour(ORDER.indexOf(path));
const KIND = { 0: 'good', 3: 'warn', 5: 'warn', 130: 'warn' };

(function head() {
  const kind = KIND[S.result.exit_code] || 'bad';
  PAGE.append(el('div', { class: 'top' },
    el('div', {}, el('h1', {}, S.scenario), el('p', { class: 'lead' }, S.about)),
    el('span', { class: 'badge ' + kind }, S.result.name === 'ok' ? 'objectives met, promises kept' : S.result.name)));
  if (S.result.reasons.length) PAGE.append(el('div', { class: 'reasons ' + kind }, el('ul', {}, S.result.reasons.map(r => el('li', {}, r)))));
  if (S.phases.some(p => p.measured && p.model === 'closed'))
    PAGE.append(el('div', { class: 'reasons warn' }, 'Closed model: visitors wait for the engine, so a stall holds the load back and shows in fewer samples than a real crowd would feel.'));
  PAGE.append(el('div', { class: 'facts' }, fact('started', S.started_at.replace('T', ' ').replace(/\.\d+Z/, ' UTC')), fact('ran', S.duration_s.toFixed(1) + ' s'),
    fact('requests', count(S.client.sent)), fact('connections', S.environment.scenario.client.connections), fact('machine', `${S.environment.cpu}, ${S.environment.cores} cores`),
    fact('commit', S.environment.commit), fact('seed', S.environment.scenario.seed)));
  PAGE.append(el('div', { class: 'tiles' }, PATHS.slice(0, 4).map(path => {
    const p = S.paths[path], r = p.all.response, row = (name, value) => el('div', {}, el('dt', {}, name), el('dd', {}, value));
    return el('div', { class: 'tile', style: `--accent:${pathColour(path)}` },
      el('div', { class: 'name' }, path, ' ', el('span', {}, `${short(p.all.rate_per_s)} / s`)),
      el('div', { class: 'big' }, ms(usToMs(r.p99_us)), ' ', el('small', {}, 'ms P99')),
      el('dl', {}, row('P50', ms(usToMs(r.p50_us))), row('P99.9', ms(usToMs(r.p999_us))), row('mean', ms(usToMs(r.mean_us))), row('max', ms(usToMs(r.max_us))),
        row('count', short(p.all.count)), row('errors', percent(p.error_rate))));
  })));
})();

if (S.published.length) section('Beside the published run', 'Published figures and the same paths measured here.', table(
  ['path', '', 'QPS', 'mean ms', 'P99 ms', 'errors'],
  S.published.flatMap(row => {
    const here = (S.by_phase[row.phase] || {})[row.path];
    return [
      { cells: [row.path, 'published', count(row.qps), row.mean_ms == null ? '–' : ms(row.mean_ms), ms(row.p99_ms), row.error_rate == null ? '–' : percent(row.error_rate)] },
      { head: true, cells: ['', 'here', here ? count(here.all.rate_per_s) : '–', here ? ms(usToMs(here.all.response.mean_us)) : '–', here ? ms(usToMs(here.all.response.p99_us)) : '–', here ? percent(here.error_rate) : '–'] },
    ];
  }), [1]));

(function percentiles() {
  // A curve ends at its largest sample: beyond 1 − 1/n there is nothing to know.
  const curve = (points, n) => {
    const end = 1 - 1 / Math.max(n, 2), top = points[points.length - 1];
    return [...points.filter(([q]) => q < end), [end, top[1]]];
  };
  const series = [];
  for (const path of PATHS) {
    if (run.curves[path]) series.push({ name: path, points: curve(run.curves[path], S.paths[path].all.count), colour: pathColour(path) });
    if (run.curves[path + '.service']) series.push({ name: path + ', from sending', points: curve(run.curves[path + '.service'], S.paths[path].all.count), colour: pathColour(path), dash: true, hidden: true });
    if (against && against.curves[path]) series.push({ name: path + ', other run', points: curve(against.curves[path], against.summary.paths[path].all.count), colour: pathColour(path), dash: true });
  }
  if (PATHS.includes('seckill')) for (const [i, outcome] of Object.keys(S.paths.seckill.outcomes).entries())
    if (run.curves['seckill.' + outcome]) series.push({ name: 'seckill: ' + outcome, points: curve(run.curves['seckill.' + outcome], S.paths.seckill.outcomes[outcome].count), colour: colour(i + 4), hidden: true });
  const rules = S.objectives.filter(o => o.what.endsWith(' p99_ms')).map(o => ({ y: o.limit, name: `limit: ${o.what.replace(' p99_ms', ' P99')}` }));
  section('Percentiles', 'Response time from the time at which each request was due, both axes logarithmic: each further nine has equal room. Names in the legend switch curves.',
    chart(series, { x: 'nines', y: 'log', xLabel: 'percentile', yLabel: 'ms', xText: nines, yText: short, yTip: v => ms(v) + ' ms', height: 400, rules }));
})();

const BANDS = S.phases.map(p => ({ from: p.start_s, to: p.start_s + p.duration_s, name: p.measured || p.model === 'rest' ? p.name : p.name + ' (not counted)' }));
const second = t => `${t} s`;
const time = { x: 'span', xLabel: 'seconds', bands: BANDS, xTip: second, gap: 1.5 };
const middle = s => s.t - 0.5;
// The last second may be a fraction of one: its rates would look like a fall.
const SERIES = S.series.filter(s => middle(s) <= S.duration_s);

section('Rate', 'Requests written and answers read in each second, phases as bands.', chart([
  { name: 'sent', points: SERIES.map(s => [middle(s), s.sent]), colour: colour(0) },
  { name: 'answered', points: SERIES.map(s => [middle(s), s.answered]), colour: colour(2) },
  { name: 'in flight at the end of the second', points: SERIES.map(s => [middle(s), s.in_flight]), colour: colour(5), dash: true },
], { ...time, y: 'linear', yLabel: 'per second' }));

section('Latency over time', 'By the second in which the answer came; logarithmic.', chart(PATHS.flatMap(path => {
  const quiet = path === 'cancel' || path === 'lookup' || path === 'room';
  const of = key => SERIES.filter(s => s.paths[path]).map(s => [middle(s), s.paths[path][key] / 1000]);
  return [
    { name: `${path} P99`, points: of('p99_us'), colour: pathColour(path), hidden: quiet },
    { name: `${path} P50`, points: of('p50_us'), colour: pathColour(path), dash: true, hidden: quiet },
    { name: `${path} max`, points: of('max_us'), colour: colour(5), hidden: true },
  ];
}), { ...time, y: 'log', yLabel: 'ms', yTip: v => ms(v) + ' ms' }));

(function outcomes() {
  // An order is also counted as a won purchase; the areas show every request once.
  const names = [...new Set(SERIES.flatMap(s => Object.keys(s.outcomes)))].filter(name => !name.startsWith('order/'));
  const total = name => SERIES.reduce((sum, s) => sum + (s.outcomes[name] || 0), 0);
  names.sort((a, b) => total(b) - total(a));
  const isError = name => errors.includes(name.split('/')[1]);
  let next = 0;
  const series = names.map(name => ({ name: name.replace('/', ': '), colour: isError(name) ? 'var(--bad)' : colour([5, 2, 0, 1, 3, 7, 6][next++ % 7]),
    points: SERIES.map(s => [middle(s), s.outcomes[name] || 0]) }));
  section('Outcomes', 'Every request by its answer; errors in red.', chart(series, { ...time, y: 'linear', stacked: true, yLabel: 'per second', yTip: count }));
})();

if (comparison) section('Comparison', `Before: ${comparison.before}. The interval is what chance leaves open (95 %, seconds resampled).`,
  comparison.cautions.length ? el('div', { class: 'reasons warn', style: 'margin-bottom:14px' }, el('ul', {}, comparison.cautions.map(c => el('li', {}, c)))) : '',
  table(['path', 'figure', 'before', 'after', 'ratio', '95 % interval', ''], comparison.rows.map(r => ({ cells: [r.path, r.figure,
    r.figure === 'error rate' ? percent(r.before) : ms(r.before), r.figure === 'error rate' ? percent(r.after) : ms(r.after), r.ratio.toFixed(3),
    r.interval ? `${r.interval[0].toFixed(2)} – ${r.interval[1].toFixed(2)}` : '–',
    r.regression ? mark(false, '', 'regression') : r.doubtful ? el('span', { class: 'mark warn' }, 'worse, or chance') : r.significant ? mark(true, 'significant, tolerated', '') : 'no significant difference'] })), [1]));

section('Figures', 'Milliseconds; measured phases only.', table(
  ['', 'count', 'per s', 'mean', 'P50', 'P90', 'P99', 'P99.9', 'P99.99', 'max', 'P99 from sending'],
  PATHS.flatMap(path => {
    const cells = (name, l) => [name, count(l.count), short(l.rate_per_s), ...['mean_us', 'p50_us', 'p90_us', 'p99_us', 'p999_us', 'p9999_us', 'max_us'].map(k => ms(usToMs(l.response[k]))), ms(usToMs(l.service.p99_us))];
    return [{ head: true, cells: cells(path, S.paths[path].all) }, ...Object.entries(S.paths[path].outcomes).map(([name, l]) => ({ sub: true, cells: cells(name, l) }))];
  })));

if (S.objectives.length) section('Objectives', null, table(['objective', 'limit', 'measured', ''],
  S.objectives.map(o => ({ cells: [o.what, short(o.limit), o.measured == null ? 'nothing measured' : short(o.measured), mark(o.met, 'met', 'missed')] })), [0], 'verdicts'));

const V = S.verification;
section('Promises', V ? `${count(V.answers_logged)} answers of the client's own log held against ${count(V.orders_exported)} orders exported by the engine and its audit.` : S.verification_error ? `Could not be checked: ${S.verification_error}` : 'Not checked in this run.',
  V ? table(['check', '', 'what was found'], V.checks.map(c => ({ cells: [c.name, c.judged ? mark(c.passed, 'kept', `broken × ${count(c.violations)}`) : el('span', { class: 'mark warn' }, 'not judged'), c.detail] })), [1, 2], 'verdicts') : '');

const C = S.client;
section('The client itself', C.saturated ? 'Too slow: this run says nothing about the engine.' : C.caution || 'Whether the tester kept up with its own schedule.', table(
  ['', 'P50', 'P99', 'P99.9', 'max'], [
    { cells: ['sent after due, ms', ...['p50_us', 'p99_us', 'p999_us', 'max_us'].map(k => ms(usToMs(C.lag[k])))] },
    { cells: ['of that by itself, ms', ...['p50_us', 'p99_us', 'p999_us', 'max_us'].map(k => ms(usToMs(C.own_lag[k])))] },
  ]), el('div', { class: 'facts' }, fact('busy', `${(C.busy_median * 100).toFixed(0)} %, worst second ${(C.busy_max * 100).toFixed(0)} %`), fact('processor a request', C.cpu_us_per_request.toFixed(1) + ' µs'),
    fact('waited for a processor', C.starved_s.toFixed(2) + ' s'), fact('connections opened during the run', count(C.connects)), fact('answers denying an order', count(C.untruthful))));
if (Object.keys(S.oddities).length) section('Unexpected answers', null, table(['answer', 'count'], Object.entries(S.oddities).map(([what, n]) => ({ cells: [what, count(n)] }))));
section('Surroundings', null, environmentCard(S.environment));
