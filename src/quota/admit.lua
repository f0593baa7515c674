-- Decides and takes in one step: the key's rate and all of its budgets, or nothing.
-- KEYS: account (hash), leases (sorted set: id by its end), held (hash: id to "tokens:micro_usd")
-- ARGV: id, tokens, micro_usd, lease in ms, rate's period in us (0: none), burst, then for each
--       budget: unit ("tokens" or "usd"), period, amount
-- Gives {"ok", tokens left or -1, born} | {"rate", us to wait} | {"budget", which, used, held}
--       | {"new"}: the account has no counters yet, and is to be seeded first
local account, leases, held = KEYS[1], KEYS[2], KEYS[3]
local born = redis.call('HGET', account, 'born')
if not born then return {'new'} end
local time = redis.call('TIME')
local seconds, micros = tonumber(time[1]), tonumber(time[1]) * 1000000 + tonumber(time[2])
local now = math.floor(micros / 1000)

-- One of the two was evicted: what is left of the other is made whole.
if redis.call('ZCARD', leases) ~= redis.call('HLEN', held) then
  for _, id in ipairs(redis.call('HKEYS', held)) do
    redis.call('ZADD', leases, 'NX', now + tonumber(ARGV[4]), id)
  end
  for _, id in ipairs(redis.call('ZRANGE', leases, 0, -1)) do
    if redis.call('HEXISTS', held, id) == 0 then redis.call('ZREM', leases, id) end
  end
  count_held(account, held)
end

-- What a gateway died with comes back when its lease ends.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', now)) do
  give_back(account, leases, held, id)
end

local period_us, burst = tonumber(ARGV[5]), tonumber(ARGV[6])
local arrival
if period_us > 0 then
  arrival = math.max(tonumber(redis.call('HGET', account, 'rate') or '0'), micros)
  local wait = arrival - micros - (burst - 1) * period_us
  if wait > 0 then return {'rate', wait} end
end

local left = -1
for at = 7, #ARGV, 3 do
  local unit, period, amount = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  local field = unit .. ':' .. period
  local counted = redis.call('HMGET', account, field, field .. ':window', 'held:' .. unit)
  local used = tonumber(counted[2] or '-1') == window(period, seconds) and tonumber(counted[1] or '0') or 0
  local waiting = tonumber(counted[3] or '0')
  if used + waiting >= amount then
    return {'budget', (at - 7) / 3, used, waiting}
  end
  if unit == 'tokens' then
    local free = math.max(0, amount - used - waiting - tonumber(ARGV[2]))
    if left < 0 or free < left then left = free end
  end
end

if arrival then redis.call('HSET', account, 'rate', string.format('%.0f', arrival + period_us)) end
if #ARGV > 6 then
  redis.call('HINCRBY', account, 'held:tokens', ARGV[2])
  redis.call('HINCRBY', account, 'held:usd', ARGV[3])
  redis.call('HSET', held, ARGV[1], ARGV[2] .. ':' .. ARGV[3])
  redis.call('ZADD', leases, now + tonumber(ARGV[4]), ARGV[1])
  redis.call('EXPIRE', held, KEPT)
  redis.call('EXPIRE', leases, KEPT)
end
redis.call('EXPIRE', account, KEPT)
return {'ok', left, born}
