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

