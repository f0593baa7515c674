-- What every script begins with.

-- Seconds that an account is kept after its last use: longer than any window.
local KEPT = 40 * 86400

-- The number of the window of a period that a moment lies in: minutes, hours or days since 1970,
-- or months since the year 0.
local function window(period, seconds)
  if period == 'minute' then return math.floor(seconds / 60) end
  if period == 'hour' then return math.floor(seconds / 3600) end
  local days = math.floor(seconds / 86400)
  if period == 'day' then return days end
  -- Days to a civil month, by eras of 400 years that begin in March.
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return year * 12 + month - 1
end


-- Ends a lease: what it held is free again.
local function give_back(account, leases, held, id)
  local cost = redis.call('HGET', held, id)
  if cost then
    local tokens, usd = cost:match('^(%d+):(%d+)$')
    -- An account that is gone counts what is held when it begins again.
    if redis.call('EXISTS', account) == 1 then
      redis.call('HINCRBY', account, 'held:tokens', 0 - tonumber(tokens))
      redis.call('HINCRBY', account, 'held:usd', 0 - tonumber(usd))
    end
    redis.call('HDEL', held, id)
  end
  redis.call('ZREM', leases, id)
end

-- Counts what all leases hold together.
local function count_held(account, held)
  local sum_tokens, sum_usd = 0, 0
  for _, cost in ipairs(redis.call('HVALS', held)) do
    local tokens, usd = cost:match('^(%d+):(%d+)$')
    sum_tokens, sum_usd = sum_tokens + tonumber(tokens), sum_usd + tonumber(usd)
  end
  redis.call('HSET', account, 'held:tokens', string.format('%.0f', sum_tokens), 'held:usd', string.format('%.0f', sum_usd))
end
