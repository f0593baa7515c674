// Parts of the page that need no browser: what is told of the last requests, words, colours.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { PHASES } from '../../../src/admin/page/draw.js';
import { columns, KEPT, merge, shift } from '../../../src/admin/page/history.js';
import { duration, percent, setLanguage, span, WORDS } from '../../../src/admin/page/words.js';
import { ring } from './fixture.mjs';

const PAGE = new URL('../../../src/admin/page/', import.meta.url);
const read = (name) => readFileSync(new URL(name, PAGE), 'utf8');

test('a shift is found where it was, with its phase and what came with it', () => {
  const entries = ring(200, { from: 150 });
  const { at, slower, phase, changed } = shift(entries);
  assert.equal(at, entries[150].at);
  assert.equal(slower, true);
  assert.equal(phase, 'upstream_ttfb');
  assert.deepEqual(changed.map(({ field, value }) => [field, value]), [['generation', 8], ['upstream', 'backup']]);
  const back = shift([...entries].reverse().map((entry, index) => ({ ...entry, at: index })));
  assert.equal(back.at, 50);
  assert.equal(back.slower, false);
});

test('no shift is seen where there is none, or too little to tell', () => {
  assert.equal(shift([]), null);
  assert.equal(shift(ring(15, { from: 8 })), null);
  for (const count of [16, 50, 200, 1000]) assert.equal(shift(ring(count)), null, `of ${count}`);
  assert.equal(shift(ring(50).map((entry) => ({ ...entry, first_chunk: 0.5 }))), null, 'all alike');
});

test('merging keeps each request once, in order, and the newest', () => {
  const all = ring(1200);
  const kept = merge(merge([], all.slice(100)), [...all].reverse());
  assert.equal(kept.length, KEPT);
  assert.deepEqual(kept.map((entry) => entry.id), all.slice(-KEPT).map((entry) => entry.id));
});

test('columns hold every request of their time once', () => {
  const entries = ring(400, { from: 340 });
  const now = Date.now() / 1000;
  const { columns: made, width } = columns(entries, now, 48);
  assert.ok(made.length <= 48);
  assert.equal(made.reduce((sum, column) => sum + column.entries.length, 0), 400);
  for (const column of made) {
    for (const { at } of column.entries) assert.ok(at >= column.from && at < column.from + width);
  }
  assert.deepEqual(made.filter((column) => column.generation).map((column) => column.generation), [8]);
});

test('durations have three digits and a unit', () => {
  setLanguage('en');
  const written = [[0, '0.00 µs'], [0.0000281, '28.1 µs'], [0.0009996, '1.00 ms'], [0.4121, '412 ms'], [0.9996, '1.00 s'], [61.234, '61.2 s'], [125, '2 min 5 s'], [NaN, '–']];
  for (const [seconds, text] of written) assert.equal(duration(seconds).replaceAll('\u202f', ' '), text);
  assert.equal(span(11520).replaceAll('\u202f', ' '), '3 h 12 min');
  assert.equal(span(0.2).replaceAll('\u202f', ' '), '0 s');
  assert.equal(percent(0.0004).replaceAll('\u202f', ' '), '<0.1 %');
  assert.equal(percent(0).replaceAll('\u202f', ' '), '0 %');
});

test('both languages say everything that the page asks for', () => {
  const [en, zh] = [WORDS.en, WORDS.zh].map((words) => Object.keys(words).sort());
  assert.deepEqual(en, zh);
  for (const key of en) {
    const names = (text) => [...new Set(text.match(/\{\w+\}/g) ?? [])].sort();
    assert.deepEqual(names(WORDS.zh[key]), names(WORDS.en[key]), key);
  }
  const code = readdirSync(PAGE).filter((name) => name.endsWith('.js')).map(read).join('\n');
  const asked = [...read('index.html').matchAll(/data-t="(\w+)"/g), ...code.matchAll(/\bt(?:ell)?\('(\w+)'/g)].map(([, key]) => key);
  assert.ok(asked.length > 80);
  for (const key of asked) assert.ok(en.includes(key), `nobody says ${key}`);
});

test('nothing makes markup, style or script of text', () => {
  for (const name of readdirSync(PAGE).filter((name) => name.endsWith('.js'))) {
    assert.doesNotMatch(read(name), /innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|DOMParser|srcdoc/, name);
  }
  assert.doesNotMatch(read('index.html'), /\sstyle=|\son\w+=|https?:/);
  assert.doesNotMatch(read('page.css'), /@import|url\(/);
});

/** Linear RGB of `#rrggbb`. */
const linear = (hex) => [1, 3, 5].map((at) => {
  const value = parseInt(hex.slice(at, at + 2), 16) / 255;
  return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
});
const times = (matrix, vector) => matrix.map((row) => row.reduce((sum, value, at) => sum + value * vector[at], 0));
/** Oklab of linear RGB (Ottosson 2020). */
function oklab(rgb) {
  const cones = times([[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566], [0.0883024619, 0.2817188376, 0.6299787005]], rgb);
  const roots = cones.map((value) => Math.cbrt(Math.max(value, 0)));
  return times([[0.2104542553, 0.793617785, -0.0040720468], [1.9779984951, -2.428592205, 0.4505937099], [0.0259040371, 0.7827717662, -0.808675766]], roots);
}
/** How colours look with full vision and without one kind of cones (Machado and others 2009). */
const SIGHT = {
  full: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  protan: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  deutan: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
  tritan: [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
};

test('neighbouring phases part in every kind of sight, in both themes', () => {
  const css = read('page.css');
  for (const [theme, place] of [['light', 1], ['dark', 2]]) {
    const colour = (name) => css.match(new RegExp(`--${name}: light-dark\\((#\\w{6}), (#\\w{6})\\)`))[place];
    for (const [sight, matrix] of Object.entries(SIGHT)) {
      const seen = PHASES.map((phase) => oklab(times(matrix, linear(colour(phase)))));
      const away = (a, b) => Math.hypot(...a.map((value, at) => value - b[at]));
      // A phase may be absent, so that the one after the next is a neighbour too.
      const near = PHASES.flatMap((phase, at) => [1, 2].filter((step) => at + step < PHASES.length).map((step) => [away(seen[at], seen[at + step]), `${phase} and ${PHASES[at + step]}`]));
      const [least, which] = near.sort(([a], [b]) => a - b)[0];
      assert.ok(least > 0.08, `${theme}, ${sight}: ${which} are ${least.toFixed(3)} apart`);
    }
  }
});
