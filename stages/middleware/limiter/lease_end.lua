
if lost() then
  redis.call('DEL', KEYS[1], KEYS[2])
  facts = {me .. '/' .. call, false, false}
  redis.call('HSET', KEYS[2], 'epoch', facts[1])
end
if epoch ~= '' and epoch ~= facts[1] then
  expire()
  return {-1, facts[1], 0, 0, 0, 0}
end

begin()
for i = 11, #ARGV, 4 do
  settle(ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), ARGV[i + 3])
end
advance()
if owed > 0 then charge('owed' .. call, owed) end

-- Who got less than it wanted is hungry. What is free is poured out between the
-- hungry ones so that all come to the same level; it waits for who calls later.
local function fair(left)
  local hungry = redis.call('ZRANGE', KEYS[4], 0, -1)
  local level, mine = left, taken({me})
  level = (level + mine + taken(hungry)) / (#hungry + 1)
  return level - mine
end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', whole(now - memory))
redis.call('ZREMRANGEBYSCORE', KEYS[3], '(' .. whole(now), '+inf')
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', whole(now - 3000000))
redis.call('ZREMRANGEBYSCORE', KEYS[4], '(' .. whole(now), '+inf')
redis.call('ZREM', KEYS[4], me)
if want < 0 then
  redis.call('ZREM', KEYS[3], me)
  want = 0
else
  redis.call('ZADD', KEYS[3], whole(now), me)
end
local granted, left = 0, free()
if want > 0 and left > 0 then
  granted = math.min(want, left, math.max(0, math.ceil(fair(left))))
  if granted > 0 then charge(call, granted) end
end
local wait = 0
if granted < want then
  redis.call('ZADD', KEYS[4], whole(now), me)
  if granted >= left then wait = math.max(0, retry()) end
end
keep()
expire()
return {granted, facts[1], math.ceil(wait), redis.call('ZCARD', KEYS[3]), useby(), mark()}
