-- Stores the record of an instance. Its expiry uses the clock of Redis, because the clocks of instances may differ.
--
-- KEYS[1] instances, KEYS[2] the instance's record
-- ARGV[1] the instance's id, ARGV[2] the record, ARGV[3] how long it lives, in milliseconds
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[3]), ARGV[1])
return 1
