// The last requests, each with its ledger as a bar; opened, everything known about it.

import { at, bar, el, largest, PHASES, say, swatch, total, VIEWS } from './draw.js';
import { matches } from './find.js';
import { failed, refused } from './history.js';
import { bytes, clock, dollars, duration, failure, number, percent, phaseName, t } from './words.js';

/** Rows to begin with, and rows more each time. */
const ROWS = 20;

const open = new Set();
let order = 'newest';
let rows = ROWS;
/** The newest request that the list shows: a list that is being read does not move. */
let held = null;
let last = null;

/** The list, from the page's state; `anew` also while somebody reads in it. */
export function draw(state, anew = false) {
  last = state;
  const list = at('requests');
  const newest = state.entries.at(-1)?.id ?? null;
  const reading = open.size > 0 || list.matches(':hover') || list.contains(document.activeElement);
  if (reading && !anew && held !== null && newest !== held) {
    const place = state.entries.findIndex((entry) => entry.id === held);
    const newer = state.entries.length - 1 - place;
    at('newer').hidden = newer === 0;
    say(at('newer'), t('newer', { n: newer }));
    return;
  }
  at('newer').hidden = true;
  if (newest === held && !anew && list.children.length > 0) return;
  held = newest;
  fill(list, state);
}

function fill(list, { entries, view, overview }) {
  const chosen = choose(entries);
  const shown = chosen.slice(0, rows);
  const phases = VIEWS[view];
  const most = Math.max(...shown.map((entry) => total(phases, entry.phases ?? {})), 1e-6);
  const focused = document.activeElement?.closest?.('li')?.dataset.id;
  list.replaceChildren(...shown.map((entry) => item(entry, phases, most, overview?.at)));
  if (focused) [...list.children].find((node) => node.dataset.id === focused)?.querySelector('summary').focus();
  at('earlier').hidden = chosen.length <= rows;
  at('no-requests').hidden = shown.length > 0;
  say(at('no-requests'), t(entries.length === 0 ? 'no_requests' : found() ? 'none_match' : 'none_failed'));
  drawExample(entries.length === 0, last.status);
}

const found = () => at('find').value.trim();

/** What somebody copies who has a gateway and no request yet. */
function drawExample(isEmpty, status) {
  at('example').hidden = !isEmpty || !status?.listen;
  if (at('example').hidden) return;
  const [, host, port] = status.listen.match(/^(.*):(\d+)$/) ?? [];
  const base = `http://${/^(0\.0\.0\.0|\[::\])$/.test(host) ? location.hostname : host}:${port}/v1`;
  const lines = [
    `client = OpenAI(base_url="${base}", api_key="…")`, '',
    `curl ${base}/chat/completions -H 'content-type: application/json' \\`,
    `  -H 'authorization: Bearer …' -H 'x-yychat-user-id: ada' \\`,
    `  -d '{"model":"…","messages":[{"role":"user","content":"${t('example_words')}"}]}'`,
  ];
  say(at('example-text'), lines.join('\n'));
}

function choose(all) {
  const entries = found() ? all.filter((entry) => matches(entry, found())) : all;
  if (order === 'slowest') return [...entries].sort((a, b) => b.total - a.total);
  return entries.filter((entry) => order !== 'failed' || failed(entry) || refused(entry)).reverse();
}

function item(entry, phases, most, now) {
  const opened = open.has(entry.id);
  const details = el('details', { open: opened }, summary(entry, phases, most, now));
  if (opened) details.append(inside(entry));
  details.addEventListener('toggle', () => {
    if (details.open === open.has(entry.id)) return;
    if (details.open) {
      open.add(entry.id);
      details.append(inside(entry));
    } else {
      open.delete(entry.id);
      details.lastElementChild.remove();
    }
  });
  const node = el('li', {}, details);
  node.dataset.id = entry.id;
  return node;
}

function summary(entry, phases, most, now) {
  const ledger = entry.phases ?? {};
  const first = largest(phases, ledger);
  const told = first ? t('largest', { phase: phaseName(first.phase), share: percent(first.share) }) : t('none');
  const bad = failed(entry) || refused(entry);
  const name = entry.model ?? (entry.route === 'none' ? t('route_none') : entry.route);
  return el(
    'summary', { class: bad ? 'row bad' : 'row' },
    el('span', { class: 'when', text: clock(entry.at, now) }),
    el('span', { class: 'name', title: name },
      name, entry.stream ? el('span', { class: 'tag', text: t('streamed') }) : null),
    bar(el('span', { class: 'bar', role: 'img', 'aria-label': told, title: told }), phases, ledger, most),
    labelled('first_byte', duration(entry.first_chunk ?? NaN)),
    labelled('total', duration(entry.total)),
    el('span', { class: 'number status' },
      el('span', { class: 'unseen', text: `${t('status')} ` }), `${bad ? '✕' : '✓'} ${entry.status}`),
  );
}

function labelled(key, text) {
  return el('span', { class: `number ${key}` }, el('span', { class: 'label', text: `${t(key)} ` }), text);
}

function inside(entry) {
  const ledger = entry.phases ?? {};
  const spent = PHASES.filter((phase) => ledger[phase] > 0);
  const most = Math.max(...spent.map((phase) => ledger[phase]), 1e-9);
  const rows = spent.map((phase) => el(
    'tr', {},
    el('th', { scope: 'row', title: phase }, swatch(phase), phaseName(phase)),
    el('td', { class: 'drawn' }, bar(el('span', { class: 'bar thin' }), [phase], ledger, most)),
    el('td', { text: duration(ledger[phase]) }),
    el('td', { text: percent(ledger[phase] / entry.total) }),
  ));
  const facts = why(entry).flatMap(([key, text]) => [el('dt', { text: t(key) }), el('dd', { text })]);
  return el('div', { class: 'inside' },
    el('table', { class: 'phases' }, el('tbody', {}, ...rows)), el('dl', { class: 'facts' }, ...facts));
}

/** Everything known of a request but its times, what is wrong first. */
function why(entry) {
  const facts = [
    ['fact_failure', failure(entry.failure, entry.status)],
    ['fact_upstream', entry.upstream ?? t('none')],
    ['fact_purpose', entry.purpose],
    ['fact_memory', recalled(entry.memory)],
    ['fact_cache', entry.cache_hit == null ? null : t(entry.cache_hit ? 'cache_hit' : 'cache_miss')],
    ['fact_personality', entry.personality ?? t('none')],
    ['fact_tools', number(entry.tool_calls ?? 0)],
    ['fact_tokens', tokens(entry)],
    ['fact_cost', entry.usd == null ? null : dollars(entry.usd)],
    ['fact_kind', t(entry.stream ? 'streamed' : 'whole')],
    ['fact_route', entry.route === 'none' ? t('route_none') : entry.route],
    ['fact_path', entry.path],
    ['fact_generation', String(entry.generation)],
    ['fact_tenant', entry.tenant],
    ['fact_user', entry.user],
    ['fact_id', entry.id],
  ];
  return facts.filter(([, text]) => text != null);
}

/** `hit;count=3;bytes=512` in words. */
function recalled(value) {
  if (value == null) return null;
  const [outcome, ...parts] = value.split(';');
  const values = Object.fromEntries(parts.map((part) => part.split('=')));
  const key = `recall_${outcome}`;
  const words = t(key, { n: Number(values.count), bytes: bytes(Number(values.bytes)) });
  return words === key ? value : words;
}

function tokens({ prompt_tokens: prompt, completion_tokens: completion, phases, stream }) {
  if (prompt == null && completion == null) return null;
  const told = t('tokens', { prompt: prompt ?? NaN, completion: completion ?? NaN });
  const rate = stream && completion > 1 && phases?.stream > 0.05 ? completion / phases.stream : NaN;
  return Number.isFinite(rate) ? `${told} · ${t('tokens_rate', { rate: number(rate, 1) })}` : told;
}

/** Lets the order be chosen and the held list be let go. */
export function listen() {
  at('order').addEventListener('change', (event) => {
    order = event.target.value;
    rows = ROWS;
    draw(last, true);
  });
  at('find').addEventListener('input', () => {
    rows = ROWS;
    if (last) draw(last, true);
  });
  at('earlier').addEventListener('click', () => {
    const next = rows;
    rows += ROWS;
    draw(last, true);
    at('requests').children[next]?.querySelector('summary').focus();
  });
  at('newer').addEventListener('click', () => {
    open.clear();
    rows = ROWS;
    draw(last, true);
    at('requests').querySelector('summary')?.focus();
  });
}
