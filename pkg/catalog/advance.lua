-- Makes an entry the newest of its dataset, if its version is above the newest known one.
-- KEYS: the set of dataset names, the dataset's hash.
-- ARGV: the dataset, the entry, the entry without its deltas, the most entries to keep, the most bytes to keep, and what the
-- entry replaces: a prefix of a newest entry that is not in the store's history, or an empty text.
-- Returns 1 if the entry is now the newest, 0 if the dataset had an entry of its version or above.
-- An entry begins with its version in 20 digits: compared as text, because a Lua number is exact only to 2^53.
local datasets, hash = KEYS[1], KEYS[2]
local name, entry, trimmed = ARGV[1], ARGV[2], ARGV[3]
local max_entries, max_bytes = tonumber(ARGV[4]), tonumber(ARGV[5])

local function version_of(text)
  return string.match(text, '^(%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d)\n')
end

-- Redis does not roll back a script that fails, so all checks precede the first write. The second word of an error is
-- the key at fault.
for key, want in pairs({ [datasets] = 'set', [hash] = 'hash' }) do
  local kind = redis.call('TYPE', key)
  kind = kind.ok or kind
  if kind ~= want and kind ~= 'none' then
    return redis.error_reply('CORRUPT ' .. key .. ' is a ' .. kind .. ', not a ' .. want)
  end
end
local newest = redis.call('HGET', hash, 'latest')
local newest_version = newest and version_of(newest)
if newest and not newest_version then
  return redis.error_reply('CORRUPT ' .. hash .. ' has a field latest that is no catalog entry')
end
redis.call('SADD', datasets, name)
local over = ARGV[6]
if over ~= '' and newest and string.sub(newest, 1, #over) == over then
  redis.call('DEL', hash) -- with the entries that lead up to it
  newest = false
end
if newest and version_of(entry) <= newest_version then
  return 0
end

if #entry > max_bytes then
  entry = trimmed
end
if newest then
  redis.call('HSET', hash, newest_version, newest)
end
redis.call('HSET', hash, 'latest', entry)

local older, bytes = {}, #entry
local fields = redis.call('HGETALL', hash)
for i = 1, #fields, 2 do
  if fields[i] ~= 'latest' then
    older[#older + 1] = { version = fields[i], text = fields[i + 1] }
    bytes = bytes + #fields[i + 1]
  end
end
table.sort(older, function(a, b) return a.version < b.version end)

for _, e in ipairs(older) do
  if bytes <= max_bytes then break end
  local short = string.match(e.text, '^[^\n]*\n[^\n]*')
  if short and #short < #e.text then
    redis.call('HSET', hash, e.version, short)
    bytes = bytes - #e.text + #short
    e.text = short
  end
end
for i, e in ipairs(older) do
  if #older - i + 1 < max_entries and bytes <= max_bytes then break end
  redis.call('HDEL', hash, e.version)
  bytes = bytes - #e.text
end
return 1
