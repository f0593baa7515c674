// What the page asks of the gateway, with the admin key where it was written. The key stays in this
// page until it is closed.

import { at, say } from './draw.js';

/** By what the gateway names this key in a refusal. */
const PARAM = 'server.admin_key';

let key = '';
/** The refusal for want of the key, until one is right: `{status, message}`. */
let locked = null;
/** Who waits for the dialog. */
let writing = null;
let onChange = () => {};

/** Why nothing is shown without the admin key; null where it is. */
export const lockedBy = () => locked;

/** A header takes bytes only: a key in another script goes as UTF-8. */
const bytes = (text) => String.fromCharCode(...new TextEncoder().encode(text));

function send(path, { app, headers = {}, ...options } = {}) {
  const fields = { ...headers };
  if (key) fields.Authorization = `Bearer ${bytes(key)}`;
  // An app's key goes beside the admin key, or in its usual place.
  if (app && key) fields['X-YYChat-Api-Key'] = bytes(app);
  else if (app) fields.Authorization = `Bearer ${bytes(app)}`;
  return fetch(path, { cache: 'no-store', ...options, headers: fields });
}

async function wants(answer) {
  if (answer.status !== 401 && answer.status !== 403) return null;
  const value = await answer.clone().json().catch(() => null);
  return value?.error?.param === PARAM ? { status: answer.status, message: value.error.message } : null;
}

/** Looks: null where the admin key is wanted, which [`listen`]'s listener is told of. */
export async function look(path, options) {
  const answer = await send(path, options);
  const refusal = await wants(answer);
  const before = locked;
  locked = refusal;
  if (Boolean(before) !== Boolean(refusal)) onChange();
  return refusal ? null : answer;
}

/** As `fetch`; where the admin key is wanted, the reader is asked for it until it is right or he gives up. */
export async function insist(path, options) {
  for (;;) {
    const answer = await send(path, options);
    const refusal = await wants(answer);
    if (refusal?.status !== 401 || !(await unlock(refusal.message))) return answer;
  }
}

/** Asks for the key; whether one was written. */
export function unlock(why) {
  if (!writing) {
    const dialog = at('admin');
    say(at('admin-why'), why);
    at('admin-key').value = '';
    writing = new Promise((done) => {
      dialog.onclose = () => {
        writing = null;
        const written = dialog.returnValue;
        dialog.returnValue = '';
        if (written) key = written;
        done(Boolean(written));
      };
    });
    dialog.showModal();
    at('admin-key').focus();
  }
  return writing;
}

/** Lets it be used; `changed` is called when the page is locked and when it is not any more. */
export function listen(changed) {
  onChange = changed;
  at('admin-form').addEventListener('submit', (event) => {
    event.preventDefault();
    at('admin').close(at('admin-key').value.trim());
  });
  at('admin-leave').addEventListener('click', () => at('admin').close(''));
}

/** The events of an SSE answer, as `(name, data)`, until it ends. */
export async function events(answer, each) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (text + value).split('\n\n');
    text = parts.pop();
    for (const part of parts) {
      const fields = Object.fromEntries(part.split('\n').map((line) => line.split(/: ?(.*)/s)));
      if (fields.data !== undefined) each(fields.event ?? 'message', fields.data);
    }
  }
}
