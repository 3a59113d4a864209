-- One call of one instance for one key: tells what became of the permits it
-- had, and gets new ones. Times are this server's, in microseconds. The part
-- that counts (window, bucket, fixed) stands between the two halves of this.
--
-- KEYS 1 leases, 2 facts, 3 instances, 4 hungry instances
-- ARGV 1 limit, 2 window, 3 hold, 4 want (-1: the instance leaves), 5 instance,
--      6 number of this call, 7 epoch the instance knows or '', 8 owed: events
--      that passed unseen by this server, 9 tokens a second, 10 memory: how
--      long an instance counts as active; then per ended lease: number,
--      permits, how many were used, mark
-- Returns granted (-1: the epoch is another one), epoch, microseconds until
-- more may be had, active instances, microseconds for which the permits may be
-- used, mark to give back with them.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local function whole(n) return string.format('%.0f', n) end

local limit, window, hold, want = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local me, call, epoch, owed = ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8])
local rate, memory = tonumber(ARGV[9]), tonumber(ARGV[10])
local ttl = math.ceil(math.max(window + hold, memory) / 1000) + 1000
local facts = redis.call('HMGET', KEYS[2], 'epoch', 'count', 'at')
local lasting, begin, settle, advance, free, charge, retry, keep, useby, mark, taken

-- What of the count is whose.
local function own(instance, n)
  local field = 'of:' .. instance
  if redis.call('HINCRBY', KEYS[2], field, whole(n)) <= 0 then redis.call('HDEL', KEYS[2], field) end
end
local function owned(instances)
  local sum = 0
  for _, instance in ipairs(instances) do
    sum = sum + tonumber(redis.call('HGET', KEYS[2], 'of:' .. instance) or '0')
  end
  return sum
end

local function expire() for i = 1, 4 do redis.call('PEXPIRE', KEYS[i], ttl) end end

-- Everything that was counted, or a part of it, is gone: a new epoch begins,
-- and instances that knew the last one say what they used.
local function lost()
  if not facts[1] then return true end
  return lasting and tonumber(facts[2] or '0') > 0 and redis.call('EXISTS', KEYS[1]) == 0
end
