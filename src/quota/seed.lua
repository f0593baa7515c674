-- Begins an account with what the ledger says was used.
-- KEYS: account
-- ARGV: for each budget: unit, period, used
if redis.call('EXISTS', KEYS[1]) == 1 then return {'ok'} end
local seconds = tonumber(redis.call('TIME')[1])
redis.call('HSET', KEYS[1], 'held:tokens', 0, 'held:usd', 0)
for at = 1, #ARGV, 3 do
  local field = ARGV[at] .. ':' .. ARGV[at + 1]
  redis.call('HSET', KEYS[1], field, ARGV[at + 2], field .. ':window', window(ARGV[at + 1], seconds))
end
redis.call('EXPIRE', KEYS[1], KEPT)
return {'ok'}
