// The top of the page: what to know, the figures now, and where the time goes.

import { lockedBy } from './ask.js';
import { at, bar, el, largest, OWN, PHASES, say, sparkline, swatch, total, VIEWS } from './draw.js';
import { columns, failed, quantile, refused, shift } from './history.js';
import { clock, duration, failure, number, percent, phaseName, span, t } from './words.js';

/** Seconds of history behind the tiles' lines. */
export const TICKS = 300;
const COLUMNS = 48;
/** For how long something that has passed is still worth a word. */
const RECENT = 600;

/** One value for each event, oldest first. */
const ticks = { rate: [], total: [], first: [], own: [], streams: [], cache: [], failures: [], recall: [] };
/** The column that is being read, counted from the newest; null: none. */
let reading = null;
let drawn = { width: 1, columns: [] };

/** Keeps an event's figures for the lines. */
export function tick({ stats, rates, live_streams }) {
  const values = {
    rate: rates?.requests, total: stats.p50_total_time, first: stats.streams?.first_chunk_p50,
    own: stats.overhead?.p50, streams: live_streams, cache: stats.cache?.hit_ratio,
    failures: rates?.errors, recall: stats.avg_memory_time,
  };
  for (const [name, list] of Object.entries(ticks)) {
    list.push(values[name] ?? NaN);
    if (list.length > TICKS) list.shift();
  }
}

/** Everything of this part, from the page's state. */
export function draw(state) {
  drawFindings(state);
  drawTiles(state);
  drawPhases(state);
  drawTimeline(state);
}

function drawFindings(state) {
  const lines = findings(state).map(([level, ...texts]) =>
    el('li', { class: level }, ...texts.map((text) => el('p', { text }))));
  const list = at('findings');
  // What is being read or selected stays while it says the same.
  const fresh = list.cloneNode(false);
  fresh.append(...lines);
  if (!fresh.isEqualNode(list)) list.replaceChildren(...fresh.childNodes);
}

function findings({ overview, status, generation, entries }) {
  const locked = lockedBy();
  if (locked) return [['warn', locked.status === 401 ? t('locked_about') : locked.message]];
  if (!overview) return [['calm', t('connecting')]];
  const now = overview.at;
  const found = [];
  if (generation?.faults?.length) {
    const faults = t('faults', { n: generation.faults.length });
    found.push(['bad', t('broken', { time: clock(generation.refused_at, now), n: generation.number, faults })]);
  }
  if (generation?.broken?.length) {
    found.push(['bad', t('personalities_broken', { faults: t('faults', { n: generation.broken.length }) })]);
  }
  if (generation?.open_to_all) found.push(['warn', t('open_to_all')]);
  if (generation?.unwatched?.length) {
    found.push(['warn', t('unwatched', { n: generation.unwatched.length, first: generation.unwatched[0] })]);
  }
  const recent = entries.filter((entry) => now - entry.at < RECENT);
  const broke = recent.filter(failed);
  if (broke.length > 0) found.push(['bad', counted('failures', broke, recent, now)]);
  const turned = recent.filter(refused);
  if (turned.length > 0) found.push(['warn', counted('refusals', turned, recent, now)]);
  const moved = shift(entries);
  if (moved) found.push(told(moved, now));
  for (const { name, last_error: error } of status?.upstreams ?? []) {
    if (error && now - error.at < RECENT) found.push(['warn', t('upstream_bad', { name, ago: span(now - error.at), kind: ended(error.kind) })]);
  }
  for (const { plugin, state, detail } of status?.tools ?? []) {
    if (state === 'down') found.push(['warn', t('tool_bad', { plugin, state: t(state), detail: detail ? `${ended(detail)}${t('stop')}` : '' })]);
  }
  if (generation?.waiting?.length) found.push(['warn', t('waits', { keys: generation.waiting.join(', ') })]);
  const calm = !found.some(([level]) => level !== 'calm');
  if (overview.stats.total_requests === 0 || entries.length === 0) found.push(['calm', t('quiet')]);
  else found.push([calm ? 'good' : 'calm', ...(calm ? [t('steady')] : []), facts(overview.stats)]);
  if (generation?.number > 1 && now - generation.loaded_at < RECENT) {
    found.push(['calm', t('applied', { n: generation.number, ago: span(now - generation.loaded_at) })]);
  }
  return found;
}

/** Without the full stop that the sentence around it has. */
const ended = (text) => text.replace(/[.。\s]+$/, '');

/** How many of the last requests, and why the last one. */
function counted(key, some, recent, now) {
  const last = some.at(-1);
  const why = [failure(last.failure, last.status) ?? last.status, last.upstream].filter((part) => part != null).join(', ');
  return t(key, { n: some.length, of: recent.length, ago: span(now - last.at), why });
}

function told(moved, now) {
  const values = {
    time: clock(moved.at, now), is: duration(moved.is), was: duration(moved.was),
    phase: phaseName(moved.phase), moved: `+${duration(moved.moved)}`,
  };
  const changes = moved.changed.map(({ field, value, share, was }) =>
    t('changed', { field: t(`field_${field}`), value: String(value), share: percent(share), was: percent(was) }));
  const what = changes.length > 0 ? t('with_it', { what: changes.join(t('and')) }) : t('with_nothing');
  return [moved.slower ? 'warn' : 'calm', t(moved.slower ? 'slower' : 'sooner', values), what];
}

function facts(stats) {
  const { phase, share } = largest(PHASES, spent(stats)) ?? { phase: 'other', share: NaN };
  return t('facts', {
    p50: duration(stats.p50_total_time), p95: duration(stats.p95_total_time),
    share: percent(share), phase: phaseName(phase), own: duration(stats.overhead?.p50),
  });
}

/** Seconds spent in each phase by the requests of the ring together. */
function spent(stats) {
  const phases = Object.entries(stats.phases ?? {});
  return Object.fromEntries(phases.map(([name, phase]) => [name, phase.avg * phase.count]));
}

function drawTiles({ overview, status }) {
  if (!overview) return;
  const { stats, rates } = overview;
  const off = status?.memory?.enabled === false;
  // Of nothing there is no middle.
  const time = (seconds) => duration(stats.total_requests > 0 ? seconds : NaN);
  const streamed = (seconds) => duration(stats.streams?.count > 0 ? seconds : NaN);
  const recalls = (stats.cache?.hits ?? 0) + (stats.cache?.misses ?? 0);
  const rest = (values) => ['p95', 'p99'].map((name) => `${name} ${time(values?.[name])}`).join(' · ');
  const totals = { p95: stats.p95_total_time, p99: stats.p99_total_time };
  const tiles = [
    ['rate', number(rates?.requests, 1), t('per_second'), t('in_all', { n: stats.total_requests })],
    ['total', time(stats.p50_total_time), t('half'), rest(totals)],
    ['first', streamed(stats.streams?.first_chunk_p50), t('half'), `p95 ${streamed(stats.streams?.first_chunk_p95)}`],
    ['own', time(stats.overhead?.p50), t('half'), rest(stats.overhead)],
    ['streams', number(overview.live_streams), '', t('in_flight', { n: overview.in_flight })],
    ['cache', off ? t('off') : percent(recalls > 0 ? stats.cache.hit_ratio : NaN), '', t('hits', { hits: stats.cache?.hits ?? 0, misses: stats.cache?.misses ?? 0 })],
    ['recall', off ? t('off') : time(stats.avg_memory_time), off ? '' : t('mean_of'), t('records', { n: status?.memory?.records ?? NaN })],
    ['failures', number(rates?.errors, 1), t('per_second'), t('in_window', { n: stats.errors, of: stats.window?.count ?? 0 })],
  ];
  at('tiles').replaceChildren(...tiles.map(([name, value, unit, more]) => el(
    'div', { class: name === 'failures' && rates?.errors > 0 ? 'tile bad' : 'tile' },
    el('dt', { text: t(`tile_${name}`) }),
    el('dd', {},
      el('span', { class: 'value', text: value }), el('span', { class: 'unit', text: unit && ` ${unit}` }),
      el('span', { class: 'more', text: more }), sparkline(ticks[name])),
  )));
}

function drawPhases({ overview, view }) {
  if (!overview) return;
  const stats = overview.stats;
  const seconds = spent(stats);
  const shown = VIEWS[view];
  const sum = total(shown, seconds);
  bar(at('phase-bar'), shown, seconds, sum || 1);
  at('phases').replaceChildren(...shown.filter((phase) => stats.phases?.[phase]).map((phase) => {
    const { avg, p50, p95, p99 } = stats.phases[phase];
    const name = el('th', { scope: 'row', title: phase }, swatch(phase), phaseName(phase));
    if (OWN.includes(phase)) name.className = 'own';
    const cells = [percent(sum > 0 ? seconds[phase] / sum : NaN), ...[avg, p50, p95, p99].map(duration)];
    return el('tr', {}, name, ...cells.map((text) => el('td', { text })));
  }));
}

function drawTimeline({ overview, entries, view }) {
  if (!overview) return;
  drawn = columns(entries, overview.at, COLUMNS);
  drawn.phases = VIEWS[view];
  drawn.now = overview.at;
  const most = Math.max(...drawn.columns.map((column) => total(drawn.phases, column.means)), 1e-6);
  const chart = at('timeline');
  chart.replaceChildren(...drawn.columns.map((column, index) => {
    const stack = bar(el('span', { class: 'stack' }), drawn.phases, column.means, most);
    const node = el('span', { class: 'column' }, stack);
    if (column.failures > 0) node.append(el('span', { class: 'broke', text: '×' }));
    if (column.generation !== undefined) node.append(el('span', { class: 'mark', text: `g${column.generation}` }));
    if (drawn.columns.length - 1 - index === reading) node.classList.add('read');
    return node;
  }));
  say(at('axis-from'), drawn.columns.length > 0 ? clock(drawn.columns[0].from, drawn.now) : '');
  say(at('axis-to'), drawn.columns.length > 0 ? clock(drawn.now, drawn.now) : '');
  say(at('axis-most'), drawn.columns.length > 0 ? t('most', { time: duration(most) }) : '');
  chart.setAttribute('aria-valuemin', '0');
  chart.setAttribute('aria-valuemax', String(Math.max(drawn.columns.length - 1, 0)));
  read();
}

/** Says what the column in question has. */
function read() {
  const chart = at('timeline');
  const index = reading === null ? -1 : drawn.columns.length - 1 - reading;
  const column = drawn.columns[index];
  [...chart.children].forEach((node, place) => node.classList.toggle('read', place === index));
  const text = column ? describe(column) : t('readout');
  say(at('readout'), text);
  chart.setAttribute('aria-valuenow', String(Math.max(index, 0)));
  chart.setAttribute('aria-valuetext', text);
}

function describe(column) {
  const to = Math.min(column.from + drawn.width, drawn.now);
  const values = { from: clock(column.from, drawn.now), to: clock(to, drawn.now), n: column.entries.length };
  if (values.n === 0) return t('column_none', values);
  const parts = [t('column', { ...values, mean: duration(total(drawn.phases, column.means)) })];
  parts[0] += ` (p95 ${duration(quantile(column.entries.map((entry) => total(drawn.phases, entry.phases ?? {})), 0.95))})`;
  const most = largest(drawn.phases, column.means);
  if (most) parts.push(t('column_most', { phase: phaseName(most.phase), share: percent(most.share) }));
  if (column.failures > 0) parts.push(t('column_failed', { n: column.failures }));
  if (column.generation !== undefined) parts.push(t('column_generation', { n: String(column.generation) }));
  return parts.join(' · ');
}

/** Lets columns be read by pointer and by keys. */
export function listen() {
  const chart = at('timeline');
  const last = () => Math.max(drawn.columns.length - 1, 0);
  const keys = {
    ArrowLeft: (place) => place + 1, ArrowDown: (place) => place + 1,
    ArrowRight: (place) => place - 1, ArrowUp: (place) => place - 1,
    Home: () => last(), End: () => 0, PageUp: (place) => place - 10, PageDown: (place) => place + 10,
  };
  chart.addEventListener('keydown', (event) => {
    const move = keys[event.key];
    if (!move) return;
    event.preventDefault();
    reading = reading === null ? 0 : Math.min(Math.max(move(reading), 0), last());
    read();
  });
  chart.addEventListener('pointermove', (event) => {
    const { left, width } = chart.getBoundingClientRect();
    const place = Math.floor(((event.clientX - left) / width) * drawn.columns.length);
    reading = drawn.columns.length - 1 - Math.min(Math.max(place, 0), last());
    read();
  });
  chart.addEventListener('pointerleave', () => {
    reading = null;
    read();
  });
}
