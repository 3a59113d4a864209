
-- The token bucket: a level and the time when it was right. What is not used
-- is poured back.
lasting = false
local level
function begin()
  level = tonumber(facts[2] or ARGV[1])
  local passed = now - tonumber(facts[3] or whole(now))
  if passed > 0 then level = math.min(limit, level + passed * rate / 1000000) end
end
function settle(_, permits, used) level = math.min(limit, level + permits - used) end
function advance() end
function free() return math.floor(level + 0.000001) end
function charge(_, n) level = level - n end
function retry() return (1 - level) / rate * 1000000 end
function keep() redis.call('HSET', KEYS[2], 'count', string.format('%.17g', level), 'at', whole(now)) end
function useby() return hold end
function mark() return 0 end
function taken() return 0 end
