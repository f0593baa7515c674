// What the gateway is made of: the generation, upstreams, personalities, tools, the store.

import { at, el, say } from './draw.js';
import { edit } from './personas.js';
import { clock, t } from './words.js';

/** Everything of this part, from the page's state. */
export function draw({ status, generation, overview }) {
  const now = overview?.at;
  if (generation) fill('generation', drawGeneration(generation, now));
  if (!status) return;
  fill('upstreams', list(status.upstreams, (upstream) => drawUpstream(upstream, now)));
  fill('personalities', list(status.personalities, drawPersonality));
  fill('tools', list(status.tools, (plugin) => drawTools(plugin, now)));
  fill('auxiliary', drawRules(status.auxiliary ?? []));
  const { enabled, store, records } = status.memory;
  say(at('memory-about'), enabled ? t('memory_about', { store, records: t('records', { n: records ?? NaN }) }) : t('memory_off'));
}

/** Replaces what is there only by something else: a selection in it stays. */
function fill(id, nodes) {
  const fresh = at(id).cloneNode(false);
  fresh.append(...nodes);
  if (!fresh.isEqualNode(at(id))) at(id).replaceChildren(...fresh.childNodes);
}

const list = (items, draw) =>
  items?.length > 0 ? items.map(draw) : [el('li', { class: 'note', text: t('none_yet') })];

function drawGeneration({ number, loaded_at, refused_at, faults, broken, waiting }, now) {
  const nodes = [el('p', { text: t('in_force', { n: String(number), time: clock(loaded_at, now) }) })];
  if (faults?.length > 0) {
    nodes.push(el('p', { class: 'bad', text: t('refused', { time: clock(refused_at, now) }) }));
    nodes.push(el('ol', { class: 'faults' }, ...faults.map((text) => el('li', { text }))));
  }
  if (broken?.length > 0) {
    nodes.push(el('p', { class: 'bad', text: t('personalities_bad') }));
    nodes.push(el('ol', { class: 'faults' }, ...broken.map((text) => el('li', { text }))));
  }
  if (!faults?.length && !broken?.length) {
    nodes.push(el('p', { class: 'good', text: t('files_good') }));
  }
  if (waiting?.length > 0) {
    nodes.push(el('p', { class: 'warn', text: t('restart') }));
    nodes.push(el('ul', { class: 'keys' }, ...waiting.map((key) => el('li', {}, el('code', { text: key })))));
  }
  return nodes;
}

function drawUpstream({ name, base_url, models, requests, errors, last_error }, now) {
  const recent = last_error && now - last_error.at < 600;
  const counts = [t('of_requests', { n: requests }), errors > 0 ? t('errors', { n: errors }) : t('no_errors')];
  if (last_error) counts.push(t('last_error', { kind: last_error.kind, time: clock(last_error.at, now) }));
  return el(
    'li', {},
    el('p', { class: recent ? 'headline warn' : 'headline good' }, el('strong', { text: name })),
    el('p', { class: 'note break', text: base_url }),
    el('p', { class: 'note break', text: `${t('models')}: ${models.join(', ')}` }),
    el('p', { class: 'counts', text: counts.join(' · ') }),
  );
}

function drawPersonality({ id, name, source, is_broken }) {
  // A listener is no part of what is compared: the button says by its value whose it is.
  return el(
    'li', {},
    el('p', { class: is_broken ? 'headline bad' : 'headline' }, el('strong', { text: name ?? id })),
    el('p', { class: 'note break' }, el('code', { text: id }), source ? ` · ${source}` : ''),
    el('button', { type: 'button', value: id, text: t('open'), 'aria-label': t('open_this', { text: name ?? id }) }),
  );
}

/** Lets personalities be opened. */
export function listen() {
  at('personalities').addEventListener('click', ({ target }) => {
    const button = target.closest('button');
    if (button) edit(button.value);
  });
}

/** The operator's own rules one by one, those that are shipped by their names. */
function drawRules(rules) {
  const own = rules.filter(({ is_shipped }) => !is_shipped).map(({ name, client }) => el(
    'li', {},
    el('p', { class: 'headline' }, el('strong', { text: name })),
    client ? el('p', { class: 'note break', text: client }) : '',
  ));
  const names = rules.filter(({ is_shipped }) => is_shipped).map(({ name }) => name);
  const shipped = el('li', {},
    el('p', { class: 'headline' }, t('n_shipped', { n: names.length })),
    el('p', { class: 'note break', text: names.join(', ') }));
  return [...own, shipped];
}

function drawTools({ plugin, kind, state, since, detail, tools, withheld }, now) {
  const level = { ready: 'good', down: 'bad', connecting: 'warn' }[state] ?? 'calm';
  const facts = [kind, t(state), state === 'ready' ? t('n_tools', { n: tools }) : null, since ? t('since', { time: clock(since, now) }) : null];
  const nodes = [
    el('p', { class: `headline ${level}` }, el('strong', { text: plugin })),
    el('p', { class: 'counts', text: facts.filter(Boolean).join(' · ') }),
  ];
  if (detail) nodes.push(el('p', { class: 'note break', text: detail }));
  if (withheld?.length > 0) {
    nodes.push(el('p', { class: 'warn', text: t('withheld') }));
    nodes.push(el('ul', { class: 'keys' }, ...withheld.map((text) => el('li', { class: 'break', text }))));
  }
  return el('li', {}, ...nodes);
}
