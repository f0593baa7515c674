-- Ends a reservation and charges what was used.
-- KEYS: account, leases, held, as in admit.lua
-- ARGV: id (empty: there was no reservation), tokens, micro_usd, then for each budget: unit, period
local account, leases, held = KEYS[1], KEYS[2], KEYS[3]
if ARGV[1] ~= '' then
  local cost = redis.call('HGET', held, ARGV[1])
  if cost then
    local tokens, usd = cost:match('^(%d+):(%d+)$')
    redis.call('HINCRBY', account, 'held:tokens', 0 - tonumber(tokens))
    redis.call('HINCRBY', account, 'held:usd', 0 - tonumber(usd))
    redis.call('HDEL', held, ARGV[1])
  end
  redis.call('ZREM', leases, ARGV[1])
end
-- An account that is gone is seeded from the ledger, which has this cost too.
if redis.call('EXISTS', account) == 0 then return {'new'} end
local seconds = tonumber(redis.call('TIME')[1])
for at = 4, #ARGV, 2 do
  local unit, period = ARGV[at], ARGV[at + 1]
  local field, current = unit .. ':' .. period, window(period, seconds)
  local cost = unit == 'tokens' and ARGV[2] or ARGV[3]
  if tonumber(redis.call('HGET', account, field .. ':window') or '-1') == current then
    redis.call('HINCRBY', account, field, cost)
  else
    redis.call('HSET', account, field, cost, field .. ':window', current)
  end
end
redis.call('EXPIRE', account, KEPT)
return {'ok'}
