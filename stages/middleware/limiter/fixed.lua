
-- The fixed window: a count and the number of the window it belongs to. Its
-- permits may be used only before that window ends; its mark is the number.
lasting = false
local count, number
function begin()
  count, number = tonumber(facts[2] or '0'), math.floor(now / window)
  if number > tonumber(facts[3] or '0') then
    count = 0
    redis.call('DEL', KEYS[2])
    redis.call('HSET', KEYS[2], 'epoch', facts[1])
  end
end
function settle(_, permits, used, of)
  if of ~= whole(number) then return end
  count = count - permits + used
  own(me, used - permits)
end
function advance() end
function free() return limit - count end
function charge(_, n)
  count = count + n
  own(me, n)
end
taken = owned
function retry() return (number + 1) * window - now end
function keep() redis.call('HSET', KEYS[2], 'count', whole(count), 'at', whole(number)) end
function useby() return math.min(hold, (number + 1) * window - now) end
function mark() return number end
