// A running `yychat demo` on ports of its own.

import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What opens changes through the page. */
export const ADMIN_KEY = 'admin-key-of-the-page';

/** Starts it, and waits until the demo has been played: `{api, admin, config, stop}`. */
export async function demo(binary, lines = '') {
  const folder = await mkdtemp(join(tmpdir(), 'yychat-page-'));
  const config = join(folder, 'yychat.toml');
  await writeFile(config, lines);
  const addresses = ['server.listen=127.0.0.1:0', 'server.admin_listen=127.0.0.1:0'];
  const child = spawn(binary, ['demo', '--config', config, ...addresses.flatMap((set) => ['--set', set])], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, YYCHAT_ADMIN_KEY: ADMIN_KEY } });
  const ended = new Promise((done) => child.on('exit', done));
  let said = '';
  const found = await new Promise((resolve, reject) => {
    const hear = (chunk) => {
      said += chunk;
      const admin = said.match(/^\s*(http:\/\/[\d.:]+\/)  \(/m)?.[1];
      const api = said.match(/base_url="(http:\/\/[\d.:]+\/)v1"/)?.[1];
      if (admin && api && said.includes('Ctrl-C')) resolve({ admin, api });
    };
    child.stdout.on('data', hear);
    child.stderr.on('data', hear);
    ended.then((code) => reject(new Error(`yychat demo ended with ${code}:\n${said}`)));
    child.on('error', reject);
  });
  const stop = async () => {
    child.kill('SIGTERM');
    await ended;
    await rm(folder, { recursive: true });
  };
  return { ...found, config, stop };
}
