// A server that answers as the admin listener does, with figures that a test sets: for what a real
// gateway shows only on a bad day.

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname } from 'node:path';

const PAGE = new URL('../../../src/admin/page/', import.meta.url);
const TYPES = { '.html': 'text/html; charset=utf-8', '.css': 'text/css; charset=utf-8', '.js': 'text/javascript; charset=utf-8' };
export const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
export const KEY = 'sk-of-the-tenant';

/** Numbers that come the same each time (a linear congruence). */
function dice(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const quantile = (values, q) => [...values].sort((a, b) => a - b)[Math.max(0, Math.ceil(q * values.length) - 1)];
const percentiles = (values) => ({
  count: values.length, avg: values.reduce((sum, value) => sum + value, 0) / (values.length || 1),
  p50: quantile(values, 0.5) ?? 0, p95: quantile(values, 0.95) ?? 0, p99: quantile(values, 0.99) ?? 0,
});

/** One request of the ring. `slow` is what the upstream takes longer, as a factor. */
export function request(random, at, number, { slow = 1, generation = 1, ...more } = {}) {
  const stream = random() < 0.7;
  const around = (value) => value * (0.6 + 0.9 * random());
  const tools = random() < 0.12;
  const phases = {
    read_body: around(0.00012), personality: around(0.00004), memory: around(0.0011), tools: around(0.00003),
    compose: around(0.00002), upstream_connect: around(0.0021), upstream_ttfb: around(0.42) * slow,
    stream: stream ? around(1.1) : around(0.004), ...(tools ? { tool_execution: around(0.21) } : {}), other: around(0.0001),
  };
  const total = Object.values(phases).reduce((sum, value) => sum + value, 0);
  const hit = random() < 0.7;
  return {
    id: `019df1c2-8a3f-75a3-a0cb-${String(number).padStart(12, '0')}`, at, route: 'chat', status: 200, stream,
    model: random() < 0.8 ? 'gpt-4.1-mini' : 'qwen3-32b', upstream: 'primary',
    personality: random() < 0.5 ? 'friendly' : null, memory: hit ? `hit;count=${1 + Math.floor(random() * 4)};bytes=512` : 'miss',
    cache_hit: random() < 0.6, total, first_chunk: total - phases.stream, phases, prompt_tokens: 812, completion_tokens: 164,
    tool_calls: tools ? 1 : 0, failure: null, generation, tenant: 'my-app', user: random() < 0.5 ? 'ada' : null, usd: 0.000588, path: '/v1/chat/completions', ...more,
  };
}

/** The body of /v1/performance/stats for these requests. */
export function stats(entries) {
  const totals = percentiles(entries.map((entry) => entry.total));
  const names = [...new Set(entries.flatMap((entry) => Object.keys(entry.phases)))];
  const own = ['personality', 'memory', 'tools', 'compose', 'other'];
  const overhead = percentiles(entries.map((entry) => own.reduce((sum, name) => sum + (entry.phases[name] ?? 0), 0)));
  const first = percentiles(entries.filter((entry) => entry.stream).map((entry) => entry.first_chunk ?? 0));
  const hits = entries.filter((entry) => entry.cache_hit).length;
  return {
    total_requests: entries.length, avg_total_time: totals.avg, p50_total_time: totals.p50, p95_total_time: totals.p95, p99_total_time: totals.p99,
    avg_memory_time: percentiles(entries.map((entry) => entry.phases.memory ?? 0)).avg,
    phases: Object.fromEntries(names.map((name) => [name, percentiles(entries.map((entry) => entry.phases[name]).filter((value) => value > 0))])),
    overhead: { avg: overhead.avg, p50: overhead.p50, p95: overhead.p95, p99: overhead.p99 },
    cache: { hits, misses: entries.length - hits, hit_ratio: entries.length ? hits / entries.length : 0 },
    streams: { live: 3, count: first.count, first_chunk_p50: first.p50, first_chunk_p95: first.p95 },
    errors: entries.filter((entry) => entry.status >= 500 || entry.failure).length,
    window: { count: entries.length, since: entries[0]?.at ?? null },
  };
}

function memories() {
  const texts = [
    ['user', 'My cat is called Pixel, and we live in Lisbon.', 'monday'],
    ['assistant', 'Pixel is a lovely name. How long have you two lived in Lisbon?', 'monday'],
    ['user', '我对花生过敏，请记住。', 'tuesday'],
  ];
  return texts.map(([role, text, conversation], index) => ({
    object: 'memory', id: `019df1c2-8a40-7000-8001-00000000000${index}`, user_id: 'ada', conversation_id: conversation, role, text,
    created_at: `2026-05-04T09:3${index}:00Z`, updated_at: `2026-05-0${4 + (index === 2 ? 2 : 0)}T09:3${index}:00Z`, source: 'chat',
    request_id: `019df1c2-8a3f-75a3-a0cb-85e16d20780${index}`, generation: 3,
    ...(index === 2 ? { history: [{ text: '我对花生不过敏。', replaced_at: 1778059920000, reason: 'superseded' }] } : {}),
  }));
}

async function body(request) {
  let text = '';
  for await (const chunk of request) text += chunk;
  return text;
}

function usage() {
  return [
    { tenant: 'my-app', key: 'web', model: 'gpt-4.1-mini', requests: 1200, input_tokens: 974400, cached_tokens: 301000, output_tokens: 196800, usd: 0.7046 },
    { tenant: 'my-app', key: 'agent', model: 'qwen3-32b', requests: 12, input_tokens: 52000, cached_tokens: 0, output_tokens: 900, usd: 0 },
  ];
}

/** What the gateway is made of when nothing is wrong. */
export function calm(now) {
  return {
    version: '0.1.0', uptime: 11520,
    generation: { number: 7, loaded_at: now - 5400, refused_at: null, faults: [], waiting: [] },
    upstreams: [
      { name: 'primary', base_url: 'https://api.example.com/v1', models: ['gpt-*', 'qwen3-*'], requests: 12840, errors: 0, last_error: null },
      { name: 'backup', base_url: 'http://127.0.0.1:8080/v1', models: ['*'], requests: 12, errors: 1, last_error: { kind: 'connect', at: now - 7200 } },
    ],
    personalities: [
      { id: 'friendly', name: 'Friendly companion · 友善伙伴', source: 'conf/personalities/friendly.json' },
      { id: 'professional', name: 'Professional · 专业助手', source: 'conf/personalities/professional.json' },
    ],
    tools: [
      { plugin: 'calculator', kind: 'builtin', state: 'ready', since: null, detail: null, tools: 1, withheld: [] },
      { plugin: 'time', kind: 'mcp', state: 'ready', since: now - 5398, detail: null, tools: 2, withheld: [] },
      { plugin: 'tavily_search', kind: 'http', state: 'disabled', since: null, detail: 'TAVILY_API_KEY is not set', tools: 0, withheld: [] },
    ],
    memory: { enabled: true, store: 'embedded', records: 18342 }, listen: '0.0.0.0:8000',
  };
}

/** The fixture, listening on a port of its own. Its fields may be changed while it serves. */
export class Fixture {
  constructor({ entries = [], status = calm(Date.now() / 1000), live = true } = {}) {
    Object.assign(this, { entries, status, live, persona: '{"system_prompt": "You are kind."}\n', memories: memories(), sockets: new Set(), streams: new Set(), requests: [] });
  }

  async listen() {
    this.server = createServer((request, response) => this.#answer(request, response).catch((error) => {
      response.writeHead(500).end(String(error));
    }));
    this.server.on('connection', (socket) => {
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
    });
    await new Promise((done) => this.server.listen(this.port ?? 0, '127.0.0.1', done));
    this.port = this.server.address().port;
    this.url = `http://127.0.0.1:${this.port}/`;
    if (this.live) this.timer = setInterval(() => this.send([]), 1000);
    return this;
  }

  async close() {
    clearInterval(this.timer);
    for (const socket of this.sockets) socket.destroy();
    await new Promise((done) => this.server.close(done));
  }

  /** Adds requests and tells every page at once. */
  send(more) {
    this.entries = [...this.entries, ...more];
    for (const stream of this.streams) this.#event(stream, 'overview', this.#overview(more));
  }

  /** Puts another generation object in force, and tells it. */
  generation(generation) {
    this.status.generation = generation;
    for (const stream of this.streams) this.#event(stream, 'generation', generation);
  }

  #event(stream, name, data) {
    stream.write(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  #overview(recent) {
    const now = Date.now() / 1000;
    const last = this.entries.filter((entry) => now - entry.at < 10);
    return {
      at: now, generation: this.status.generation.number, broken: this.status.generation.faults.length > 0, in_flight: 5, live_streams: 3,
      rates: { requests: last.length / 10, errors: last.filter((entry) => entry.status >= 500).length / 10 },
      stats: stats(this.entries), recent,
    };
  }

  async #answer(request, response) {
    const { pathname, searchParams } = new URL(request.url, this.url);
    this.requests.push(`${request.method} ${pathname}`);
    const json = (status, value) => response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(value));
    const own = pathname === '/' || /^\/\w+\.(js|css)$/.test(pathname);
    const given = request.headers.authorization;
    if (this.adminKey && !own && given !== `Bearer ${this.adminKey}`) {
      const message = `This takes the key of server.admin_key, and ${given ? 'the key in `Authorization` is another' : 'no key was sent'}.`;
      json(401, { error: { message, type: 'invalid_request_error', param: 'server.admin_key', code: 'invalid_api_key' } });
    } else if (pathname === '/events') {
      response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
      this.streams.add(response);
      response.on('close', () => this.streams.delete(response));
      this.#event(response, 'overview', this.#overview(this.entries.slice(-50)));
    } else if (pathname === '/status') json(200, this.status);
    else if (pathname === '/v1/performance/recent') {
      json(200, { object: 'list', data: this.entries.slice(-Number(searchParams.get('count'))).reverse() });
    } else if (pathname === '/v1/usage') json(200, { object: 'list', data: this.usage ?? usage() });
    else if (pathname.startsWith('/personalities/')) await this.#personality(request, pathname, json);
    else if (pathname.startsWith('/v1/memories')) await this.#memory(request, pathname, json, response);
    else await this.#file(pathname, response);
  }

  async #personality(request, pathname, json) {
    const id = decodeURIComponent(pathname.split('/')[2]);
    const file = `conf/personalities/${id}.json`;
    if (request.method === 'GET') {
      json(200, { id, file, text: this.persona, sha256: 'one', read_only: null, fault: null });
      return;
    }
    const { text, sha256 } = JSON.parse(await body(request));
    if (!text.startsWith('{')) {
      json(400, { error: { message: `It is not written, since it would be no personality: ${id}.json:1: no JSON.`, type: 'invalid_request_error', param: 'text', code: 'personality_invalid' } });
    } else if (sha256 !== 'one') json(409, { error: { message: 'The file was edited meanwhile: read it again.', param: null } });
    else {
      this.persona = text;
      json(200, { id, sha256: 'two', generation: 9, faults: [] });
    }
  }

  async #memory(request, pathname, json, response) {
    if (request.headers['x-yychat-api-key'] !== KEY && request.headers.authorization !== `Bearer ${KEY}`) {
      json(401, { error: { message: 'No key.', type: 'invalid_request_error', param: null, code: 'invalid_api_key' } });
      return;
    }
    const id = pathname.split('/')[3];
    if (request.method === 'DELETE') {
      this.memories = this.memories.filter((record) => record.id !== id);
      json(200, { id, object: 'memory', deleted: true });
    } else if (id === 'users') {
      json(200, { object: 'list', data: [{ user_id: 'ada', records: 3 }, { user_id: '<b>小明</b>', records: 1 }], has_more: false, next_cursor: null });
    } else if (id === 'export') {
      response.writeHead(200, { 'Content-Type': 'application/jsonl' }).end(this.memories.map((record) => `${JSON.stringify(record)}\n`).join(''));
    } else if (id === 'import') {
      const lines = (await body(request)).split('\n').filter(Boolean).map((line) => JSON.parse(line));
      this.memories = [...lines.map((line, index) => ({ ...this.memories[0], id: `imported-${index}`, ...line })), ...this.memories];
      json(200, { imported: lines.length });
    } else if (request.method === 'PUT') {
      const { text } = JSON.parse(await body(request));
      this.memories = this.memories.map((record) => (record.id === id ? { ...record, text } : record));
      json(200, this.memories.find((record) => record.id === id));
    } else if (request.method === 'POST' && id === undefined) {
      const added = { ...this.memories[0], id: 'added', source: 'api', ...JSON.parse(await body(request)) };
      this.memories = [added, ...this.memories];
      json(201, added);
    } else if (id === 'search') {
      const { query } = JSON.parse(await body(request));
      const found = this.memories.filter((record) => query.split(' ').some((word) => record.text.includes(word)));
      json(200, { object: 'list', outcome: 'hit', cached: false, data: found.map((record, index) => ({ ...record, score: 7.25 / (index + 1) })) });
    } else {
      json(200, { object: 'list', data: this.memories, total: this.memories.length, has_more: false, next_cursor: null });
    }
  }

  async #file(pathname, response) {
    const name = pathname === '/' ? 'index.html' : pathname.slice(1);
    const text = /^[\w.]+$/.test(name) ? await readFile(new URL(name, PAGE)).catch(() => null) : null;
    if (!text) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, {
      'Content-Type': TYPES[extname(name)], 'Content-Security-Policy': POLICY,
      'X-Content-Type-Options': 'nosniff', 'Referrer-Policy': 'no-referrer',
    }).end(text);
  }
}

/** A ring of `count` requests of the last minutes, ending now; `from` on they are slow. */
export function ring(count, { from = Infinity, every = 3, ...more } = {}) {
  const random = dice(7);
  const now = Date.now() / 1000;
  return Array.from({ length: count }, (_, index) => {
    const slow = index >= from ? { slow: 4, generation: 8, upstream: 'backup' } : { generation: 7 };
    return request(random, now - (count - index) * every, index, { ...slow, ...more });
  });
}
