-- Moves the end of a lease.
-- KEYS: account, leases, held, as in admit.lua
-- ARGV: id, lease in ms, then tokens and micro_usd where a lease that is gone is to be there again:
--       the store may have lost it
local account, leases, held = KEYS[1], KEYS[2], KEYS[3]
local time = redis.call('TIME')
local ends = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + tonumber(ARGV[2])
redis.call('ZADD', leases, 'XX', ends, ARGV[1])
if ARGV[3] and redis.call('HSETNX', held, ARGV[1], ARGV[3] .. ':' .. ARGV[4]) == 1 then
  redis.call('ZADD', leases, ends, ARGV[1])
  if redis.call('EXISTS', account) == 1 then
    redis.call('HINCRBY', account, 'held:tokens', ARGV[3])
    redis.call('HINCRBY', account, 'held:usd', ARGV[4])
  end
end
redis.call('EXPIRE', held, KEPT)
redis.call('EXPIRE', leases, KEPT)
return 1
