-- Returns the newest versions of some datasets.
-- KEYS: the set of dataset names, then each dataset's hash. ARGV: the datasets, in the same order.
-- Returns for each dataset its newest version in 20 digits, a space, and the version id if the entry has one. A dataset that is missing,
-- incomplete or unreadable has an empty text: advance.lua writes it or returns the error.
local versions = {}
for i, name in ipairs(ARGV) do
  local known = redis.pcall('SISMEMBER', KEYS[1], name)
  local newest = redis.pcall('HGET', KEYS[i + 1], 'latest')
  local version = known == 1 and type(newest) == 'string' and
    string.match(newest, '^(%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d)\n')
  local id = version and string.match(newest, '^%d+\n{"id":"(%x+)"')
  versions[i] = version and (version .. ' ' .. (id or '')) or ''
end
return versions
