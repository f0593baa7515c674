// What the list of requests is narrowed to: words that must all be found in what is known of a request.

/** What a word may be part of. A status, a user and a tenant are found by their names' beginnings too. */
const FIELDS = ['id', 'tenant', 'user', 'model', 'upstream', 'personality', 'route', 'path', 'purpose', 'failure', 'memory'];

/** Whether a request has all the words, whatever their case; `status:502` and the like name the place. */
export function matches(entry, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return words.every((word) => {
    const [, name, value] = word.match(/^(\w+)[:=](.+)$/) ?? [];
    if (name === 'status' || FIELDS.includes(name)) return holds(entry[name], value, name);
    return /^[1-5](\d\d|xx)$/.test(word) ? holds(entry.status, word, 'status') || anywhere(entry, word) : anywhere(entry, word);
  });
}

const anywhere = (entry, word) => FIELDS.some((name) => holds(entry[name], word, name));

function holds(value, word, name) {
  if (value === null || value === undefined) return false;
  const text = String(value).toLowerCase();
  return name === 'status' ? text === word || (word.endsWith('xx') && text[0] === word[0]) : text.includes(word);
}
