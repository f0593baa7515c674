// The page as people meet it: figures, faults, languages, themes, keys, small screens.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { accessible, close, fits, launch, open, picture, text } from './browser.mjs';
import { calm, Fixture, KEY, request, ring } from './fixture.mjs';

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

/** Runs `body` with a fixture of its own. */
const served = (options, body) => async () => {
  const fixture = await new Fixture(options()).listen();
  try {
    await body(fixture);
  } finally {
    await fixture.close();
  }
};

/** A day on which much is wrong: slow since a reload, a failure, a broken edit, a tool gone. */
function badDay() {
  const now = Date.now() / 1000;
  const entries = ring(400, { from: 340 });
  Object.assign(entries[380], { status: 401, upstream: null, failure: 'That key is not one of the gateway’s.', first_chunk: null });
  Object.assign(entries[392], { status: 502, failure: 'upstream_unreachable: connection refused', first_chunk: null });
  const status = calm(now);
  status.generation = {
    number: 8, loaded_at: entries[340].at - 2, refused_at: now - 60, waiting: ['server.listen'],
    faults: ['conf/yychat.toml:14: `timeouts.conect` is not a key; did you mean `timeouts.connect`?', 'conf/personalities/friendly.json:3: `system_prompt` is empty; write one'],
  };
  status.upstreams[1].last_error = { kind: 'connect', at: now - 20 };
  Object.assign(status.tools[1], { state: 'down', tools: 0, detail: 'cannot be connected: No such file or directory', withheld: ['convert_time: its definition changed'] });
  return { entries, status };
}

for (const theme of ['light', 'dark']) {
  for (const language of ['en-GB', 'zh-CN']) {
    for (const width of [360, 1360]) {
      test(`nothing to find fault with: ${theme}, ${language}, ${width} px`, served(badDay, async ({ url }) => {
        const page = await open(browser, url, { theme, language, width });
        await page.locator('.requests li').first().waitFor();
        await page.fill('#seek-key', KEY);
        await page.click('#seek button');
        await page.locator('.memories > li').first().waitFor();
        await page.locator('.requests summary').nth(1).click();
        await fits(page);
        await accessible(page);
        await picture(page, `bad-day-${theme}-${language}-${width}`);
        await page.locator('.memories .act button').first().click();
        await page.locator('#confirm').waitFor();
        // What lies behind the dialog is out of reach, and not looked at.
        await accessible(page, 10);
        await close(page);
      }));
    }
  }
}

test('a calm day says so', served(() => ({ entries: ring(200) }), async ({ url }) => {
  const page = await open(browser, url);
  await page.locator('.findings .good').waitFor();
  assert.match(await text(page, '#findings'), /Nothing is wrong/);
  assert.match(await text(page, '#findings'), /Half of the requests end within [\d.]+\u202f(ms|s)/);
  assert.match(await text(page, '#generation'), /The files on disk are in force/);
  await picture(page, 'calm-light-en-1360');
  await close(page);
}));

test('a gateway without requests says so', served(() => ({ entries: [] }), async ({ url }) => {
  const page = await open(browser, url);
  assert.match(await text(page, '#findings'), /No requests yet/);
  assert.match(await text(page, '#no-requests'), /No request yet/);
  await accessible(page);
  await picture(page, 'empty-light-en-1360');
  await close(page);
}));

test('is it slow, where, since when, and what changed', served(badDay, async ({ url, entries }) => {
  const page = await open(browser, url);
  const finding = page.locator('.findings .warn', { hasText: 'Answers begin later' });
  const said = await finding.innerText();
  const since = new Date(entries[340].at * 1000).toISOString().slice(11, 19);
  assert.ok(said.includes(`since ${since}`), `${said} does not say ${since}`);
  assert.match(said, /Most of it is “Waiting for upstream” \(\+/);
  assert.match(said, /generation 8 \(100\u202f% of requests, 0\u202f% before\)/);
  assert.match(said, /upstream backup \(100/);
  const all = await text(page, '#findings');
  assert.match(all, /1 of the last \d+ requests failed, .* upstream_unreachable: connection refused, backup/);
  assert.match(all, /1 of the last \d+ requests were refused, .* That key is not one/);
  assert.match(all, /2 faults under Configuration/);
  assert.match(all, /Tools of time: down/);
  assert.match(all, /waits for a restart: server.listen/);
  const faults = await page.locator('.faults li').allInnerTexts();
  assert.equal(faults.length, 2);
  assert.match(faults[0], /^conf\/yychat.toml:14: `timeouts.conect` is not a key; did you mean/);
  assert.equal(await text(page, '.timeline .mark'), 'g8');
  await close(page);
}));

test('events arrive without asking', served(() => ({ entries: ring(60), live: false }), async (fixture) => {
  const page = await open(browser, fixture.url);
  await page.locator('.requests li').first().waitFor();
  fixture.send([request(Math.random, Date.now() / 1000, 777, { model: 'just-in', generation: 7 })]);
  await page.locator('.requests li:first-child .name', { hasText: 'just-in' }).waitFor();
  fixture.generation({ ...fixture.status.generation, refused_at: Date.now() / 1000, faults: ['conf/yychat.toml:2: no'] });
  await page.locator('.faults li', { hasText: 'conf/yychat.toml:2: no' }).waitFor();
  await close(page);
}));

test('a list that is being read does not move', served(() => ({ entries: ring(60), live: false }), async (fixture) => {
  const page = await open(browser, fixture.url);
  await page.locator('.requests summary').first().click();
  const first = await page.locator('.requests li').first().getAttribute('data-id');
  fixture.send([request(Math.random, Date.now() / 1000, 777, { model: 'just-in', generation: 7 })]);
  await page.locator('#newer', { hasText: 'Show 1 newer request' }).waitFor();
  assert.equal(await page.locator('.requests li').first().getAttribute('data-id'), first);
  await page.click('#newer');
  await page.locator('.requests li:first-child .name', { hasText: 'just-in' }).waitFor();
  await close(page);
}));

test('paused, it stays as it is; resumed, nothing is lost', served(() => ({ entries: ring(60), live: false }), async (fixture) => {
  const page = await open(browser, fixture.url);
  await page.click('#pause');
  await page.locator('.link-state', { hasText: 'paused at' }).waitFor();
  fixture.send([request(Math.random, Date.now() / 1000, 777, { model: 'meanwhile', generation: 7 })]);
  await page.click('#pause');
  await page.locator('.requests li:first-child .name', { hasText: 'meanwhile' }).waitFor();
  await close(page);
}));

test('a lost connection shows since when, and comes back', served(() => ({ entries: ring(60) }), async (fixture) => {
  const page = await open(browser, fixture.url, { lost: true });
  await fixture.close();
  await page.locator('.link-state.bad', { hasText: /connection lost, since \d\d:\d\d:\d\d/ }).waitFor();
  await picture(page, 'lost-light-en-1360');
  await fixture.listen();
  fixture.send([request(Math.random, Date.now() / 1000, 778, { model: 'after-all', generation: 7 })]);
  await page.locator('.link-state.good').waitFor();
  await page.locator('.requests .name', { hasText: 'after-all' }).waitFor();
  await close(page);
}));

test('what comes from outside is text and nothing else', served(() => {
  const evil = (where) => `<img src=x onerror="alert('${where}')"><script>alert('${where}')</script>&lt;b&gt;${where}`;
  const now = Date.now() / 1000;
  const entries = ring(40, {
    model: evil('model'), upstream: evil('upstream'), personality: evil('personality'), tenant: evil('tenant'), route: 'chat',
    failure: evil('failure'), memory: evil('memory'),
  });
  const status = calm(now);
  status.version = evil('version');
  status.generation = { number: 7, loaded_at: now, refused_at: now, faults: [evil('fault')], waiting: [evil('waiting')] };
  status.upstreams = [{ name: evil('name'), base_url: evil('base_url'), models: [evil('glob')], requests: 1, errors: 1, last_error: { kind: evil('kind'), at: now } }];
  status.personalities = [{ id: evil('id'), name: evil('persona'), source: evil('source') }];
  status.tools = [{ plugin: evil('plugin'), kind: evil('tool kind'), state: 'down', since: null, detail: evil('detail'), tools: 0, withheld: [evil('withheld')] }];
  status.memory.store = evil('store');
  return { entries, status };
}, async (fixture) => {
  Object.assign(fixture.memories[0], {
    role: '<b>role</b>', text: '<img src=x onerror=alert(1)>text', user_id: '<i>user</i>', conversation_id: '<script>alert(2)</script>conversation',
    source: '<u>source</u>', request_id: '<s>request</s>', history: [{ text: '<img src=x>history', replaced_at: 0, reason: '<b>reason</b>' }],
  });
  const page = await open(browser, fixture.url);
  await page.locator('.requests summary').first().click();
  await page.fill('#seek-key', KEY);
  await page.click('#seek button');
  await page.locator('.memories .earlier summary').first().click();
  await page.locator('#tools .headline').waitFor();
  for (const name of ['img', 'b', 'i', 'u', 's', 'body script']) assert.equal(await page.locator(name).count(), 0, `there is a <${name}>`);
  const shown = await text(page, 'body');
  const places = ['model', 'upstream', 'personality', 'tenant', 'failure', 'memory', 'version', 'fault', 'waiting', 'name', 'base_url', 'glob', 'kind', 'id', 'persona', 'source', 'plugin', 'tool kind', 'detail', 'withheld', 'store'];
  for (const place of places) assert.ok(shown.includes(`alert('${place}')</script>&lt;b&gt;${place}`), `${place} is not shown as it is`);
  for (const place of ['role</b>', '>text', 'user</i>', 'conversation', 'source</u>', 'request</s>', '>history', 'reason</b>']) assert.ok(shown.includes(place), place);
  await fits(page);
  await close(page);
}));

test('long words wrap on a phone', served(() => {
  const long = 'x'.repeat(300);
  const status = calm(Date.now() / 1000);
  status.generation.faults = [`conf/${long}.toml:1: ${long}`];
  status.upstreams[0].name = long;
  status.upstreams[0].base_url = `https://${long}/`;
  status.tools[0].plugin = long;
  status.personalities[0].name = long;
  return { entries: ring(40, { model: long, failure: long, upstream: long }), status };
}, async ({ url }) => {
  const page = await open(browser, url, { width: 360 });
  await page.locator('.requests summary').first().click();
  await page.locator('#tools .headline').first().waitFor();
  await fits(page);
  await close(page);
}));

test('everything can be done with keys', served(badDay, async (fixture) => {
  const page = await open(browser, fixture.url);
  const press = (...keys) => keys.reduce((before, key) => before.then(() => page.keyboard.press(key)), Promise.resolve());
  await press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.className), 'skip');
  await press('Enter');
  await page.focus('#theme');
  await press('Enter');
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'dark');
  await page.focus('#timeline');
  await press('ArrowLeft');
  const first = await text(page, '#readout');
  assert.match(first, /\d\d:\d\d:\d\d to \d\d:\d\d:\d\d/);
  await press('Home');
  assert.notEqual(await text(page, '#readout'), first);
  assert.equal(await page.getAttribute('#timeline', 'aria-valuenow'), '0');
  await page.focus('#view input:checked');
  await press('ArrowRight', 'ArrowRight');
  assert.equal(await page.locator('#phases tr').count(), 5);
  await page.focus('.requests summary');
  await press('Enter');
  assert.match(await text(page, '.requests .facts'), /Recall cache/);
  await press('Enter');
  await page.locator('.requests .facts').waitFor({ state: 'detached' });
  await page.fill('#seek-key', KEY);
  await press('Enter');
  await page.locator('.memories > li').first().waitFor();
  await page.focus('.memories .act button');
  await press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'keep');
  await press('Escape');
  assert.equal(await page.locator('#confirm').isVisible(), false);
  assert.equal(fixture.memories.length, 3);
  await close(page);
}));

test('where the admin key is wanted, nothing is shown until it is right', served(() => ({ entries: ring(60) }), async (fixture) => {
  fixture.adminKey = 'sk-of-the-operator';
  const page = await open(browser, fixture.url, { locked: true });
  await page.locator('.findings .warn', { hasText: 'Nothing is shown here without the admin key' }).waitFor();
  assert.equal(await page.locator('.requests li').count(), 0);
  await accessible(page);
  await page.click('#unlock');
  await page.locator('#admin-why', { hasText: 'no key was sent' }).waitFor();
  await accessible(page, 10);
  await page.fill('#admin-key', 'sk-of-another');
  await page.keyboard.press('Enter');
  await page.locator('#admin-why', { hasText: 'is another' }).waitFor();
  await page.keyboard.press('Escape');
  await page.locator('.link-state.warn').waitFor();
  await page.click('#unlock');
  await page.fill('#admin-key', fixture.adminKey);
  await page.keyboard.press('Enter');
  await page.locator('.link-state.good').waitFor();
  await page.locator('.requests li').first().waitFor();
  assert.equal(await page.locator('#unlock').isVisible(), false);
  // The app's key goes beside it.
  await page.fill('#seek-key', KEY);
  await page.click('#seek button');
  await page.locator('.memories > li').first().waitFor();
  await close(page);
}));

test('memory: the key, words to find, provenance, delete', served(() => ({ entries: ring(20) }), async (fixture) => {
  const page = await open(browser, fixture.url);
  await page.click('#seek button');
  await page.locator('#memory-said', { hasText: 'This needs an API key' }).waitFor();
  await page.fill('#seek-key', KEY);
  await page.fill('#seek-query', 'Pixel');
  await page.click('#seek button');
  await page.locator('#memory-said', { hasText: 'say whose memory' }).waitFor();
  await page.fill('#seek-user', 'ada');
  await page.click('#seek button');
  await page.locator('#memory-said', { hasText: '2 memories, the best match first' }).waitFor();
  assert.match(await text(page, '.memories > li:first-child'), /score 7\.25 · from chat · User ada · Conversation monday · generation 3/);
  await page.click('.memories > li:first-child .act button');
  assert.match(await text(page, '#confirm'), /My cat is called Pixel/);
  assert.equal(fixture.memories.length, 3, 'asking deletes nothing');
  await page.click('#delete');
  await page.locator('#memory-said', { hasText: 'Deleted.' }).waitFor();
  assert.equal(await page.locator('.memories > li').count(), 1);
  assert.equal(fixture.memories.length, 2);
  assert.ok(fixture.requests.includes('DELETE /v1/memories/019df1c2-8a40-7000-8001-000000000000'));
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Delete', 'the focus goes to the next one');
  assert.equal(await page.evaluate((key) => JSON.stringify({ ...localStorage }).includes(key), KEY), false);
  await close(page);
}));

test('language and theme follow the browser, then the choice, and stay', served(() => ({ entries: ring(20) }), async ({ url }) => {
  const page = await open(browser, url, { language: 'zh-TW', theme: 'dark' });
  assert.equal(await page.getAttribute('html', 'lang'), 'zh-CN');
  const ground = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const dark = await ground();
  await page.click('#language');
  await page.click('#theme');
  assert.equal(await page.getAttribute('html', 'lang'), 'en');
  assert.notEqual(await ground(), dark);
  await page.reload();
  await page.locator('.link-state.good', { hasText: 'live' }).waitFor();
  assert.equal(await page.getAttribute('html', 'lang'), 'en');
  assert.notEqual(await ground(), dark);
  assert.equal(await page.locator('[data-t]').evaluateAll((nodes) => nodes.filter((node) => node.textContent === node.dataset.t && node.dataset.t.includes('_')).length), 0);
  await close(page);
}));
