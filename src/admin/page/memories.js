// The memory browser: search, provenance, delete, with the user's own key; what changes it is in records.js.

import { insist } from './ask.js';
import { at, el, say } from './draw.js';
import * as records from './records.js';
import { clock, number, t } from './words.js';

const PAGE = 20;

/** What is shown: the records, how many there are, and how to go on. */
let shown = { data: [], total: null, cursor: null, ranked: false };
/** Answers that come after another question are not for this list. */
let asked = 0;
/** What was said last, to say it again in another language. */
let said = null;

class Refused extends Error {}

/** Asks with the key of the tenant's app; `as: 'text'` wants what is no JSON. */
async function ask(path, { as = 'json', ...options } = {}) {
  const app = at('seek-key').value.trim();
  let answer;
  try {
    answer = await insist(path, { ...options, app });
  } catch {
    throw new Refused(t('unreachable'));
  }
  if (answer.ok) return as === 'text' ? answer.text() : answer.json().catch(() => null);
  const value = await answer.json().catch(() => null);
  if (answer.status === 401 && !value?.error?.param) throw new Refused(t(app ? 'key_other' : 'key_wrong'));
  throw new Refused(t('failed_with', { why: value?.error?.message ?? answer.status }));
}

async function search(more = false) {
  const [query, user, conversation] = ['query', 'user', 'conversation'].map((name) => at(`seek-${name}`).value.trim());
  const mine = (asked += 1);
  if (query && !user && !conversation) {
    tell('whose');
    at('seek-user').focus();
    return;
  }
  tell('searching');
  try {
    const found = query
      ? await ask('v1/memories/search', {
        method: 'POST', headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(named({ query, user_id: user, conversation_id: conversation, limit: 50 })),
      })
      : await ask(`v1/memories?${new URLSearchParams(named({ user_id: user, conversation_id: conversation, limit: PAGE, cursor: more ? shown.cursor : '' }))}`);
    if (mine !== asked) return;
    const before = more ? shown.data : [];
    shown = { data: [...before, ...found.data], total: found.total ?? null, cursor: found.next_cursor ?? null, ranked: Boolean(query) };
    redraw();
    tellCount();
    if (more) at('memories').children[before.length]?.querySelector('button').focus();
  } catch (error) {
    if (mine !== asked || !(error instanceof Refused)) throw error;
    if (!more) shown = { data: [], total: null, cursor: null, ranked: false };
    redraw();
    tell(null, error.message);
  }
}

/** Only what was written. */
const named = (values) => Object.fromEntries(Object.entries(values).filter(([, value]) => value !== ''));

function tellCount() {
  const n = shown.data.length;
  if (n === 0) tell('found_none');
  else if (shown.ranked) tell('found_best', null, { n });
  else tell('found', null, { n, total: shown.total ?? n });
}

/** Says a text of the page's own, or one that came with a refusal. */
function tell(key, text, values) {
  said = { key, text, values };
  say(at('memory-said'), key ? t(key, values) : text);
}

/** Draws the list again: after an answer, and in another language. */
export function redraw() {
  at('memories').replaceChildren(...shown.data.map(drawRecord));
  at('more').hidden = shown.cursor === null;
  records.redraw();
  if (said?.key) say(at('memory-said'), t(said.key, said.values));
}

function drawRecord(record) {
  const when = (text) => clock(Date.parse(text) / 1000);
  const source = t(`source_${record.source}`);
  const from = [
    when(record.created_at),
    record.score === undefined ? null : t('score', { n: number(record.score, 3) }),
    t('from_source', { source: source.startsWith('source_') ? record.source : source }),
    record.user_id ? `${t('user')} ${record.user_id}` : null,
    record.conversation_id ? `${t('conversation')} ${record.conversation_id}` : null,
    record.generation ? t('in_generation', { n: String(record.generation) }) : null,
    record.updated_at !== record.created_at ? t('again', { time: when(record.updated_at) }) : null,
  ];
  const node = el(
    'li', {},
    el('p', { class: 'said-by', text: record.role }),
    el('p', { class: 'text', text: record.text }),
    el('p', { class: 'note break', text: from.filter(Boolean).join(' · ') }),
  );
  if (record.request_id) node.append(el('p', { class: 'note break' }, `${t('by_request')} `, el('code', { text: record.request_id })));
  if (record.history?.length > 0) {
    const texts = record.history.map(({ text, replaced_at, reason }) =>
      el('li', { class: 'break', text: `${clock(replaced_at / 1000)} · ${reason} · ${text}` }));
    node.append(el('details', { class: 'earlier' }, el('summary', { text: t('earlier') }), el('ul', { class: 'keys' }, ...texts)));
  }
  const short = record.text.length > 80 ? `${record.text.slice(0, 80)}…` : record.text;
  const remove = el('button', { type: 'button', text: t('delete'), 'aria-label': t('delete_this', { text: short }), on: { click: () => confirm(record) } });
  const edit = el('button', { type: 'button', text: t('edit'), 'aria-label': t('edit_this', { text: short }), on: { click: () => records.write(record) } });
  node.append(el('div', { class: 'act' }, remove, edit));
  return node;
}

/** Asks before it deletes: the way back is the one that is at hand. */
function confirm(record) {
  const dialog = at('confirm');
  say(at('confirm-text'), record.text);
  at('delete').onclick = () => {
    dialog.close();
    remove(record);
  };
  dialog.showModal();
  at('keep').focus();
}

async function remove(record) {
  try {
    await ask(`v1/memories/${encodeURIComponent(record.id)}`, { method: 'DELETE' });
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    tell(null, error.message);
    return;
  }
  const place = shown.data.findIndex((other) => other.id === record.id);
  if (place >= 0) shown.data.splice(place, 1);
  if (shown.total !== null) shown.total -= 1;
  redraw();
  tell('deleted');
  // The button that had the focus is gone.
  const next = at('memories').children[Math.min(Math.max(place, 0), shown.data.length - 1)];
  (next?.querySelector('.act button') ?? at('memory-said')).focus();
}

/** Lets it be used. */
export function listen() {
  records.listen({ ask, tell, show: () => search() });
  at('seek').addEventListener('submit', (event) => {
    event.preventDefault();
    search();
  });
  at('more').addEventListener('click', () => search(true));
  at('keep').addEventListener('click', () => at('confirm').close());
}
