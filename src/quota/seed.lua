-- Begins an account with what the ledger says was used, or raises its counters to that where the
-- store has lost some. What is reserved stays reserved.
-- KEYS: account, leases, held, as in admit.lua
-- ARGV: "begin" or "raise", then for each budget: unit, period, the window's number, used
-- Gives {"ok", born}
local account, held = KEYS[1], KEYS[3]
local born = redis.call('HGET', account, 'born')
if born and ARGV[1] == 'begin' then return {'ok', born} end
local time = redis.call('TIME')
local seconds = tonumber(time[1])
local changed = not born
for at = 2, #ARGV, 4 do
  local field, number, used = ARGV[at] .. ':' .. ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  -- The asker's clock may be in another window: then it tells of that one.
  if number == window(ARGV[at + 1], seconds) then
    local counted = redis.call('HMGET', account, field, field .. ':window')
    local known = tonumber(counted[2] or '-1') == number and tonumber(counted[1] or '0') or 0
    if known < used or not born then
      redis.call('HSET', account, field, ARGV[at + 3], field .. ':window', number)
      changed = true
    end
  end
end
if changed then
  born = time[1] .. '.' .. time[2]
  redis.call('HSET', account, 'born', born)
end
count_held(account, held)
redis.call('EXPIRE', account, KEPT)
return {'ok', born}
