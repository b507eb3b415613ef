// The page of a search.
const F = DATA.found;
PAGE.append(el('div', { class: 'top' },
  el('div', {}, el('h1', {}, DATA.scenario + ': how much?'), el('p', { class: 'lead' }, DATA.objective)),
  el('span', { class: 'badge ' + (F.limited_by_client ? 'warn' : F.rate_per_s ? 'good' : 'bad') },
    F.rate_per_s ? `${F.ceiling_reached ? 'at least ' : ''}${count(F.rate_per_s)} / s` : 'no rate met it')));
if (F.ceiling_reached) PAGE.append(el('div', { class: 'reasons warn' }, 'The ceiling you set was reached: the engine may do better than this.'));
if (F.limited_by_client) PAGE.append(el('div', { class: 'reasons warn' }, 'The client was saturated at the upper end: the engine may do better than this.'));
PAGE.append(el('div', { class: 'facts' }, fact('bend of the curve', F.knee_per_s ? count(F.knee_per_s) + ' / s' : ''),
  fact('confirmed', F.confirmed_p99_ms ? `runs of ${count(DATA.confirm_s)} s, P99 ${ms(F.confirmed_p99_ms[0])} to ${ms(F.confirmed_p99_ms[1])} ms` : ''), fact('10 % above', F.above_missed == null ? '' : F.above_missed ? 'missed, as it should' : 'met too'), fact('machine', `${DATA.environment.cpu}, ${DATA.environment.cores} cores`), fact('commit', DATA.environment.commit)));

const steps = F.steps.filter(s => s.p99_ms < 1e9).sort((a, b) => a.rate_per_s - b.rate_per_s);
const line = (key, name, i, dash) => ({ name, points: steps.map(s => [s.rate_per_s, s[key]]), colour: colour(i), dash });
const limit = +(/p99 at most ([\d.]+) ms/.exec(DATA.objective) || [])[1];
section('Latency against rate', 'One point a run, each with a campaign of its own; from the due time, logarithmic.', chart([
  line('p50_ms', 'P50', 2), line('p99_ms', 'P99', 0), line('p999_ms', 'P99.9', 3, true),
], { x: 'span', y: 'log', xLabel: 'offered per second', yLabel: 'ms', xTip: v => count(v) + ' / s', yTip: v => ms(v) + ' ms', height: 380, rules: limit ? [{ y: limit, name: 'objective' }] : [] }));
section('Steps', null, table(['stage', 'offered / s', 'answered / s', 'P50 ms', 'P99 ms', 'P99.9 ms', 'errors', ''], F.steps.map(s => ({ cells: [s.stage, count(s.rate_per_s), count(s.achieved_per_s),
  ms(s.p50_ms), ms(s.p99_ms), ms(s.p999_ms), percent(s.error_rate), s.client_saturated ? el('span', { class: 'mark warn' }, 'client saturated') : mark(s.met, 'met', 'missed')] }))));

if (DATA.ladder.length) {
  const U = DATA.usl, far = Math.max(...DATA.ladder.map(p => p[0]));
  const law = U ? Array.from({ length: 60 }, (_, i) => 1 + (far - 1) * (i / 59) ** 2).map(n => [n, U.lambda * n / (1 + U.sigma * (n - 1) + U.kappa * n * (n - 1))]) : [];
  section('Scalability', U ? `Closed model, one run a point. Universal Scalability Law: λ ${count(U.lambda)} / s, contention σ ${U.sigma.toFixed(4)}, coherence κ ${U.kappa.toExponential(2)}, r² ${U.r_squared.toFixed(3)}.` : 'Closed model, one run a point; no law could be fitted.',
    chart([{ name: 'measured', points: DATA.ladder, colour: colour(0), dots: true }, { name: 'law', points: law, colour: colour(1) }],
      { x: 'span', y: 'linear', xLabel: 'connections', yLabel: 'answers per second', xTip: v => `${Math.round(v)} connections`, yTip: count }));
}
if (DATA.plan && DATA.headroom) {
  const P = DATA.plan, H = DATA.headroom;
  section('The campaign', `${count(P.buyers)} buyers within ${count(P.seconds)} s for ${count(P.units)} units, ${P.clicks} clicks each, peak ${P.peak_factor} × the mean.`, table(
    ['', 'per second'], [{ cells: ['needed at the peak', count(H.needed_per_s)] }, { cells: ['wins, if the units go in the first tenth', count(H.wins_per_s)] },
      { cells: ['found', count(H.found_per_s)] }, { head: true, cells: ['headroom', H.factor.toFixed(2) + ' ×'] }]));
}
section('Surroundings', null, environmentCard(DATA.environment));
