// The page on a real gateway: the demo, its figures, its memory, a broken edit.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { accessible, close, fits, launch, open, picture, text } from './browser.mjs';
import { POLICY } from './fixture.mjs';
import { ADMIN_KEY, demo } from './gateway.mjs';

const YYCHAT = new URL(process.env.YYCHAT ?? '../../../target/debug/yychat', import.meta.url).pathname;

let browser;
let gateway;
before(async () => {
  [browser, gateway] = await Promise.all([launch(), demo(YYCHAT)]);
});
after(async () => {
  await browser?.close();
  await gateway?.stop();
});

const chat = (body) => fetch(`${gateway.api}v1/chat/completions`, {
  method: 'POST', headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify({ model: 'demo', messages: [{ role: 'user', content: 'Hello!' }], ...body }),
}).then((answer) => answer.text());

test('every part of the page is served, under the policy that it is written for', async () => {
  for (const name of ['', 'page.css', 'page.js', 'draw.js', 'ask.js', 'find.js', 'gateway.js', 'history.js', 'memories.js', 'overview.js', 'personas.js', 'records.js', 'requests.js', 'usage.js', 'words.js']) {
    const answer = await fetch(gateway.admin + name);
    assert.equal(answer.status, 200, name);
    assert.equal(answer.headers.get('content-security-policy'), POLICY, name);
    assert.equal(answer.headers.get('x-content-type-options'), 'nosniff', name);
    assert.match(answer.headers.get('content-type'), name === '' ? /^text\/html/ : name.endsWith('css') ? /^text\/css/ : /^text\/javascript/);
  }
});

test('the demo’s requests, personalities, tools and upstream are there', async () => {
  const page = await open(browser, gateway.admin);
  await page.locator('.requests li').first().waitFor();
  assert.ok(await page.locator('.requests li').count() >= 4);
  assert.match(await text(page, '#findings'), /Half of the requests end within/);
  await page.locator('#personalities', { hasText: 'friendly' }).waitFor();
  assert.match(await text(page, '#tools'), /calculator/);
  assert.match(await text(page, '#upstreams'), /demo/);
  assert.match(await text(page, '#generation'), /The files on disk are in force/);
  await page.locator('.requests summary').first().click();
  assert.match(await text(page, '.requests .facts'), /Upstream\s+demo/);
  await fits(page);
  await accessible(page);
  await picture(page, 'demo-light-en-1360');
  await close(page);
});

test('a request shows as it ends, its ledger whole and its model as text', async () => {
  const page = await open(browser, gateway.admin, { theme: 'dark', language: 'zh-CN' });
  const model = '<img src=x onerror=alert(1)>';
  await chat({ model });
  await chat({ stream: true, personality_id: 'friendly', user: 'page' });
  await page.locator('.requests .tag').first().waitFor();
  assert.equal(await page.locator('img').count(), 0);
  const { data } = await (await fetch(`${gateway.admin}v1/performance/recent?count=1000`)).json();
  for (const entry of data) {
    const sum = Object.values(entry.phases).reduce((sum, seconds) => sum + seconds, 0);
    assert.ok(Math.abs(sum - entry.total) <= 0.01 * entry.total, `${sum} of ${entry.total}`);
  }
  await accessible(page);
  await picture(page, 'demo-dark-zh-1360');
  await close(page);
});

test('a memory is found, shown with where it is from, and deleted', async () => {
  const page = await open(browser, gateway.admin, { width: 360 });
  await page.fill('#seek-user', 'ada');
  await page.fill('#seek-query', 'cat');
  await page.click('#seek button');
  await page.locator('.memories .text', { hasText: 'My cat is called Pixel' }).waitFor();
  const record = page.locator('.memories > li', { hasText: 'My cat is called Pixel' });
  assert.match(await record.innerText(), /from chat · User ada · Conversation monday/);
  await fits(page);
  await picture(page, 'demo-light-en-360');
  await record.getByRole('button', { name: /^Delete/ }).click();
  await page.click('#delete');
  for (const key of ['another-key-0123456789', ADMIN_KEY]) {
    await page.locator('#admin-why', { hasText: key === ADMIN_KEY ? 'is another' : 'no key was sent' }).waitFor();
    await page.fill('#admin-key', key);
    await page.click('#admin-form .main');
  }
  await page.locator('#memory-said', { hasText: 'Deleted.' }).waitFor();
  await page.click('#seek button');
  await page.locator('#memory-said', { hasNotText: 'Searching' }).filter({ hasNotText: 'Deleted' }).waitFor();
  assert.equal(await page.locator('.memories .text', { hasText: 'My cat is called Pixel' }).count(), 0);
  await close(page);
});

test('a broken edit shows whole, and goes when it is mended', async () => {
  const page = await open(browser, gateway.admin);
  await writeFile(gateway.config, '[timeouts]\nconect = "5s"\n');
  await page.locator('.faults li', { hasText: /conect.*connect/s }).waitFor();
  assert.match(await text(page, '.faults li'), /:2/);
  await page.locator('.findings .bad', { hasText: 'An edit was refused' }).waitFor();
  await picture(page, 'demo-broken-light-en-1360');
  await writeFile(gateway.config, '[timeouts]\nconnect = "6s"\n');
  await page.locator('#generation .good').waitFor();
  await page.locator('.findings', { hasText: 'Generation 2 came into force' }).waitFor();
  await close(page);
});
