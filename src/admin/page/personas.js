// A personality's file, seen and edited: what is written is in force at once, or is not written.

import { insist } from './ask.js';
import { at, say } from './draw.js';
import { t } from './words.js';

/** What is open: `{id, sha256}`. */
let edited = null;

async function ask(path, options) {
  let answer;
  try {
    answer = await insist(path, options);
  } catch {
    return { why: t('unreachable') };
  }
  const value = await answer.json().catch(() => null);
  return answer.ok ? { value } : { why: t('failed_with', { why: value?.error?.message ?? answer.status }) };
}

const path = (id) => `personalities/${encodeURIComponent(id)}`;

/** Opens a personality's file. */
export async function edit(id) {
  const { value, why } = await ask(path(id), {});
  const text = at('persona-text');
  edited = value?.text === undefined || value.text === null ? null : { id, sha256: value.sha256 };
  say(at('persona-title'), t('persona_title', { id }));
  say(at('persona-file'), value?.file ?? '');
  text.value = value?.text ?? '';
  text.readOnly = edited === null;
  at('persona-save').hidden = edited === null;
  tell(why ?? value.read_only ?? value.fault ?? '');
  if (!at('persona').open) at('persona').showModal();
  text.focus();
}

async function save() {
  const text = at('persona-text').value;
  tell(t('saving'));
  const body = JSON.stringify({ text, sha256: edited.sha256 });
  const { value, why } = await ask(path(edited.id), { method: 'PUT', headers: { 'Content-Type': 'application/json' }, body });
  if (why) {
    tell(why);
    return;
  }
  edited.sha256 = value.sha256;
  const mine = value.faults.filter((fault) => fault.includes(at('persona-file').textContent));
  tell(mine.length > 0 ? mine.join('\n') : t('saved', { n: value.generation }));
}

function tell(text) {
  say(at('persona-said'), text);
}

/** Lets it be used. */
export function listen() {
  at('persona-form').addEventListener('submit', (event) => {
    event.preventDefault();
    save();
  });
  at('persona-leave').addEventListener('click', () => at('persona').close());
}
