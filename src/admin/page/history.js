// What the last requests tell, from their numbers alone: no page, no clock. Times are in seconds.

import { PHASES } from './draw.js';

/** Requests kept, as many as the gateway's own ring. */
export const KEPT = 1000;
/** Requests on either side of a change, at least. */
const EITHER_SIDE = 8;
/** How many times its standard error a shift must be: many places are tried for the best one. */
const CERTAIN = 5;
/** How much slower or faster the middle must be to be worth a word. */
const WORTH = 1.5;
const WIDTHS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 86400];

/** Until the client had the first byte, or the whole answer where nothing was marked. */
export const wait = (entry) => entry.first_chunk ?? entry.total;

/** Whether the gateway or its upstream failed: a 5xx, or an answer that broke off after its head. */
export const failed = (entry) => entry.status >= 500 || (entry.status < 400 && entry.failure != null);

/** Whether the request itself was at fault. A client may leave when it likes (499). */
export const refused = (entry) => entry.status >= 400 && entry.status < 499;

/** Adds what is not there yet, oldest first, and drops the oldest beyond `KEPT`. */
export function merge(known, more) {
  const ids = new Set(known.map((entry) => entry.id));
  const fresh = more.filter((entry) => entry && typeof entry.id === 'string' && !ids.has(entry.id));
  if (fresh.length === 0) return known;
  return [...known, ...fresh].sort((a, b) => a.at - b.at).slice(-KEPT);
}

/** The value at a quantile, by nearest rank; undefined of nothing. */
export function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)];
}

/** Mean seconds of each phase. */
export function means(entries) {
  const mean = {};
  for (const phase of PHASES) {
    const sum = entries.reduce((sum, entry) => sum + (entry.phases?.[phase] ?? 0), 0);
    if (sum > 0) mean[phase] = sum / entries.length;
  }
  return mean;
}

/**
 * Requests in columns of equal time up to `now`, `most` at most, each with the means of its
 * phases, its failures, and the generation that first appears in it.
 */
export function columns(entries, now, most) {
  if (entries.length === 0) return { width: WIDTHS[0], columns: [] };
  const span = Math.max(now - entries[0].at, 1);
  const width = WIDTHS.find((width) => span / width <= most - 1) ?? WIDTHS.at(-1);
  const last = Math.floor(now / width);
  const first = Math.max(Math.floor(entries[0].at / width), last - most + 1);
  const made = [];
  for (let index = first; index <= last; index += 1) made.push({ from: index * width, entries: [] });
  for (const entry of entries) {
    made[Math.min(Math.floor(entry.at / width), last) - first]?.entries.push(entry);
  }
  let generation = entries[0].generation;
  for (const column of made) {
    column.means = means(column.entries);
    column.failures = column.entries.filter(failed).length;
    const newest = column.entries.at(-1)?.generation ?? generation;
    if (newest !== generation) column.generation = newest;
    generation = newest;
  }
  return { width, columns: made };
}

/**
 * Since when answers begin later or sooner than before: the place that parts the waits (as
 * logarithms) best in two, where it parts them clearly. Gives what changed with it, or null.
 */
export function shift(entries) {
  const told = entries.filter((entry) => entry.route === 'chat' && entry.status < 400 && !failed(entry));
  const logs = told.map((entry) => Math.log(Math.max(wait(entry), 1e-4)));
  const count = logs.length;
  if (count < 2 * EITHER_SIDE) return null;
  const [all, squares] = logs.reduce(([sum, square], x) => [sum + x, square + x * x], [0, 0]);
  let best = { gain: 0 };
  let sum = 0;
  for (let index = 1; index <= count - EITHER_SIDE; index += 1) {
    sum += logs[index - 1];
    if (index < EITHER_SIDE) continue;
    const step = (all - sum) / (count - index) - sum / index;
    const gain = (step * step * index * (count - index)) / count;
    if (gain > best.gain) best = { gain, index };
  }
  const within = Math.max((squares - (all * all) / count - best.gain) / (count - 2), 1e-4);
  if (!best.index || Math.sqrt(best.gain / within) < CERTAIN) return null;
  const [before, after] = [told.slice(0, best.index), told.slice(best.index)];
  const [was, is] = [before, after].map((side) => quantile(side.map(wait), 0.5));
  if (Math.max(is / was, was / is) < WORTH) return null;
  return { at: after[0].at, was, is, slower: is > was, ...where(before, after), changed: changed(before, after) };
}

/** The phase that moved most with it; what comes after the first byte does not count. */
function where(before, after) {
  const [was, is] = [means(before), means(after)];
  const moved = (phase) => (is[phase] ?? 0) - (was[phase] ?? 0);
  const sign = quantile(after.map(wait), 0.5) > quantile(before.map(wait), 0.5) ? 1 : -1;
  const phases = PHASES.filter((phase) => phase !== 'stream');
  const phase = phases.reduce((most, next) => (sign * moved(next) > sign * moved(most) ? next : most));
  return { phase, moved: moved(phase) };
}

/** What else differs between the two sides: values whose share moved by half or more. */
function changed(before, after) {
  const found = [];
  for (const field of ['generation', 'upstream', 'model', 'personality', 'tenant', 'stream']) {
    const [was, is] = [before, after].map((side) => shares(side, field));
    for (const [value, share] of is) {
      if (value !== null && share - (was.get(value) ?? 0) >= 0.5) found.push({ field, value, share, was: was.get(value) ?? 0 });
    }
  }
  return found;
}

function shares(entries, field) {
  const counts = new Map();
  for (const entry of entries) {
    const value = entry[field] ?? null;
    counts.set(value, (counts.get(value) ?? 0) + 1 / entries.length);
  }
  return counts;
}
