// The dashboard page: keeps what the gateway sends and hands it to the parts that draw it.
//
//   /events ──▶ state ──▶ overview, requests, gateway     (page.js)
//   /v1/memories ──▶ memories                             (memories.js)

import * as ask from './ask.js';
import { at, say } from './draw.js';
import * as gateway from './gateway.js';
import { merge } from './history.js';
import * as memories from './memories.js';
import * as overview from './overview.js';
import * as personas from './personas.js';
import * as requests from './requests.js';
import * as usage from './usage.js';
import { clock, LANGUAGES, setLanguage, span, t } from './words.js';

/** An event comes each second; after this long without one the connection is as good as lost. */
const SILENCE = 5000;
const LONGEST_WAIT = 10000;
/** /status is asked again when events bring news, and no more often than this. */
const STATUS_EVERY = 5000;

const state = { overview: null, status: null, generation: null, entries: [], view: 'whole' };
/** What came while the page was paused, oldest first. */
let missed = null;
let lostSince = null;

function draw(anew = false) {
  overview.draw(state);
  requests.draw(state, anew);
  gateway.draw(state);
  drawLink();
}

function drawLink() {
  const link = at('link');
  const [level, text] = missed ? ['calm', t('paused', { time: clock(missed.since) })]
    : ask.lockedBy() ? ['warn', t('locked')]
    : lostSince ? ['bad', t('lost', { time: clock(lostSince) })]
      : state.overview ? ['good', t('live')] : ['calm', t('connecting')];
  link.className = `link-state ${level}`;
  say(link, text);
  const { status } = state;
  const since = (performance.now() - askedAt) / 1000;
  if (status) say(at('about'), t('about', { version: status.version, uptime: span(status.uptime + since) }));
}

/** An event's figures and its new requests. */
function take(event) {
  state.overview = event;
  state.entries = merge(state.entries, event.recent ?? []);
  if (state.generation?.number !== undefined && event.generation !== state.generation.number) refreshStatus();
  overview.tick(event);
}

let connected = false;

/** Hears the events, and again when they end; not while the page is locked. */
async function connect(pause = 1000) {
  connected = true;
  const leave = new AbortController();
  let timer = setTimeout(() => leave.abort(), SILENCE);
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(() => leave.abort(), SILENCE);
    pause = 1000;
    if (lostSince) {
      lostSince = null;
      refreshStatus();
      catchUp();
    }
  };
  try {
    const answer = await ask.look('events', { signal: leave.signal });
    if (!answer) {
      connected = false;
      return;
    }
    if (answer.ok) await ask.events(answer, (name, data) => { alive(); hear(name, JSON.parse(data)); });
  } catch {
    // It is lost, as when it ends.
  } finally {
    clearTimeout(timer);
    leave.abort();
  }
  lostSince ??= Date.now() / 1000;
  drawLink();
  setTimeout(() => connect(Math.min(pause * 2, LONGEST_WAIT)), pause);
}

function hear(name, data) {
  if (name === 'generation') {
    state.generation = data;
    refreshStatus();
    if (!missed) draw();
  } else if (name === 'overview' && missed) {
    missed.events = [...missed.events, data].slice(-overview.TICKS);
  } else if (name === 'overview') {
    take(data);
    if (data.recent?.length > 0) refreshStatus();
    draw();
  }
}

/** Shows that it is locked, and begins again once it is not. */
function lockChanged() {
  const locked = ask.lockedBy();
  at('unlock').hidden = locked?.status !== 401;
  if (!locked) {
    lostSince = null;
    refreshStatus();
    catchUp();
    usage.refresh();
    if (!connected) connect();
  }
  draw();
}

async function unlock() {
  const locked = ask.lockedBy();
  if (!locked || !(await ask.unlock(locked.message))) return;
  // One question decides whether the key is right; the others follow it.
  if (!(await ask.look('status').catch(() => null)) && ask.lockedBy()) unlock();
}

let asking = null;
let askedAt = -Infinity;

/** Asks for /status, soon: many reasons to ask make one question. */
function refreshStatus() {
  if (asking) return;
  const wait = Math.max(0, askedAt + STATUS_EVERY - performance.now());
  asking = setTimeout(async () => {
    askedAt = performance.now();
    try {
      const answer = await ask.look('status');
      if (answer?.ok) {
        state.status = await answer.json();
        state.generation = state.status.generation;
        if (!missed) draw();
      }
    } catch {
      // The events tell that the connection is lost.
    }
    asking = null;
  }, wait);
}

/** The whole ring, so that the page knows what was before it was opened. */
async function catchUp() {
  try {
    const answer = await ask.look('v1/performance/recent?count=1000');
    if (!answer?.ok) return;
    const { data } = await answer.json();
    state.entries = merge(state.entries, data);
    if (!missed) draw(true);
  } catch {
    // As above; the events bring the last 50.
  }
}

function remember(name, value) {
  try {
    localStorage.setItem(`yychat.${name}`, value);
  } catch {
    // A browser that stores nothing: the choice holds until the page is closed.
  }
}

function remembered(name, allowed) {
  try {
    const value = localStorage.getItem(`yychat.${name}`);
    return allowed.includes(value) ? value : null;
  } catch {
    return null;
  }
}

const isDark = () => {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
};

function speak(language) {
  setLanguage(language);
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
  for (const node of document.querySelectorAll('[data-t]')) say(node, t(node.dataset.t));
  for (const node of document.querySelectorAll('[data-hint]')) node.placeholder = t(node.dataset.hint);
  const other = LANGUAGES.find((name) => name !== language);
  const button = at('language');
  button.lang = other;
  button.value = other;
  say(button, other === 'zh' ? '中文' : 'English');
  drawTheme();
  drawPause();
  memories.redraw();
  usage.redraw();
  draw(true);
}

const drawTheme = () => say(at('theme'), t(isDark() ? 'light' : 'dark'));
const drawPause = () => say(at('pause'), t(missed ? 'resume' : 'pause'));

function switches() {
  const theme = remembered('theme', ['light', 'dark']);
  if (theme) document.documentElement.dataset.theme = theme;
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawTheme);
  at('theme').addEventListener('click', () => {
    const theme = isDark() ? 'light' : 'dark';
    document.documentElement.dataset.theme = theme;
    remember('theme', theme);
    drawTheme();
  });
  at('language').addEventListener('click', () => {
    remember('language', at('language').value);
    speak(at('language').value);
  });
  at('pause').addEventListener('click', () => {
    if (missed) {
      const { events } = missed;
      missed = null;
      events.forEach(take);
      refreshStatus();
      catchUp();
      draw(true);
    } else {
      missed = { since: Date.now() / 1000, events: [] };
      drawLink();
    }
    drawPause();
  });
  at('view').addEventListener('change', (event) => {
    state.view = event.target.value;
    draw(true);
  });
}

switches();
ask.listen(lockChanged);
at('unlock').addEventListener('click', unlock);
overview.listen();
requests.listen();
memories.listen();
gateway.listen();
personas.listen();
speak(remembered('language', LANGUAGES) ?? (navigator.language.startsWith('zh') ? 'zh' : 'en'));
refreshStatus();
catchUp();
usage.listen();
connect();
