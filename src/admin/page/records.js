// Memory as a whole: whose there is, a record that is added or corrected, and what goes out and comes in.

import { at, el, say } from './draw.js';
import { number, t } from './words.js';

/** Bytes of an import that are sent at once. */
const PART = 512 * 1024;

/** `ask(path, options)` asks as the list does; `tell(key, text, values)` says; `show()` shows the list anew. */
let list = null;
let users = { data: [], cursor: null };
/** The record that is corrected; null: one is added. */
let corrected = null;

/** Opens the dialog for a record that is there, or for a new one. */
export function write(record = null) {
  corrected = record;
  say(at('record-title'), t(record ? 'record_edit' : 'record_add'));
  at('record-user').value = record?.user_id ?? at('seek-user').value.trim();
  at('record-user').disabled = record !== null;
  at('record-text').value = record?.text ?? '';
  say(at('record-said'), '');
  at('record').showModal();
  at(record || at('record-user').value ? 'record-text' : 'record-user').focus();
}

async function save() {
  const text = at('record-text').value;
  const user = at('record-user').value.trim();
  const json = { 'Content-Type': 'application/json' };
  try {
    await (corrected
      ? list.ask(`v1/memories/${encodeURIComponent(corrected.id)}`, { method: 'PUT', headers: json, body: JSON.stringify({ text }) })
      : list.ask('v1/memories', { method: 'POST', headers: json, body: JSON.stringify({ text, user_id: user }) }));
  } catch (error) {
    say(at('record-said'), error.message);
    return;
  }
  at('record').close();
  if (!corrected) at('seek-user').value = user;
  at('seek-query').value = '';
  await list.show();
  list.tell('record_saved');
}

async function showUsers(more = false) {
  try {
    const query = more && users.cursor ? `&cursor=${encodeURIComponent(users.cursor)}` : '';
    const found = await list.ask(`v1/memories/users?limit=100${query}`);
    users = { data: [...(more ? users.data : []), ...found.data], cursor: found.next_cursor };
    redraw();
    list.tell(users.data.length > 0 ? 'users_found' : 'found_none', null, { n: users.data.length });
  } catch (error) {
    list.tell(null, error.message);
  }
}

/** Draws the users again, in another language too. */
export function redraw() {
  at('users').replaceChildren(...users.data.map(({ user_id: user, records }) => el('li', {}, el('button', {
    type: 'button', on: { click: () => { at('seek-user').value = user; at('seek-query').value = ''; list.show(); } },
  }, el('span', { class: 'break', text: user }), el('span', { class: 'note', text: ` ${t('records', { n: records })}` })))));
  at('more-users').hidden = users.cursor === null;
}

async function take() {
  const user = at('seek-user').value.trim();
  try {
    const lines = await list.ask(`v1/memories/export${user ? `?user_id=${encodeURIComponent(user)}` : ''}`, { as: 'text' });
    const url = URL.createObjectURL(new Blob([lines], { type: 'application/jsonl' }));
    el('a', { href: url, download: `memories${user ? `-${user.replace(/[^\w.-]+/g, '_')}` : ''}.jsonl` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
    list.tell('exported', null, { n: lines.split('\n').filter(Boolean).length });
  } catch (error) {
    list.tell(null, error.message);
  }
}

async function bring(file) {
  const lines = (await file.text()).split('\n');
  let done = 0;
  let at = 0;
  try {
    while (at < lines.length) {
      let part = '';
      const from = at;
      while (at < lines.length && (part === '' || part.length + lines[at].length < PART)) {
        part += `${lines[at]}\n`;
        at += 1;
      }
      const { imported } = await list.ask('v1/memories/import', { method: 'POST', headers: { 'Content-Type': 'application/jsonl' }, body: part, from });
      done += imported;
      list.tell('importing', null, { share: number((100 * at) / lines.length), n: done });
    }
    await list.show();
    list.tell('imported', null, { n: done });
  } catch (error) {
    list.tell(null, `${error.message} ${t('imported', { n: done })}`);
  }
}

/** Lets it be used, by the list that it works on. */
export function listen(by) {
  list = by;
  at('list-users').addEventListener('click', () => showUsers());
  at('more-users').addEventListener('click', () => showUsers(true));
  at('add-record').addEventListener('click', () => write());
  at('export').addEventListener('click', take);
  at('import').addEventListener('click', () => at('import-file').click());
  at('import-file').addEventListener('change', (event) => {
    const [file] = event.target.files;
    event.target.value = '';
    if (file) bring(file);
  });
  at('record-form').addEventListener('submit', (event) => {
    event.preventDefault();
    save();
  });
  at('record-leave').addEventListener('click', () => at('record').close());
}
