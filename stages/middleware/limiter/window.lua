
-- The sliding window: a log of leases in KEYS[1], scored by the time up to
-- which their permits may be used. A lease is counted until a window after
-- that, so that no window of any instance's uses holds more than the limit.
-- Its mark is how late, after the call, its last permit was used: from then on
-- it is counted from there.
lasting = true
local count
function begin()
  count = tonumber(facts[2] or '0')
  -- The clock was set back: what lies further ahead than it can is as of now.
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. whole(now + hold), '+inf')) do
    redis.call('ZADD', KEYS[1], whole(now + hold), member)
  end
end
function settle(number, permits, used, late)
  local member = me .. ':' .. number .. ':' .. whole(permits)
  local score = redis.call('ZSCORE', KEYS[1], member)
  if not score then return end
  redis.call('ZREM', KEYS[1], member)
  count = count - permits + used
  own(me, used - permits)
  if used > 0 then
    redis.call('ZADD', KEYS[1], whole(tonumber(score) - hold + math.min(hold, tonumber(late))), me .. ':' .. number .. ':' .. whole(used))
  end
end
function advance()
  local cut = whole(now - window)
  local old = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', cut)
  for _, member in ipairs(old) do
    local instance, n = string.match(member, '^(.*):[^:]*:(%d+)$')
    count = count - tonumber(n)
    own(instance, -tonumber(n))
  end
  if #old > 0 then redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', cut) end
end
function free() return limit - count end
function charge(number, n)
  redis.call('ZADD', KEYS[1], whole(now + hold), me .. ':' .. number .. ':' .. whole(n))
  count = count + n
  own(me, n)
end
taken = owned
function retry()
  local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  return oldest[2] and tonumber(oldest[2]) + window - now or 0
end
function keep() redis.call('HSET', KEYS[2], 'count', whole(count)) end
function useby() return hold end
function mark() return 0 end
