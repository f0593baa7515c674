// What is done on the page: requests are found, personalities and memories edited, a first request copied.

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { matches } from '../../../src/admin/page/find.js';
import { accessible, close, fits, launch, open, picture, text } from './browser.mjs';
import { Fixture, KEY, ring } from './fixture.mjs';

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

/** Runs `body` with a fixture of its own, and a page of it. */
const opened = (options, body, of = {}) => async () => {
  const fixture = await new Fixture(options()).listen();
  try {
    const page = await open(browser, fixture.url, of);
    await body(page, fixture);
    await close(page);
  } finally {
    await fixture.close();
  }
};

test('words find a request by what is known of it', () => {
  const entry = { id: '019df1c2-8a3f', tenant: 'My-App', user: '小明', model: 'gpt-4.1-mini', status: 502, upstream: null, failure: 'connection refused' };
  for (const words of ['', '019df1c2', 'my-app', '小明 gpt', '502', '5xx', 'status:502', 'user:小', 'model=gpt refused']) assert.ok(matches(entry, words), words);
  for (const words of ['qwen', '50', '404', '4xx', 'status:5', 'user:gpt', 'upstream:x', 'my-app qwen']) assert.ok(!matches(entry, words), words);
});

test('requests are found by tenant, user, model, status and id', opened(() => {
  const entries = ring(60);
  Object.assign(entries[10], { status: 429, user: 'bob', failure: 'The budget is spent.' });
  return { entries };
}, async (page, { entries }) => {
  const rows = page.locator('.requests > li');
  await rows.first().waitFor();
  for (const [words, count] of [['bob', 1], ['429', 1], [entries[20].id, 1], ['user:bob 200', 0]]) {
    await page.fill('#find', words);
    await page.waitForFunction((count) => document.querySelectorAll('.requests > li').length === count, count);
  }
  assert.match(await text(page, '#no-requests'), /None of the last requests has all/);
  await page.fill('#find', 'bob');
  await rows.locator('summary').click();
  assert.match(await text(page, '.requests .facts'), /User\s+bob/);
  assert.match(await text(page, '.requests .facts'), /Cost\s+\$0\.00059/);
}));

test('tokens and dollars are told by key and model', opened(() => ({ entries: ring(30) }), async (page) => {
  await page.locator('#usage tr').first().waitFor();
  assert.match(await text(page, '#usage'), /my-app \/ web\s+gpt-4\.1-mini\s+1,200\s+974,400\s+301,000\s+196,800\s+\$0\.70/);
  assert.match(await text(page, '#usage-sum'), /All\s+1,212/);
}));

test('a gateway without requests shows what to copy', opened(() => ({}), async (page) => {
  await page.locator('#example').waitFor();
  assert.match(await text(page, '#example-text'), /base_url="http:\/\/127\.0\.0\.1:8000\/v1"/);
  await fits(page);
  await accessible(page);
  await picture(page, 'empty-light-zh-360');
}, { width: 360, language: 'zh-CN' }));

test('a personality is opened, refused, and saved', opened(() => ({ entries: ring(5) }), async (page, fixture) => {
  await page.locator('#personalities button[value=friendly]').click();
  await page.locator('#persona-text').waitFor();
  assert.equal(await page.inputValue('#persona-text'), fixture.persona);
  await accessible(page, 10);
  await page.fill('#persona-text', 'no JSON');
  await page.click('#persona-save');
  await page.locator('#persona-said', { hasText: 'friendly.json:1: no JSON' }).waitFor();
  assert.equal(await page.inputValue('#persona-text'), 'no JSON');
  await page.fill('#persona-text', '{"system_prompt": "You are brave."}');
  await page.click('#persona-save');
  await page.locator('#persona-said', { hasText: 'in force as generation 9' }).waitFor();
  assert.match(fixture.persona, /brave/);
  await picture(page, 'personality-light-en-1360');
}));

test('a page that is locked asks for the admin key before it writes', opened(() => ({ entries: ring(5) }), async (page, fixture) => {
  await page.locator('#personalities button[value=friendly]').click();
  await page.locator('#persona-text').waitFor();
  fixture.adminKey = 'sk-admin';
  await page.fill('#persona-text', '{"system_prompt": "You are calm."}');
  await page.click('#persona-save');
  await page.fill('#admin-key', 'sk-admin');
  await page.click('#admin-form .main');
  await page.locator('#persona-said', { hasText: 'in force' }).waitFor();
  assert.match(fixture.persona, /calm/);
}));

test('users are listed; a memory is added, corrected, exported and imported', opened(() => ({ entries: ring(5) }), async (page, fixture) => {
  await page.fill('#seek-key', 'another');
  await page.click('#list-users');
  await page.locator('#memory-said', { hasText: 'is not one of this gateway’s' }).waitFor();
  await page.fill('#seek-key', KEY);
  await page.click('#list-users');
  assert.match(await text(page, '#users'), /<b>小明<\/b>/);
  await page.locator('#users button', { hasText: 'ada' }).click();
  await page.locator('.memories > li').first().waitFor();
  assert.equal(await page.inputValue('#seek-user'), 'ada');
  await page.click('#add-record');
  await page.fill('#record-text', 'My dog is called Bruno.');
  await page.click('#record-form .main');
  await page.locator('.memories .text', { hasText: 'Bruno' }).waitFor();
  await page.locator('.memories > li', { hasText: 'Bruno' }).getByRole('button', { name: /^Edit/ }).click();
  await page.fill('#record-text', 'My dog is called Stella.');
  await accessible(page, 10);
  await page.click('#record-form .main');
  await page.locator('.memories .text', { hasText: 'Stella' }).waitFor();
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('#export')]);
  assert.equal(download.suggestedFilename(), 'memories-ada.jsonl');
  const lines = (await readFile(await download.path(), 'utf8')).trim().split('\n');
  assert.equal(lines.length, fixture.memories.length);
  const file = join(tmpdir(), `yychat-import-${process.pid}.jsonl`);
  await writeFile(file, '{"user_id":"ada","text":"My boat is called Nautilus."}\n');
  await page.setInputFiles('#import-file', file);
  await page.locator('.memories .text', { hasText: 'Nautilus' }).waitFor();
  await page.locator('#memory-said', { hasText: '1 record imported.' }).waitFor();
  await fits(page);
}, { width: 390 }));

test('on a phone the requests come before where the time goes', opened(() => ({ entries: ring(30) }), async (page) => {
  const top = (selector) => page.locator(selector).evaluate((node) => node.getBoundingClientRect().top);
  await page.locator('.requests > li').first().waitFor();
  assert.ok(await top('#requests') < await top('#timeline'));
  await fits(page);
}, { width: 360 }));

test('a failure is told in the reader’s language', opened(() => {
  const entries = ring(30);
  Object.assign(entries[29], { status: 502, failure: 'no connection to any upstream', model: null, route: 'none' });
  return { entries };
}, async (page) => {
  await page.locator('.findings .bad', { hasText: '上游无法连接或中途断开：no connection to any upstream' }).waitFor();
  await page.locator('.requests .name', { hasText: '入口处被拒绝' }).waitFor();
}, { language: 'zh-CN' }));
