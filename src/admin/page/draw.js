// Elements, bars and lines. Whatever comes from the server becomes text, never markup.

/** The phases of a request, in the order in which it meets them. */
export const PHASES = [
  'read_body', 'personality', 'memory', 'tools', 'compose',
  'upstream_connect', 'upstream_ttfb', 'stream', 'tool_execution', 'other',
];

/** The phases that are yychat's own time, neither the upstream's nor the client's. */
export const OWN = ['personality', 'memory', 'tools', 'compose', 'other'];

/** What each view of the page counts. */
export const VIEWS = {
  whole: PHASES,
  before: PHASES.filter((phase) => phase !== 'stream'),
  own: OWN,
};

const SVG = 'http://www.w3.org/2000/svg';

/**
 * An element with attributes, `text` for its text and `on` for its listeners. Styles and handlers
 * as attributes are what the page's policy forbids, so they are not taken.
 */
export function el(name, { text, on, ...attributes } = {}, ...children) {
  const node = name === 'svg' || name === 'path'
    ? document.createElementNS(SVG, name)
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(key, '');
    else if (value !== undefined && value !== null && value !== false) node.setAttribute(key, value);
  }
  for (const [event, listener] of Object.entries(on ?? {})) node.addEventListener(event, listener);
  if (text !== undefined && text !== null) node.textContent = text;
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** The element of the page with this id. */
export const at = (id) => document.getElementById(id);

/** Sets a text only where it differs, so that screen readers and selections are left alone. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** The small square of a phase's colour. */
export const swatch = (phase) => el('span', { class: `swatch phase-${phase}`, 'aria-hidden': 'true' });

/**
 * One stacked bar. `seconds` gives each phase's time; the bar fills `seconds.sum / most` of its
 * width.
 */
export function bar(node, phases, seconds, most) {
  const parts = phases.filter((phase) => seconds[phase] > 0).map((phase) => {
    const part = el('span', { class: `part phase-${phase}` });
    part.style.setProperty('--share', String((100 * seconds[phase]) / most));
    return part;
  });
  node.replaceChildren(...parts);
  return node;
}

/** The phase that takes most, and its share of 1; nothing where there is none. */
export function largest(phases, seconds) {
  const sum = total(phases, seconds);
  if (!(sum > 0)) return null;
  const phase = phases.reduce((most, next) => ((seconds[next] ?? 0) > (seconds[most] ?? 0) ? next : most));
  return { phase, share: seconds[phase] / sum };
}

/** The sum of some phases. */
export function total(phases, seconds) {
  return phases.reduce((sum, phase) => sum + (seconds[phase] ?? 0), 0);
}

/** A line of the last values, from 0 to their greatest; gaps where there was none. */
export function sparkline(values) {
  const [width, height] = [120, 28];
  const most = Math.max(...values.filter(Number.isFinite), 0);
  let path = '';
  let drawing = false;
  values.forEach((value, index) => {
    if (!Number.isFinite(value)) {
      drawing = false;
      return;
    }
    const x = values.length < 2 ? width : (index * width) / (values.length - 1);
    const y = most > 0 ? height - 1 - (value / most) * (height - 3) : height - 1;
    path += `${drawing ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`;
    drawing = true;
  });
  return el(
    'svg',
    { class: 'spark', viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    el('path', { d: path || 'M0 0', 'vector-effect': 'non-scaling-stroke' }),
  );
}
