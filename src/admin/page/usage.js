// What keys used in the last thirty days: tokens and dollars, by key and model.

import { look } from './ask.js';
import { at, el, say } from './draw.js';
import { dollars, number, t } from './words.js';

const EVERY = 60000;
/** Rows of the table at most; the sum counts all. */
const ROWS = 30;

let rows = null;

/** Draws the table again, in another language too. */
export function redraw() {
  if (!rows) return;
  const sum = { requests: 0, input_tokens: 0, cached_tokens: 0, output_tokens: 0, usd: 0 };
  for (const row of rows) for (const name of Object.keys(sum)) sum[name] += row[name] ?? 0;
  const most = [...rows].sort((a, b) => b.usd - a.usd || b.output_tokens + b.input_tokens - a.output_tokens - a.input_tokens);
  at('usage').replaceChildren(...most.slice(0, ROWS).map((row) => line(row, [row.tenant, row.key].filter(Boolean).join(' / '), row.model)));
  at('usage-sum').replaceChildren(...(rows.length > 1 ? [line(sum, t('usage_sum'), '')] : []));
  at('usage-table').hidden = rows.length === 0;
  say(at('usage-said'), rows.length === 0 ? t('usage_none') : rows.every((row) => row.usd === 0) ? t('usage_free') : '');
}

function line(row, key, model) {
  const counts = [row.requests, row.input_tokens, row.cached_tokens, row.output_tokens].map((count) => number(count));
  return el('tr', {}, el('th', { scope: 'row', class: 'break', text: key }), el('td', { class: 'break', text: model ?? '' }),
    ...[...counts, dollars(row.usd)].map((text) => el('td', { class: 'number', text })));
}

async function refresh() {
  try {
    const answer = await look('v1/usage?by=key,model');
    if (answer?.ok) {
      rows = (await answer.json()).data;
      redraw();
    }
  } catch {
    // The events tell that the connection is lost.
  }
}

/** Asks for it, and again each minute. */
export function listen() {
  refresh();
  setInterval(refresh, EVERY);
}

export { refresh };
