#!/usr/bin/env node
// Starts the program that the package of this kind of machine holds, and passes signals on to it.
'use strict';

const { spawn } = require('node:child_process');

const name = `yychat-${process.platform}-${process.arch}`;
let program;
try {
  program = require.resolve(`${name}/bin/yychat`);
} catch {
  console.error(`yychat: there is no program for this machine: npm did not install ${name}.`);
  console.error('yychat: it is made for Linux with glibc on x64 and arm64; elsewhere, build it or use its image.');
  process.exit(1);
}

const child = spawn(program, process.argv.slice(2), { stdio: 'inherit' });
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) {
  process.on(signal, () => child.kill(signal));
}
child.on('error', (error) => {
  console.error(`yychat: ${program} cannot be started: ${error.message}`);
  process.exit(1);
});
child.on('exit', (code, signal) => process.exit(signal ? 1 : code));
