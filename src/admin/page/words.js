// The page's two languages, and how numbers, durations and times are written in them.

export const WORDS = {
  en: {
    skip: 'Skip to the figures', pause: 'Pause', resume: 'Resume', dark: 'Dark', light: 'Light',
    findings: 'What to know', figures: 'Figures now', where: 'Where the time goes', view: 'Show',
    view_whole: 'Whole request', view_before: 'Before the answer', view_own: 'yychat alone',
    over_time: 'Over time, mean of a request', by_phase: 'By phase', phase: 'Phase', share: 'Share',
    mean: 'Mean', requests: 'Last requests', order: 'Order', newest: 'Newest', slowest: 'Slowest',
    failed: 'Not served', time: 'Time', request: 'Request', ledger: 'Ledger', first_byte: 'First byte',
    total: 'Total', status: 'Status', no_requests: 'No request yet. Point an app at the API, and it shows here.',
    none_failed: 'All of the last requests were served.', newer: 'Show {n} newer request|Show {n} newer requests',
    generation: 'Configuration', upstreams: 'Upstreams', personalities: 'Personalities', tools: 'Tools',
    auxiliary: 'Errands of front ends', n_shipped: '{n} shipped rule|{n} shipped rules',
    memory: 'Memory', query: 'Find', user: 'User', conversation: 'Conversation', key: 'Key', show: 'Show',
    key_note: 'An API key of the tenant, where keys are set. It stays in this page until the page is closed. Without words to find, the newest come first.',
    more: 'Show more', delete_title: 'Delete this memory?', delete_note: 'It is gone at once, and for good.',
    keep: 'Keep', delete: 'Delete',
    unlock: 'Unlock', admin_title: 'Admin key', admin_key: 'Key of server.admin_key', leave: 'Cancel',
    admin_note: 'It stays in this page until the page is closed.',
    locked: 'locked', locked_about: 'Nothing is shown here without the admin key: press “Unlock”.',

    about: 'version {version}, up {uptime}', connecting: 'connecting …', live: 'live',
    lost: 'connection lost, since {time}; trying again', paused: 'paused at {time}',

    tile_rate: 'Requests', tile_total: 'Total time', tile_first: 'First byte of streams',
    tile_own: 'yychat’s own time', tile_streams: 'Live streams', tile_cache: 'Recall cache',
    tile_failures: 'Failures', tile_recall: 'Memory recall', per_second: '/s',
    half: 'p50', in_all: '{n} in all', earlier_requests: 'Show earlier ones', in_flight: '{n} in flight', hits: '{hits} hits, {misses} misses',
    in_window: '{n} in the last {of}', mean_of: 'mean', records: '{n} record|{n} records', off: 'off',
    since_open: 'last {time}',

    quiet: 'No requests yet. The gateway is up and waits.',
    steady: 'Nothing is wrong: no failures, nothing slower than before, and the files on disk are in force.',
    facts: 'Half of the requests end within {p50}, 95 % within {p95}. {share} of the time is “{phase}”; yychat itself takes {own} (p50).',
    broken: 'An edit was refused at {time}: generation {n} serves on. {faults} under Configuration.',
    open_to_all: 'Everybody who reaches the API is let in: there are no keys, and server.insecure_no_auth says so.',
    unwatched: '{n} folders cannot be watched and are only looked at every few seconds. The first: {first}',
    personalities_broken: 'Personality files are broken; the others are in force. {faults} under Configuration.',
    faults: '{n} fault|{n} faults',
    failures: '{n} of the last {of} requests failed, the latest {ago} ago: {why}',
    refusals: '{n} of the last {of} requests were refused, the latest {ago} ago: {why}',
    slower: 'Answers begin later since {time}: {is} in the middle, {was} before. Most of it is “{phase}” ({moved}).',
    sooner: 'Answers begin sooner since {time}: {is} in the middle, {was} before.',
    with_it: 'With it: {what}.', and: '; ', with_nothing: 'Nothing else that is known here changed with it.',
    changed: '{field} {value} ({share} of requests, {was} before)',
    field_generation: 'generation', field_upstream: 'upstream', field_model: 'model',
    field_personality: 'personality', field_tenant: 'tenant', field_stream: 'stream',
    applied: 'Generation {n} came into force {ago} ago.',
    upstream_bad: 'Upstream {name} failed {ago} ago: {kind}.',
    tool_bad: 'Tools of {plugin}: {state}. {detail}', waits: 'Changed on disk, waits for a restart: {keys}.',

    read_body: 'Reading the request', personality_phase: 'Personality', memory_phase: 'Memory recall',
    tools_phase: 'Tool schemas', compose: 'Composing', upstream_connect: 'Connecting upstream',
    upstream_ttfb: 'Waiting for upstream', stream: 'Streaming the answer', tool_execution: 'Running tools',
    other: 'Other', largest: 'mostly {phase}, {share}',
    column: '{from} to {to}: {n} request, mean {mean}|{from} to {to}: {n} requests, mean {mean}',
    column_none: '{from} to {to}: no requests', column_failed: '{n} failed', column_generation: 'generation {n} came',
    column_most: '{phase} takes {share}', most: 'highest: {time}',
    readout: 'Point at a column, or use the arrow keys, to read it.',

    streamed: 'stream', whole: 'whole', ok: 'ok', bad: 'failed',
    fact_id: 'Request', fact_failure: 'Failure', fact_upstream: 'Upstream', fact_memory: 'Memory',
    fact_cache: 'Recall cache', fact_personality: 'Personality', fact_tools: 'Tool calls',
    fact_tokens: 'Tokens', fact_generation: 'Generation', fact_tenant: 'Tenant', fact_kind: 'Answer', fact_route: 'Route',
    fact_purpose: 'Purpose',
    tokens: '{prompt} in, {completion} out', tokens_rate: '{rate} a second', cache_hit: 'hit', cache_miss: 'miss',
    recall_hit: '{n} record put in, {bytes}|{n} records put in, {bytes}', recall_miss: 'nothing that fits was found',
    recall_timeout: 'too late, left out', recall_off: 'off for this request', recall_error: 'the store refused',
    none: 'none', fact_none: '–',

    in_force: 'Generation {n} is in force since {time}.', refused: 'Edit refused at {time}. It is not in force:',
    personalities_bad: 'Broken personality files: of each the last good version serves, or none.',
    files_good: 'The files on disk are in force.', restart: 'Waits for a restart:',
    models: 'models', no_errors: 'no failures', errors: '{n} failure|{n} failures',
    of_requests: '{n} request|{n} requests', last_error: 'last: {kind}, {time}',
    none_yet: 'None.', ready: 'ready', disabled: 'disabled', down: 'down', since: 'since {time}',
    n_tools: '{n} tool|{n} tools', withheld: 'Withheld:', memory_about: '{store}, {records}', memory_off: 'Memory is switched off.',

    found: '{n} memory of {total}|{n} memories of {total}', found_best: '{n} memory, the best match first|{n} memories, the best match first',
    found_none: 'Nothing found.', whose: 'To find words, say whose memory: a user or a conversation.',
    key_wrong: 'This needs an API key: write it into the field “Key”.', failed_with: 'It failed: {why}',
    unreachable: 'The gateway does not answer.', deleted: 'Deleted.', searching: 'Searching …',
    score: 'score {n}', from_source: 'from {source}', said_by: 'said by', source_chat: 'chat', source_api: 'the API',
    source_import: 'an import', source_extraction: 'extraction', in_generation: 'generation {n}', by_request: 'request',
    again: 'said again {time}', earlier: 'Earlier texts', delete_this: 'Delete: {text}',
    find: 'Find', find_hint: 'tenant, model, user, status, id …', none_match: 'None of the last requests has all of these words.',
    example: 'To copy', example_words: 'My cat is called Pixel.', route_none: 'refused at the door', fact_path: 'Path', fact_user: 'User', fact_cost: 'Cost',
    usage: 'Usage', usage_about: 'the last 30 days', usage_key: 'Key', usage_model: 'Model', usage_requests: 'Requests', usage_in: 'Tokens in',
    usage_cached: 'of them cached', usage_out: 'Tokens out', usage_usd: 'Dollars', usage_sum: 'All', usage_none: 'Nothing was used yet.',
    usage_free: 'No model has a price: conf/prices.toml says what tokens cost.',
    open: 'Open', open_this: 'Open: {text}', persona_title: 'Personality {id}', persona_text: 'Its file', save: 'Save', close: 'Close',
    saving: 'Saving …', saved: 'Saved, and in force as generation {n}.',
    users: 'Users', add: 'Add', export: 'Export', import: 'Import', more_users: 'More users', users_found: '{n} user|{n} users',
    record_add: 'Add a memory', record_edit: 'Correct a memory', record_text: 'What is remembered', record_saved: 'Saved.',
    edit: 'Edit', edit_this: 'Edit: {text}', exported: '{n} record exported.|{n} records exported.',
    importing: '{share} %: {n} records …', imported: '{n} record imported.|{n} records imported.',
    key_other: 'The key in the field “Key” is not one of this gateway’s.', links: 'Elsewhere', link_metrics: 'Metrics', link_ready: 'Readiness', link_api: 'API (OpenAPI)',
    stop: '.',
  },
  zh: {
    skip: '跳到数据', pause: '暂停', resume: '继续', dark: '深色', light: '浅色',
    findings: '要点', figures: '当前数据', where: '时间花在哪里', view: '显示',
    view_whole: '整个请求', view_before: '回答开始之前', view_own: '仅 yychat 自身',
    over_time: '随时间变化（每个请求的平均值）', by_phase: '按阶段', phase: '阶段', share: '占比',
    mean: '平均', requests: '最近的请求', order: '排序', newest: '最新', slowest: '最慢',
    failed: '未成功', time: '时间', request: '请求', ledger: '耗时构成', first_byte: '首字节',
    total: '总计', status: '状态', no_requests: '还没有请求。让应用连接到 API，请求就会显示在这里。',
    none_failed: '最近的请求均已成功。', newer: '显示 {n} 个更新的请求',
    generation: '配置', upstreams: '上游', personalities: '人格', tools: '工具',
    auxiliary: '前端自用请求', n_shipped: '{n} 条内置规则',
    memory: '记忆', query: '查找', user: '用户', conversation: '对话', key: '密钥', show: '显示',
    key_note: '若设置了密钥，请填写该租户的 API 密钥。它只留在本页面，关闭即消失。不填查找内容时，按最新排列。',
    more: '显示更多', delete_title: '删除这条记忆？', delete_note: '立即删除，无法恢复。',
    keep: '保留', delete: '删除',
    unlock: '解锁', admin_title: '管理密钥', admin_key: 'server.admin_key 的密钥', leave: '取消',
    admin_note: '它只留在本页面，关闭即消失。',
    locked: '已锁定', locked_about: '没有管理密钥，这里不显示任何内容：请按“解锁”。',

    about: '版本 {version}，已运行 {uptime}', connecting: '正在连接……', live: '实时',
    lost: '连接已断开，自 {time} 起；正在重试', paused: '已于 {time} 暂停',

    tile_rate: '请求', tile_total: '总耗时', tile_first: '流式首字节',
    tile_own: 'yychat 自身耗时', tile_streams: '进行中的流', tile_cache: '召回缓存',
    tile_failures: '失败', tile_recall: '记忆召回', per_second: '/秒',
    half: 'p50', in_all: '共 {n} 个', earlier_requests: '显示更早的', in_flight: '处理中 {n} 个', hits: '命中 {hits}，未命中 {misses}',
    in_window: '最近 {of} 个中有 {n} 个', mean_of: '平均', records: '{n} 条记录', off: '关闭',
    since_open: '最近 {time}',

    quiet: '还没有请求。网关已启动，正在等待。',
    steady: '一切正常：没有失败，没有变慢，磁盘上的文件均已生效。',
    facts: '一半的请求在 {p50} 内完成，95% 在 {p95} 内完成。{share} 的时间是“{phase}”；yychat 自身占 {own}（p50）。',
    broken: '{time} 的一次修改被拒绝：第 {n} 代配置继续服务。{faults}，见“配置”。',
    open_to_all: '任何能访问此 API 的人都可使用：未设置密钥，且 server.insecure_no_auth 允许如此。',
    unwatched: '{n} 个文件夹无法监视，只能每隔几秒查看一次。第一个：{first}',
    personalities_broken: '有人格文件出错；其余均已生效。{faults}，见“配置”。',
    faults: '{n} 处错误',
    failures: '最近 {of} 个请求中有 {n} 个失败，最近一次在 {ago}前：{why}',
    refusals: '最近 {of} 个请求中有 {n} 个被拒绝，最近一次在 {ago}前：{why}',
    slower: '自 {time} 起回答开始得更慢：中位数 {is}，此前 {was}。主要是“{phase}”（{moved}）。',
    sooner: '自 {time} 起回答开始得更快：中位数 {is}，此前 {was}。',
    with_it: '同时变化的有：{what}。', and: '；', with_nothing: '这里已知的其他因素没有随之变化。',
    changed: '{field} {value}（占请求的 {share}，此前 {was}）',
    field_generation: '配置代', field_upstream: '上游', field_model: '模型',
    field_personality: '人格', field_tenant: '租户', field_stream: '流式',
    applied: '第 {n} 代配置于 {ago}前生效。',
    upstream_bad: '上游 {name} 在 {ago}前失败：{kind}。',
    tool_bad: '{plugin} 的工具：{state}。{detail}', waits: '磁盘上已更改，等待重启：{keys}。',

    read_body: '读取请求', personality_phase: '人格', memory_phase: '记忆召回',
    tools_phase: '工具定义', compose: '组装', upstream_connect: '连接上游',
    upstream_ttfb: '等待上游', stream: '传输回答', tool_execution: '执行工具',
    other: '其他', largest: '主要是{phase}，{share}',
    column: '{from} 至 {to}：{n} 个请求，平均 {mean}',
    column_none: '{from} 至 {to}：没有请求', column_failed: '{n} 个失败', column_generation: '第 {n} 代配置生效',
    column_most: '{phase}占 {share}', most: '最高：{time}',
    readout: '指向某一列或用方向键，即可查看。',

    streamed: '流式', whole: '一次性', ok: '成功', bad: '失败',
    fact_id: '请求', fact_failure: '失败', fact_upstream: '上游', fact_memory: '记忆',
    fact_cache: '召回缓存', fact_personality: '人格', fact_tools: '工具调用',
    fact_tokens: '词元', fact_generation: '配置代', fact_tenant: '租户', fact_kind: '回答', fact_route: '路由',
    fact_purpose: '用途',
    tokens: '输入 {prompt}，输出 {completion}', tokens_rate: '每秒 {rate}', cache_hit: '命中', cache_miss: '未命中',
    recall_hit: '放入 {n} 条记录，{bytes}', recall_miss: '没有找到相关内容',
    recall_timeout: '超时，未放入', recall_off: '本请求未启用', recall_error: '存储拒绝',
    none: '无', fact_none: '–',

    in_force: '第 {n} 代自 {time} 起生效。', refused: '{time} 的修改被拒绝，未生效：',
    personalities_bad: '出错的人格文件：每个都沿用上一个正确版本，没有则不可用。',
    files_good: '磁盘上的文件均已生效。', restart: '等待重启：',
    models: '模型', no_errors: '没有失败', errors: '{n} 次失败',
    of_requests: '{n} 个请求', last_error: '最近一次：{kind}，{time}',
    none_yet: '无。', ready: '就绪', disabled: '停用', down: '离线', since: '自 {time}',
    n_tools: '{n} 个工具', withheld: '未提供：', memory_about: '{store}，{records}', memory_off: '记忆已关闭。',

    found: '{n} 条记忆，共 {total} 条', found_best: '{n} 条记忆，最匹配的在前',
    found_none: '没有找到。', whose: '查找内容时，请说明是谁的记忆：用户或对话。',
    key_wrong: '需要 API 密钥：请填入“密钥”一栏。', failed_with: '失败：{why}',
    unreachable: '网关没有响应。', deleted: '已删除。', searching: '正在查找……',
    score: '得分 {n}', from_source: '来源：{source}', said_by: '说话者', source_chat: '聊天', source_api: 'API',
    source_import: '导入', source_extraction: '提取', in_generation: '第 {n} 代', by_request: '请求',
    again: '{time} 再次说起', earlier: '此前的文本', delete_this: '删除：{text}',
    find: '查找', find_hint: '租户、模型、用户、状态、编号……', none_match: '最近的请求中没有符合全部词语的。',
    example: '可复制', example_words: '我的猫叫皮皮。', route_none: '入口处被拒绝', fact_path: '路径', fact_user: '用户', fact_cost: '费用',
    usage: '用量', usage_about: '最近 30 天', usage_key: '密钥', usage_model: '模型', usage_requests: '请求', usage_in: '输入词元',
    usage_cached: '其中缓存', usage_out: '输出词元', usage_usd: '美元', usage_sum: '合计', usage_none: '还没有用量。',
    usage_free: '没有模型设置价格：在 conf/prices.toml 中填写词元价格。',
    open: '打开', open_this: '打开：{text}', persona_title: '人格 {id}', persona_text: '文件内容', save: '保存', close: '关闭',
    saving: '正在保存……', saved: '已保存，第 {n} 代配置已生效。',
    users: '用户', add: '添加', export: '导出', import: '导入', more_users: '更多用户', users_found: '{n} 个用户',
    record_add: '添加一条记忆', record_edit: '修改一条记忆', record_text: '记忆内容', record_saved: '已保存。',
    edit: '修改', edit_this: '修改：{text}', exported: '已导出 {n} 条记录。',
    importing: '{share}%：{n} 条……', imported: '已导入 {n} 条记录。',
    key_other: '“密钥”一栏中的密钥不属于此网关。', links: '其他', link_metrics: '指标', link_ready: '就绪状态', link_api: 'API（OpenAPI）',
    stop: '。',
  },
};

/** What a status says of a failure, where the gateway's own words are in another language. */
const BECAUSE = {
  zh: {
    400: '请求有误', 401: '密钥缺失或无效', 403: '不允许', 404: '没有这个模型、人格或路径', 405: '方法不对',
    408: '请求没有按时到达', 413: '请求太大', 415: '不是 JSON', 429: '超出速率或预算', 431: '请求头太大',
    499: '客户端先离开了', 500: '上游或网关内部错误', 502: '上游无法连接或中途断开', 503: '网关或存储太忙', 504: '上游没有按时回答',
    200: '回答中途断开',
  },
};

/** `tools` and others name a section as well as a phase. */
const SHARED_NAMES = new Set(['personality', 'memory', 'tools']);

let language = 'en';

/** The languages there are. */
export const LANGUAGES = Object.keys(WORDS);

export function setLanguage(name) {
  language = name;
}

/** A text in the page's language, `{name}` replaced; `one|many` is chosen by `n`. */
export function t(key, values = {}) {
  const forms = (WORDS[language][key] ?? key).split('|');
  const form = forms.length > 1 && values.n !== 1 ? forms[1] : forms[0];
  return form.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = values[name];
    return value === undefined ? whole : typeof value === 'number' ? number(value) : String(value);
  });
}

/** Why a request failed: what happened in the reader's language, and what the gateway says of it. */
export function failure(text, status) {
  if (text === null || text === undefined) return text;
  const because = BECAUSE[language]?.[status];
  return because ? `${because}：${text}` : text;
}

/** A sum of money, a request's too. */
export function dollars(sum) {
  if (!Number.isFinite(sum)) return t('fact_none');
  const digits = sum !== 0 && Math.abs(sum) < 0.1 ? { maximumSignificantDigits: 2 } : { minimumFractionDigits: 2, maximumFractionDigits: 2 };
  return `$${new Intl.NumberFormat(language, digits).format(sum)}`;
}

/** What a phase is called. One that the page does not know keeps its own name. */
export const phaseName = (phase) => t(SHARED_NAMES.has(phase) ? `${phase}_phase` : phase);

/** A number with `digits` decimals at most. */
export function number(value, digits = 0) {
  if (!Number.isFinite(value)) return t('fact_none');
  return new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value);
}

/** Three significant digits and a unit, from seconds. */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return t('fact_none');
  const short = (value, unit) => {
    const written = new Intl.NumberFormat(language, { minimumSignificantDigits: 3, maximumSignificantDigits: 3 }).format(value);
    return `${written}\u202f${unit}`;
  };
  const size = Math.abs(seconds);
  if (size < 9.995e-4) return short(seconds * 1e6, 'µs');
  if (size < 0.9995) return short(seconds * 1e3, 'ms');
  return size < 99.95 ? short(seconds, 's') : span(seconds);
}

/** Seconds in the two largest units that fit: `3 h 12 min`. */
export function span(seconds) {
  const units = language === 'zh'
    ? [['天', 86400], ['小时', 3600], ['分', 60], ['秒', 1]]
    : [['d', 86400], ['h', 3600], ['min', 60], ['s', 1]];
  let rest = Math.max(0, Math.round(seconds));
  const first = Math.max(0, units.findIndex(([, size]) => rest >= size));
  const parts = (rest === 0 ? units.slice(-1) : units.slice(first, first + 2)).map(([unit, size]) => {
    const count = Math.floor(rest / size);
    rest -= count * size;
    return [count, unit];
  });
  const shown = parts.filter(([count], index) => index === 0 || count > 0);
  return shown.map(([count, unit]) => `${number(count)}\u202f${unit}`).join(' ');
}

/** A share of 1, in per cent. */
export function percent(share) {
  if (!Number.isFinite(share)) return t('fact_none');
  const tiny = share > 0 && share < 0.001;
  const options = { maximumFractionDigits: share < 0.0995 ? 1 : 0 };
  const written = new Intl.NumberFormat(language, options).format(tiny ? 0.1 : share * 100);
  return `${tiny ? '<' : ''}${written}${language === 'zh' ? '' : '\u202f'}%`;
}

export function bytes(count) {
  if (!Number.isFinite(count)) return t('fact_none');
  return count < 1024 ? `${number(count)}\u202fB` : `${number(count / 1024, 1)}\u202fKiB`;
}

/** The time of day of Unix seconds, with the date where it is another day than `now`'s. */
export function clock(at, now = Date.now() / 1000) {
  if (!Number.isFinite(at)) return t('fact_none');
  const [date, today] = [new Date(at * 1000), new Date(now * 1000)];
  const time = { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false };
  const day = date.toDateString() === today.toDateString() ? {} : { year: 'numeric', month: 'short', day: 'numeric' };
  return new Intl.DateTimeFormat(language, { ...day, ...time }).format(date);
}
