-- Ends a reservation and charges what was used.
-- KEYS: account, leases, held, as in admit.lua
-- ARGV: id (empty: there was no reservation), born as the account was when this was used (empty: it
--       counts whenever that was), tokens, micro_usd, then for each budget: unit, period
-- Gives {"ok", born} | {"new"}: there is no such account
local account, leases, held = KEYS[1], KEYS[2], KEYS[3]
local born = redis.call('HGET', account, 'born')
if ARGV[1] ~= '' then give_back(account, leases, held, ARGV[1]) end
-- An account that is gone is seeded from the ledger, which has this cost too.
if not born then return {'new'} end
local seconds = tonumber(redis.call('TIME')[1])
for at = 5, #ARGV, 2 do
  local unit, period = ARGV[at], ARGV[at + 1]
  local field, current = unit .. ':' .. period, window(period, seconds)
  local cost = unit == 'tokens' and ARGV[3] or ARGV[4]
  -- What the ledger tells, an account that began since has from there.
  local has_it = ARGV[2] ~= '' and ARGV[2] ~= born and (period == 'day' or period == 'month')
  if has_it then
    -- Nothing to add.
  elseif tonumber(redis.call('HGET', account, field .. ':window') or '-1') == current then
    redis.call('HINCRBY', account, field, cost)
  else
    redis.call('HSET', account, field, cost, field .. ':window', current)
  end
end
redis.call('EXPIRE', account, KEPT)
return {'ok', born}
