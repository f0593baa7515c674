// The browser, and what every test asks of the page.

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { AxeBuilder } from '@axe-core/playwright';
import { chromium } from 'playwright-core';

export const PICTURES = new URL('../../../target/page/', import.meta.url).pathname;
const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];

mkdirSync(PICTURES, { recursive: true });

export const launch = () => chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: FLAGS });

/** Opens the page; `faults` gathers whatever the browser has to complain of. */
export async function open(browser, url, { theme = 'light', language = 'en-GB', width = 1360, lost = false, locked = false } = {}) {
  // axe looks at the page in a tab beside it, and so needs a context.
  const context = await browser.newContext({ colorScheme: theme, locale: language, timezoneId: 'UTC', viewport: { width, height: 900 }, reducedMotion: 'reduce' });
  const page = await context.newPage();
  page.faults = [];
  page.on('pageerror', (error) => page.faults.push(String(error)));
  page.on('dialog', (dialog) => page.faults.push(`a dialog: ${dialog.message()}`));
  page.on('console', (message) => {
    const expected = lost || /status of 40[01]/.test(message.text());
    if (['error', 'warning'].includes(message.type()) && !expected) page.faults.push(message.text());
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith('data:')) page.faults.push(`asks for ${request.url()}`);
  });
  await page.goto(url);
  await page.locator(locked ? '.link-state.warn' : '.link-state.good').waitFor();
  return page;
}

/** Closes it, and holds that the browser had nothing to say. */
export async function close(page) {
  assert.deepEqual(page.faults, []);
  await page.context().close();
}

/** axe finds nothing wrong, of any rule of WCAG 2.2 AA and of good practice. */
export async function accessible(page, least = 25) {
  const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
  const { violations, passes } = await new AxeBuilder({ page }).withTags(tags).analyze();
  assert.ok(passes.length >= least, `axe looked at ${passes.length} things only`);
  const told = violations.map(({ id, help, nodes }) => `${id}: ${help}\n${nodes.map((node) => `  ${node.target}: ${node.failureSummary}`).join('\n')}`);
  assert.deepEqual(told, []);
}

/** Nothing stands out to the right. */
export async function fits(page) {
  const [wide, width] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(wide <= width, `${wide} px wide on a screen of ${width} px`);
}

export const picture = (page, name) => page.screenshot({ path: `${PICTURES}${name}.png`, fullPage: true });

/** The text of a place in the page. */
export const text = (page, selector) => page.locator(selector).innerText();
