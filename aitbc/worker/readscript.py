"""The script that reads for aitbc.worker.batch."""

import hashlib

READ = r"""
-- KEYS: unacked, its index, the queues in order (their lists).
-- ARGV: how many, now (s), a message popped by BRPOP or '', its queue in JSON, each queue in JSON, then tags to acknowledge.
-- Returns {position of the queue, message, ...}. An entry of unacked is kombu's: [message, exchange, routing key] by delivery tag.
local call, unacked, index, queues = redis.call, KEYS[1], KEYS[2], #KEYS - 2
call('HDEL', unacked, '') -- a first write that a full Redis lets pass, and with it those that follow

-- The properties come last in kombu's envelope, and the tag last in them; another publisher's order costs more.
local function tag_of(message)
  local tag = string.match(message, '.*"delivery_tag": ?"([^"\\]+)"')
  if tag then return tag end
  local ok, envelope = pcall(cjson.decode, message)
  return ok and type(envelope) == 'table' and type(envelope.properties) == 'table' and envelope.properties.delivery_tag
end

local function record(message, queue)
  local tag = tag_of(message)
  if not tag then return end -- no message at all: whoever reads it drops it
  call('HSET', unacked, tag, '[' .. message .. ',"",' .. queue .. ']')
  call('ZADD', index, ARGV[2], tag)
end

for first = 5 + queues, #ARGV, 1000 do
  local last = math.min(first + 999, #ARGV)
  call('HDEL', unacked, unpack(ARGV, first, last))
  call('ZREM', index, unpack(ARGV, first, last))
end
if ARGV[3] ~= '' then record(ARGV[3], ARGV[4]) end
local found, left = {}, tonumber(ARGV[1])
for n = 1, queues do
  if left <= 0 then break end
  local popped = call('RPOP', KEYS[2 + n], left) or {}
  for _, message in ipairs(popped) do
    record(message, ARGV[4 + n])
    found[#found + 1] = n
    found[#found + 1] = message
  end
  left = left - #popped
end
return found
"""
SHA = hashlib.sha1(READ.encode(), usedforsecurity=False).hexdigest()
