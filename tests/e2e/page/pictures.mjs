// Draws the pictures that the pages show into docs/pictures/: `tests/e2e/page.sh pictures`.

import { mkdirSync } from 'node:fs';
import { launch, open } from './browser.mjs';
import { calm, Fixture, ring } from './fixture.mjs';

const FOLDER = new URL('../../../docs/pictures/', import.meta.url).pathname;
mkdirSync(FOLDER, { recursive: true });

const entries = ring(400, { from: 340 });
const status = calm(Date.now() / 1000);
Object.assign(status.generation, { number: 8, loaded_at: entries[340].at - 2 });
const fixture = await new Fixture({ entries, status }).listen();
const browser = await launch();
for (const [name, language, theme] of [['page-en', 'en-GB', 'light'], ['page-zh', 'zh-CN', 'dark']]) {
  const page = await open(browser, fixture.url, { language, theme, width: 1100 });
  await page.locator('.requests li').first().waitFor();
  await page.screenshot({ path: `${FOLDER}${name}.png`, clip: { x: 0, y: 0, width: 1100, height: 760 } });
  await page.context().close();
}
await browser.close();
await fixture.close();
